# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a release of NemoClaw can, by its own help where that tells, else by its number (upstream-facts N39, N40; decision 0028)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..route.record import STATE_DIRECTORY
from .desired import ENDPOINTS
from .program import NemoClaw
from .registry import Recorded, find_recorded

Release = tuple[int, ...]

# From here on "inference set" asks the port of Ollama or vLLM itself, without a key, before it takes them. No flag tells of it.
LOCAL_CHECK_SINCE: Release = (0, 0, 66)
# From here on it takes an address, and the API with it.
API_SINCE: Release = (0, 0, 69)
_API_FLAG = "--inference-api"

OLLAMA, VLLM = "ollama-local", "vllm-local"
_LOCAL = (OLLAMA, VLLM)
# NemoClaw's own proxy for Ollama leaves it where it was started (upstream-facts N39).
_OWN_PROXY = "ollama-auth-proxy.pid"


def dotted(release: Release | None) -> str:
    """Return a release as people write it."""
    return ".".join(map(str, release)) if release else "of a release that it does not tell"


def too_old(nemoclaw: NemoClaw, since: Release, purpose: str, otherwise: str) -> Failure:
    """Return the failure that names the release that can do it, and the one that is there."""
    there = nemoclaw.release()
    return Failure(
        "nemoclaw_too_old",
        f"{purpose} takes NemoClaw {dotted(since)} or later, and {nemoclaw.path} is {dotted(there)}. Update it. {otherwise}",
        needed=dotted(since),
        release=dotted(there),
    )


def changes_api(recorded: Recorded, route: Mapping[str, Any]) -> bool:
    """Tell whether the sandbox's agent was configured for another API than the route's. Only endpoints have more than one."""
    known = None not in (recorded.api, route.get("api")) and recorded.provider not in _LOCAL
    return known and recorded.api != route["api"]


def set_flags(nemoclaw: NemoClaw) -> frozenset[str]:
    """Return the flags of C(nemoclaw inference set).

    Without a provider and a model NemoClaw takes it for a command of OpenShell's. No provider has that name.
    """
    return nemoclaw.flags("inference", "set", "--provider", "help", "--model", "help")


def can_change_api(nemoclaw: NemoClaw) -> bool:
    """Tell whether it changes the API of a sandbox that runs."""
    return _API_FLAG in set_flags(nemoclaw)


def checks_local_servers(nemoclaw: NemoClaw) -> bool:
    """Tell whether it asks a local server itself, without a key. A release that does not tell which it is counts as new."""
    release = nemoclaw.release()
    return release is None or release >= LOCAL_CHECK_SINCE


def has_own_proxy(nemoclaw: NemoClaw) -> bool:
    """Tell whether NemoClaw runs its own proxy for Ollama here, or did."""
    return Path(nemoclaw.account.home, STATE_DIRECTORY, _OWN_PROXY).exists()


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
