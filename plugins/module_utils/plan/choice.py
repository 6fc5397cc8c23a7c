# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which provider a host gets, by which role, on which side of WSL, and why. Pure functions of facts and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..ollama.names import is_older
from .settings import AUTO, Settings
from .side import WINDOWS, WSL, Host, Side, choose_side, is_desktop, wanted_model

ROLES = {
    "custom": "endpoint",
    "anthropicCompatible": "endpoint",
    "ollama": "ollama",
    "install-ollama": "ollama",
    "start-windows-ollama": "ollama",
    "install-windows-ollama": "ollama",
    "vllm": "vllm",
    "install-vllm": "vllm",
    "nim": "nim",
}
MANAGED = ("install-vllm", "nim")
# What routes the sandboxes.
NO_BACKEND, OPENSHELL, NEMOCLAW = "none", "openshell", "nemoclaw"


@dataclass(frozen=True)
class Choice:
    """What a host gets.

    Attributes:
        provider: Of the wizard.
        reason: Why, as a part of a sentence.
        role: Which role sets it up.
        previous_role: The role of the recorded route, None without one.
        side: For Ollama on a WSL; None elsewhere.
        model: The model that is wanted, empty where the server says it.
        model_reason: Why that one.

    """

    provider: str
    reason: str
    role: str
    previous_role: str | None = None
    side: Side | None = None
    model: str = ""
    model_reason: str = ""

    @property
    def is_windows(self) -> bool:
        """Whether Ollama runs on Windows."""
        return self.side is not None and self.side.name == WINDOWS

    @property
    def is_here(self) -> bool:
        """Whether Ollama runs in this Linux, and that is known."""
        return self.side is None or self.side.name == WSL

    def as_result(self) -> dict[str, Any]:
        """Return it as the module gives it back."""
        return {
            "provider": self.provider,
            "reason": self.reason,
            "role": self.role,
            "previous_role": self.previous_role,
            "side": self.side.name if self.side else None,
            "side_reason": self.side.reason if self.side else None,
            "model": self.model or None,
            "model_reason": self.model_reason or None,
        }


def choose(host: Host, settings: Settings, keep_route: bool = False, seen: Mapping[str, Any] | None = None) -> Choice:
    """Return what the host gets.

    Args:
        host: C(nemoclaw_host).
        settings: What the user wants.
        keep_route: Whether C(auto) means the recorded route, as for switch_model.
        seen: What C(ollama_windows) with C(state=detected) returned, where it was asked.

    """
    provider, reason = _provider(host, settings, keep_route)
    role = ROLES[provider]
    previous = ROLES.get(str((host["route"] or {}).get("provider")))
    side = choose_side(host, settings, provider, seen) if role == "ollama" and host["wsl"] is not None else None
    model, why = _model(host, settings, role, provider)
    return Choice(provider, reason, role, previous, side, model, why)


def _provider(host: Host, settings: Settings, keep_route: bool) -> tuple[str, str]:
    wanted, route = settings["preflight_provider"], host["route"] or {}
    if wanted != AUTO:
        return wanted, f"as {settings.given.get('preflight_provider', 'nemoclaw_provider')} says"
    is_own = route.get("provider") in ("custom", "anthropicCompatible")
    # One that comes from the record itself says nothing.
    if settings.is_given("endpoint_url") and not (keep_route and is_own):
        return "custom", f"because {settings.given['endpoint_url']} is set and nemoclaw_provider is not"
    if keep_route and route:
        return route["provider"], "as the recorded route has it"
    if is_own:
        return route["provider"], "as the recorded route has it, and nothing says otherwise"
    return _found(host, route)


def _found(host: Host, route: Mapping[str, Any]) -> tuple[str, str]:
    """Return a server that runs, the page's default first; else Ollama, which is installed where it is missing."""
    ollama = host["ollama"]
    reaches_windows = host["docker"]["kind"] == "desktop" and host["wsl"] is not None
    if reaches_windows and ollama["both_running"]:
        return "ollama", "because Ollama runs here and on Windows"
    if reaches_windows and (ollama["windows"] or {}).get("daemon_version"):
        return "start-windows-ollama", "because Ollama runs on Windows, which the containers of Docker Desktop reach"
    if ollama["daemon_version"]:
        return "ollama", "because Ollama runs here"
    if route.get("container") and _port(route.get("base_url_host")) in _ports(host):
        return route["provider"], f"because {route['container']}, which is ours, runs here"
    if host["vllm"]["running"]:
        return "vllm", "because vLLM runs here"
    if ollama["path"]:
        return "ollama", "because Ollama is installed here"
    if reaches_windows:
        return "ollama", "because no model server was found in this WSL; Windows is looked at next"
    return "install-ollama", "because no model server was found here"


