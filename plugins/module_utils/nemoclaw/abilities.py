# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a release of NemoClaw can, for the modules that change what it has (upstream-facts N39, N40; decision 0028)."""

from __future__ import annotations

from pathlib import Path

from ..failure import Failure
from ..route.record import STATE_DIRECTORY
from .program import NemoClaw
from .records import Release

# The oldest and the newest that were seen to know what they are asked here (upstream-facts N41).
SEEN_SINCE: Release = (0, 0, 58)
SEEN_UNTIL: Release = (0, 0, 97)
# What it says of a command, a flag or a choice that came later.
UNKNOWN_TO_IT = r"Nonexistent flag|Unknown onboard option|Unknown nemoclaw command|Unsupported NEMOCLAW_PROVIDER"
# From here on it takes an address, and the API with it.
API_SINCE: Release = (0, 0, 69)
_API_FLAG = "--inference-api"
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


def unknown_to(nemoclaw: NemoClaw, ran: str) -> Failure:
    """Return the failure of a command that NemoClaw does not know, or knows otherwise, after the sentence on what was run."""
    there = nemoclaw.release()
    return Failure(
        "nemoclaw_too_old",
        f"{ran} {nemoclaw.path} is NemoClaw {dotted(there)} and does not know what it was asked. {dotted(SEEN_SINCE)} and later do, and "
        f"were seen up to {dotted(SEEN_UNTIL)}: install one of them, and run this again.",
        needed=dotted(SEEN_SINCE),
        release=dotted(there),
    )


def set_flags(nemoclaw: NemoClaw) -> frozenset[str]:
    """Return the flags of C(nemoclaw inference set).

    Without a provider and a model NemoClaw takes it for a command of OpenShell's. No provider has that name.
    """
    return nemoclaw.flags("inference", "set", "--provider", "help", "--model", "help")


def can_change_api(nemoclaw: NemoClaw) -> bool:
    """Tell whether it changes the API of a sandbox that runs."""
    return _API_FLAG in set_flags(nemoclaw)


def has_own_proxy(nemoclaw: NemoClaw) -> bool:
    """Tell whether NemoClaw runs its own proxy for Ollama here, or did."""
    return Path(nemoclaw.account.home, STATE_DIRECTORY, _OWN_PROXY).exists()
