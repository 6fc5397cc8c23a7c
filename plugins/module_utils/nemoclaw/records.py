# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What NemoClaw has recorded of its sandboxes, and by which provider that routes a sandbox (upstream-facts N37, N39, N40; decision 0028).

The file is read and not C(nemoclaw list), which takes in what it finds on the gateway and so writes. An entry that a failed onboarding
left as a reservation is no sandbox (upstream-facts N42): nothing runs there, and NemoClaw changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import read_file
from ..route.record import STATE_DIRECTORY
from ..untrusted import object_of, parse_json
from .program import NemoClaw

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
            f"NemoClaw's list of sandboxes {path} cannot be read: {error}. So nothing was changed. Look at it as its user, and "
            "run nemoclaw list, which makes it anew from the gateway.",
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
