# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""NemoClaw as it is: its program, its release, and what it has recorded of its sandboxes (upstream-facts N37, N39, N40; decision 0028).

The file is read and not C(nemoclaw list), which takes in what it finds on the gateway and so writes. An entry that a failed onboarding
left as a reservation is no sandbox (upstream-facts N42): nothing runs there, and NemoClaw changes nothing of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import SYSTEM_DIRECTORIES, Account, Machine, read_file
from ..route.record import STATE_DIRECTORY
from ..untrusted import object_of, parse_json

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# NemoClaw's own name for its gateway (upstream-facts N36).
GATEWAY = "nemoclaw"

# provider_type of a route -> the wizard's provider, what OpenShell calls it then, and the variable of its key (upstream-facts N35).
ENDPOINTS = {
    "openai": ("custom", "compatible-endpoint", "COMPATIBLE_API_KEY"),
    "anthropic": ("anthropicCompatible", "compatible-anthropic-endpoint", "COMPATIBLE_ANTHROPIC_API_KEY"),
}

REGISTRY_NAME = "sandboxes.json"
SESSION_NAME = "onboard-session.json"
_API = "preferredInferenceApi"


def plain(text: str) -> str:
    """Return a text without its colours."""
    return _ANSI.sub("", text)


# What a user of NemoClaw may decide beside the route, and hands over by the task's own environment (upstream-facts N34, N40; NemoClaw
# docs/reference/commands.mdx). All its other settings are ours to give, or belong to other work. A release that does not know one
# passes over it.
PASSED_ON = (
    "NEMOCLAW_COMPATIBLE_AUTH_MODE",
    *(
        f"NEMOCLAW_{name}"
        for name in (
            *("AGENT_HEARTBEAT_EVERY", "AGENT_TIMEOUT", "CORPORATE_CA_BUNDLE", "DASHBOARD_BIND", "DASHBOARD_PORT"),
            *("DOCKER_GPU_PATCH", "FROM_DOCKERFILE", "GATEWAY_BIND_ADDRESS", "GATEWAY_PORT"),
            *("GATEWAY_RECOVERY_WAIT_SECONDS", "INFERENCE_INPUTS", "MAX_TOKENS", "OLLAMA_PORT", "OLLAMA_PROXY_PORT"),
            *("OPENSHELL_BIN", "POLICY_MODE", "POLICY_PRESETS", "POLICY_TIER", "PROXY_HOST", "PROXY_PORT", "REASONING"),
            *("REASONING_EFFORT", "SANDBOX_BASE_IMAGE_REF", "SANDBOX_GPU", "TOOL_DISCLOSURE", "TRUSTED_PRIVATE_HOSTS"),
            *("TRUSTED_PRIVATE_INFERENCE_HOSTS", "VLLM_PORT", "WEB_SEARCH_PROVIDER"),
        )
    ),
)
# Keys of other providers: NemoClaw took a host's OPENAI_API_KEY for local routes once (NemoClaw #2519). Newer releases call NVIDIA's
# NVIDIA_INFERENCE_API_KEY.
_FOREIGN_KEYS = re.compile(r"NEMOCLAW_.*|COMPATIBLE_.*|[A-Z][A-Z_]*_API_KEY")
_ASK_S = 60.0  # for its release and its help; Node may start slowly


