# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which provider a host gets, from which role, on which side of WSL, why, and what rules that side out. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..failure import Failure
from ..host.docker_codes import FAILURE_CODES as DOCKER_FAILURE_CODES
from ..ollama.names import is_older, is_same
from .settings import AUTO, Settings

WINDOWS_PROVIDERS = ("start-windows-ollama", "install-windows-ollama")
# The codes of a Windows that cannot be asked at all, whatever is there.
BLIND_CODES = ("wsl_interop_off", "powershell_missing", "powershell_timeout", "powershell_policy", "powershell_failed")
WSL, WINDOWS, UNDECIDED, UNKNOWN = "wsl", "windows", "undecided", "unknown"

Host = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """Which Ollama of a WSL: C(wsl) or C(windows), and why.

    C(undecided) where the inventory has to say it, C(unknown) where Windows has to be looked at first.
    """

    name: str
    reason: str = ""


def names_windows(settings: Settings, provider: str) -> str:
    """Return by what the user asked for the Ollama of Windows, empty where nothing did."""
    if provider in WINDOWS_PROVIDERS:
        return f"nemoclaw_provider is {provider}"
    return "ollama_side is windows" if settings["ollama_side"] == WINDOWS else ""


def is_desktop(host: Host) -> bool:
    """Tell whether the containers are those of Docker Desktop, which reach Windows and its loopback."""
    return host["docker"]["kind"] == "desktop" and host["docker"]["reachable"]


def is_mirrored(host: Host) -> bool:
    """Tell whether WSL and Windows share their ports and their loopback."""
    return host["wsl"] is not None and host["wsl"]["networking_mode"] == "mirrored"


def engine_in_words(host: Host) -> str:
    """Return which engine there is, or why there is none, as a part of a sentence."""
    docker = host["docker"]
    if docker["reachable"]:
        return f"the engine of this WSL is {docker['kind']}"
    return f"none answers here ({str(docker['reason']).rstrip('.')})"


def runs_on_windows(host: Host, seen: Mapping[str, Any] | None) -> bool:
    """Tell whether a daemon runs on Windows, as far as this Linux reaches it or Windows was asked."""
    return _runs_in_reach(host) or bool((seen or {}).get("running"))


def windows_in_words(host: Host, seen: Mapping[str, Any] | None) -> str:
    """Return which release runs on Windows, and where it listens."""
    windows = host["ollama"]["windows"] or {}
    version = windows.get("daemon_version") or (seen or {}).get("version") or "of an unknown release"
    return f"{version} at {windows.get('host') or 'its loopback'}"


def choose_side(host: Host, settings: Settings, provider: str, seen: Mapping[str, Any] | None = None) -> Side:
    """Return which Ollama of a WSL it is: by the inventory, by the container engine, by the recorded route, by what runs.

    Args:
        host: C(nemoclaw_host) of a WSL.
        settings: What the user wants.
        provider: Of the wizard.
        seen: What C(ollama_windows) with C(state=detected) returned, where it was asked.

    """
    ollama, windows = host["ollama"], host["ollama"]["windows"] or {}
    recorded, named, there = ollama_route(host), names_windows(settings, provider), seen or {}
    if named:
        return Side(WINDOWS, f"as {named}")
    if settings["ollama_side"] == WSL:
        return Side(WSL, "as ollama_side is wsl")
    if not is_desktop(host):
        return Side(WSL, f"because sandboxes reach Windows only with Docker Desktop, and {engine_in_words(host)}")
    if ollama["daemon_version"] and runs_on_windows(host, seen):
        return Side(UNDECIDED, "Ollama runs in this WSL and on Windows")
    if recorded:
        return Side(WINDOWS if recorded["provider"] in WINDOWS_PROVIDERS else WSL, "as the recorded route has it")
    if windows.get("daemon_version"):
        return Side(WINDOWS, f"because it runs there, at {windows['host']}")
    if ollama["daemon_version"]:
        return Side(WSL, "because it runs there")
    if not host["wsl"]["interop"]:
        return Side(WSL, "because this WSL starts no Windows programs (interop is off)")
    if seen is None:
        return Side(UNKNOWN, "whether Windows has Ollama is checked next")
    if there.get("running"):
        return Side(WINDOWS, "because it runs there, for Windows only")
    if there.get("installed"):
        return Side(WINDOWS, f"because it is installed there ({there.get('path')})")
    if ollama["path"]:
        return Side(WSL, "because it is installed there")
    return Side(WINDOWS, "because there is no Ollama yet, and Docker Desktop's containers reach Windows best")