def _ports(host: Host) -> list[int]:
    return [one["port"] for one in host["listeners"] or []]


def _port(url: Any) -> int | None:
    try:
        return urlsplit(str(url or "")).port
    except ValueError:
        return None


def _model(host: Host, settings: Settings, role: str, provider: str) -> tuple[str, str]:
    if role == "ollama":
        name = wanted_model(host, settings)
        if settings["ollama_model"] != AUTO:
            return name, f"as {settings.given.get('ollama_model', 'ollama_model')} says"
        return ("", "the largest that fits is chosen") if name == AUTO else (name, "as the recorded route has it")
    if role == "endpoint" and settings["endpoint_model"]:
        return settings["endpoint_model"], f"as {settings.given.get('endpoint_model', 'endpoint_model')} says"
    if provider == "vllm":
        return host["vllm"]["model"] or "", "the vLLM that runs here serves it"
    if provider == "install-vllm":
        name = settings["vllm_model"]
        return name, "as nemoclaw_vllm_model says" if name else "the default of the host's profile"
    if provider == "nim":
        name = settings["nim_model"]
        return name, "as nemoclaw_model says" if name else "the largest that fits"
    return "", "the only one that the server serves"


def is_gated(host: Host, choice: Choice, settings: Settings) -> bool:
    """Tell whether sandboxes come through the auth proxy of the host."""
    if choice.role == "ollama":
        # A container of Docker Desktop has no way to a proxy inside WSL.
        return not (host["wsl"] is not None and is_desktop(host))
    port = {"vllm": "vllm_gate_port", "nim": "nim_gate_port"}.get(choice.role)
    return bool(port and settings[port])


def unknown_ollama(host: Host) -> str:
    """Return why nobody knows which Ollama this is, on a host under load for example, empty where that is known."""
    ollama = host["ollama"]
    known = ollama["client_version"] or ollama["daemon_version"]
    return "" if known else str(ollama.get("problem") or "")


def least_version(settings: Settings) -> str:
    """Return the oldest release of Ollama that will do."""
    return str(settings["ollama_minimum_version"] or settings["ollama_version"])


def install_reasons(host: Host, choice: Choice, settings: Settings) -> list[str]:
    """Return why Ollama has to be installed, upgraded or repaired here, empty where it has not: program and daemon both count."""
    if choice.role != "ollama" or not choice.is_here:
        return []
    ollama = host["ollama"]
    versions = [one for one in (ollama["client_version"], ollama["daemon_version"]) if one]
    if unknown_ollama(host):
        return []
    least = least_version(settings)
    found = [] if versions else ["Ollama is not installed"]
    found += [f"Ollama {one} is older than {least}" for one in dict.fromkeys(versions) if is_older(one, least)]
    if ollama.get("kept_version"):
        found.append(f"an upgrade from {ollama['kept_version']} was interrupted")
    if ollama.get("damage"):
        found.append(ollama["damage"])
    checksum, wanted = ollama.get("checksum"), settings["ollama_install_checksum"].lower()
    if checksum and wanted not in ("", checksum) and ollama["client_version"] == settings["ollama_version"]:
        found.append("it was installed from another archive")
    return [*found, *(["ollama_reinstall is set"] if settings["ollama_reinstall"] else [])]


def backend_of(host: Host, settings: Settings) -> str:
    """Return what routes the sandboxes: the one that is named, else what is installed."""
    named = str(settings["sandbox_backend"])
    if named != AUTO:
        return named
    if (host["nemoclaw"] or {}).get("path"):
        return NEMOCLAW
    is_there = (host["openshell"] or {}).get("path") or settings["sandbox_install_openshell"]
    return OPENSHELL if is_there else NO_BACKEND