@dataclass(frozen=True)
class NemoClaw:
    """The program, and who runs it: its state lies in that user's home."""

    machine: Machine
    account: Account
    path: str

    def environ(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a run: what this process has, less all that could send NemoClaw elsewhere, and ours."""
        kept = {
            name: value
            for name, value in self.machine.environ.items()
            if name in PASSED_ON or not _FOREIGN_KEYS.fullmatch(name)
        }
        # It starts openshell, docker and curl by name, and an installer puts them where Ansible's shell does not look.
        folders = [*kept.get("PATH", "").split(os.pathsep), *SYSTEM_DIRECTORIES, f"{self.account.home}/.local/bin"]
        kept["PATH"] = os.pathsep.join(dict.fromkeys(filter(None, [str(Path(self.path).parent), *folders])))
        return {**kept, "HOME": self.account.home, "USER": self.account.name, "LOGNAME": self.account.name, **own}

    def release(self) -> tuple[int, ...] | None:
        """Return its release, None where it does not tell."""
        found = re.search(r"(\d+)\.(\d+)\.(\d+)", self._ask("--version"))
        return tuple(int(part) for part in found.groups()) if found else None

    def flags(self, *command: str) -> frozenset[str]:
        """Return the flags that a command has, as its help lists them."""
        return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", self._ask(*command, "--help")))

    def _ask(self, *words: str) -> str:
        """Return what a command prints.

        Raises:
            Failure: C(nemoclaw_missing) where it cannot be started.

        """
        machine = replace(self.machine, environ=self.environ({}))
        answer = machine.run([self.path, *words], _ASK_S)
        if "could not be started" in (answer.problem or ""):
            raise Failure(
                "nemoclaw_missing",
                f"{answer.problem}. Install NemoClaw for the user {self.account.name} again.",
            )
        return plain(answer.output)


def find_nemoclaw(machine: Machine, account: Account, executable: str | None = None) -> NemoClaw:
    """Return the program, on PATH or where NemoClaw's installer puts it.

    Raises:
        Failure: C(nemoclaw_missing).

    """
    path = executable or machine.find_command("nemoclaw", [f"{account.home}/.local/bin"])
    if path is None or not path.startswith("/") or not machine.exists(path):
        raise Failure(
            "nemoclaw_missing",
            f"Looked for the program nemoclaw {executable or 'on PATH and in ~/.local/bin'} and found none. Install NemoClaw for "
            f"the user {account.name}, name the program by executable, or choose another backend (sandbox_backend: openshell).",
        )
    return NemoClaw(machine, account, path)


@dataclass(frozen=True)
class Recorded:
    """A sandbox of NemoClaw's: provider is OpenShell's name of one; each is None where NemoClaw does not know.

    C(api) is the one that its agent's configuration was made for, C(url) the server of an endpoint as the sandbox reaches it.
    """

    name: str
    provider: str | None
    model: str | None
    api: str | None = None
    url: str | None = None


def find_recorded(home: str, name: str) -> Recorded | None:
    """Return what NemoClaw knows of the sandbox of that name, None where it has none.

    Raises:
        Failure: C(nemoclaw_registry_unreadable).

    """
    entry = _sandboxes(home).get(name)
    if entry is None:
        return None
    provider, model = _text(entry, "provider"), _text(entry, "model")
    api = _text(entry, _API) or _session_api(home, name, provider)
    return Recorded(name, provider, model, api, _text(entry, "endpointUrl"))


def recorded_names(home: str) -> list[str]:
    """Return the names of all sandboxes that NemoClaw knows.

    Raises:
        Failure: C(nemoclaw_registry_unreadable).

    """
    return sorted(_sandboxes(home))


def _session_api(home: str, name: str, provider: str | None) -> str | None:
    """Return the API of the last onboarding, where that made this sandbox: older releases record it nowhere else."""
    try:
        session = object_of(parse_json(read_file(Path(home) / STATE_DIRECTORY / SESSION_NAME)))
    except (OSError, ValueError):
        return None
    made_it = (_text(session, "sandboxName"), _text(session, "provider")) == (name, provider)
    return _text(session, _API) if made_it else None


def _sandboxes(home: str) -> dict[str, dict[str, Any]]:
    path = Path(home) / STATE_DIRECTORY / REGISTRY_NAME
    try:
        content = object_of(parse_json(read_file(path)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(
            "nemoclaw_registry_unreadable",
            f"NemoClaw's list of sandboxes {path} cannot be read: {error}. So nothing was changed. Check it as its user, and run nemoclaw "
            f"list, which rebuilds it from the gateway.",
        ) from error
    return {
        name: entry
        for name, entry in object_of(content.get("sandboxes")).items()
        if isinstance(entry, dict) and entry.get("pendingRouteReservation") is not True
    }


def _text(entry: dict[str, Any], field: str) -> str | None:
    value = entry.get(field)
    return value if isinstance(value, str) else None


Release = tuple[int, ...]

# From here on "inference set" asks the port of Ollama or vLLM itself, without a key, before it takes them. No flag tells of it.
LOCAL_CHECK_SINCE: Release = (0, 0, 66)

OLLAMA, VLLM = "ollama-local", "vllm-local"
_LOCAL = (OLLAMA, VLLM)


def changes_api(recorded: Recorded, route: Mapping[str, Any]) -> bool:
    """Tell whether the sandbox's agent was configured for another API than the route's. Only endpoints have more than one."""
    known = None not in (recorded.api, route.get("api")) and recorded.provider not in _LOCAL
    return known and recorded.api != route["api"]


def checks_local_servers(nemoclaw: NemoClaw) -> bool:
    """Tell whether it asks a local server itself, without a key. A release that does not tell which it is counts as new."""
    release = nemoclaw.release()
    return release is None or release >= LOCAL_CHECK_SINCE


def routed(nemoclaw: NemoClaw, sandbox: str, route: Mapping[str, Any]) -> dict[str, Any]:
    """Return the route by the provider that the sandbox can have: that of the page, or the endpoint that NemoClaw onboarded it with.

    A release that checks local servers itself fails for one with a key, and starts a proxy of its own for Ollama where it does not
    find its own. There the sandbox stays on the endpoint. The release is only asked where that matters.
    """
    taken = dict(route)
    if route["provider_name"] not in _LOCAL:
        return taken
    recorded = find_recorded(nemoclaw.account.home, sandbox)
    stays = recorded is not None and (recorded.provider, recorded.model) == (route["provider_name"], route["model"])
    if not stays and checks_local_servers(nemoclaw):
        _choice, taken["provider_name"], taken["credential_env"] = ENDPOINTS[route["provider_type"]]
    return taken