def ollama_route(host: Host) -> dict[str, Any]:
    """Return the recorded route, where it is to an Ollama of this host; empty where it does not."""
    route = host["route"] or {}
    return dict(route) if route.get("provider_name") == "ollama-local" else {}


def refuse_side(
    host: Host, settings: Settings, provider: str, side: Side | None, seen: Mapping[str, Any] | None = None
) -> list[Failure]:
    """Return everything that rules out the chosen Ollama, before Windows or this Linux is touched."""
    named = names_windows(settings, provider)
    if host["wsl"] is None or side is None:
        return [_not_wsl(host, named)] if named else []
    found = _kind_of_wsl(host) or _engine(host, bool(named) or settings["ollama_side"] != AUTO)
    return found or [*_of_side(host, settings, named, side, seen)]


def _not_wsl(host: Host, named: str) -> Failure:
    return Failure(
        "not_wsl",
        f"Ollama on Windows was requested ({named}), but this host is not WSL: it is {host['platform']} ({host['platform_evidence']}). "
        "Set nemoclaw_provider to ollama for this host, or exclude the host with --limit.",
    )


def _kind_of_wsl(host: Host) -> list[Failure]:
    wsl = host["wsl"]
    if wsl["version"] is None:
        said = (host["problems"] or {}).get("wsl") or "no reason was given."
        return [
            Failure(
                "wsl_unknown",
                f"This WSL does not report its version: {said} If that persists, run wsl.exe --shutdown on Windows, then the play again.",
            )
        ]
    if wsl["version"] == 1:
        return [
            Failure(
                "wsl_unsupported",
                "This is WSL 1, which runs neither a container engine nor Ollama. Convert it on Windows with wsl.exe --set-version "
                f"{wsl['distro'] or 'DISTRIBUTION'} 2, or exclude this host with --limit.",
            )
        ]
    return []


def _engine(host: Host, is_named: bool) -> list[Failure]:
    """What is there and does not answer may be Docker Desktop, and the path of the sandboxes follows from that for good."""
    docker = host["docker"]
    if docker["reachable"] or docker["code"] == "absent" or is_named:
        return []
    return [
        Failure(
            DOCKER_FAILURE_CODES.get(docker["code"], "docker_unexpected_answer"),
            "The container engine decides whether sandboxes reach Ollama on Windows or through an auth proxy in this WSL, and "
            f"{engine_in_words(host)}. Start it (Docker Desktop, on Windows), or set ollama_side: wsl to use Ollama in this Linux, behind "
            f"the auth proxy.",
        )
    ]


def _of_side(
    host: Host, settings: Settings, named: str, side: Side, seen: Mapping[str, Any] | None
) -> Iterator[Failure]:
    port, where, desktop = settings["preflight_ollama_port"], windows_in_words(host, seen), is_desktop(host)
    blind = (seen or {}).get("failure")
    is_chosen = bool(named) or settings["ollama_side"] != AUTO or not desktop
    if blind and not (is_chosen or ollama_route(host) or host["ollama"]["daemon_version"]):
        yield Failure(
            blind["code"],
            f"{(seen or {}).get('msg')} So it is unknown whether Windows has Ollama. Set ollama_side: wsl to use the one in this Linux "
            f"without asking Windows, or start it on Windows by hand so that WSL reaches it (OLLAMA_HOST=0.0.0.0:{port}): it is then used "
            f"as is.",
        )
    if side.name == UNDECIDED:
        yield Failure(
            "side_undecided",
            f"Ollama runs in this WSL ({host['ollama']['daemon_version']} at 127.0.0.1:{port}) and on Windows ({where}), and only one of "
            f"them can serve. Choose in the inventory: ollama_side: windows (or nemoclaw_provider: start-windows-ollama) for the Windows "
            f"one, ollama_side: wsl for the one in this Linux; better still, stop the other.",
        )
    if side.name == WINDOWS:
        yield from _against_windows(host, settings, side, seen)
    mirrored = is_mirrored(host)
    # Docker Desktop's containers reach this Linux by Windows' own loopback, which the daemon of Windows holds where it runs. With
    # mirrored networking there is one port for both sides, whatever the engine is: what is done in WSL would be answered by Windows.
    if side.name == WSL and runs_on_windows(host, seen) and (desktop or mirrored):
        why = (
            f"with mirrored networking WSL and Windows share port {port}, which Ollama on Windows holds"
            if mirrored
            else "the containers of Docker Desktop would reach the one that runs on Windows instead"
        )
        other = "choose it with ollama_side: windows" if desktop else "give one of them another port (ollama_port)"
        yield Failure(
            "windows_in_the_way",
            f"Ollama in this WSL was chosen ({side.reason}), but {why} ({where}). Quit that one in the Windows notification area, or "
            f"{other}.",
        )


def _against_windows(host: Host, settings: Settings, side: Side, seen: Mapping[str, Any] | None) -> Iterator[Failure]:
    if not is_desktop(host):
        yield Failure(
            "windows_unreachable",
            f"Ollama on Windows was chosen ({side.reason}), and sandboxes reach it only with Docker Desktop, but {engine_in_words(host)}. "
            f"Install Docker Desktop on Windows and enable its WSL integration for this distribution, or set nemoclaw_provider to ollama "
            f"with ollama_side wsl.",
        )
    elif settings["ollama_windows_bind"] == "loopback" and not is_mirrored(host):
        yield Failure(
            "windows_loopback",
            f"{_loopback_by(settings)}, and this WSL, from which models are pulled and proved, cannot reach the Windows loopback: its "
            f"networking mode is {host['wsl']['networking_mode'] or 'unknown'}. Set networkingMode=mirrored in .wslconfig on Windows and "
            f"run wsl.exe --shutdown, or set ollama_windows_bind to all.",
        )
    model, there = wanted_model(host, settings), (seen or {}).get("models")
    if model == AUTO or there is None or settings["ollama_allow_download"]:
        return
    if not any(is_same(model, one) for one in there):
        yield Failure(
            "download_not_allowed",
            f"Ollama on Windows has no model {model}, and a download needs consent: set nemoclaw_yes=true (NEMOCLAW_YES=1), or name one "
            f"that it has ({', '.join(there) or 'there is none'}).",
        )


def _loopback_by(settings: Settings) -> str:
    by_profile = "" if settings.is_given("ollama_windows_bind") else " (as nemoclaw_profile later has it)"
    return f"ollama_windows_bind is loopback{by_profile}"


def wanted_model(host: Host, settings: Settings) -> str:
    """Return the model that is named, else that of the recorded route; C(auto) where neither says one.

    A model chosen once stays: C(auto) on the second run must not pick another one because it was pulled meanwhile.
    """
    if settings["ollama_model"] != AUTO:
        return str(settings["ollama_model"])
    return str(ollama_route(host).get("model") or AUTO)


def _runs_in_reach(host: Host) -> bool:
    return bool((host["ollama"]["windows"] or {}).get("daemon_version"))


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
        return route["provider"], "as the recorded route has it, and no setting says otherwise"
    return _found(host, route)


def _found(host: Host, route: Mapping[str, Any]) -> tuple[str, str]:
    """Return a server that runs, the page's default first; else Ollama, which is installed where it is missing."""
    ollama = host["ollama"]
    reaches_windows = host["docker"]["kind"] == "desktop" and host["wsl"] is not None
    if reaches_windows and ollama["both_running"]:
        return "ollama", "because Ollama runs here and on Windows"
    if reaches_windows and (ollama["windows"] or {}).get("daemon_version"):
        return "start-windows-ollama", "because Ollama runs on Windows, which Docker Desktop's containers reach"
    if ollama["daemon_version"]:
        return "ollama", "because Ollama runs here"
    if route.get("container") and _port(route.get("base_url_host")) in _ports(host):
        return route["provider"], f"because our container {route['container']} runs here"
    if host["vllm"]["running"]:
        return "vllm", "because vLLM runs here"
    if ollama["path"]:
        return "ollama", "because Ollama is installed here"
    if reaches_windows:
        return "ollama", "because no model server was found in this WSL; Windows is checked next"
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
        named = settings.given.get("endpoint_model")
        return settings["endpoint_model"], f"as {named} says" if named else "as the recorded route has it"
    if provider == "vllm":
        return host["vllm"]["model"] or "", "the vLLM that runs here serves it"
    if provider == "install-vllm":
        name = settings["vllm_model"]
        default = f"the default of the host's profile (nemoclaw_profile {settings['vllm_profile']})"
        return name, "as nemoclaw_vllm_model says" if name else default
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
