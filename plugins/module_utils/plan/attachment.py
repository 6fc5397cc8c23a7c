# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The sandbox of OpenShell 0.1: whether it has the server attached, compared by the functions that the role's module decides with."""

from __future__ import annotations

from ..openshell.attached import decide, position_of, see, wanted_of
from ..openshell.attachment import host_of, profile_of
from ..openshell.cli import OpenShell
from ..openshell.look import DesiredSandbox, find_usable, has_to_be_made, list_sandboxes
from ..openshell.route import Desired
from ..route.record import Note
from .steps import MODEL, NEW_STREAMS, NOTHING, Step, step

_REASONS = {
    "create": "the gateway has none",
    "import": "the gateway has none",
    "update": "the gateway lacks the server's address and key",
    "attach": "the sandbox lacks it",
    "wait": "the sandbox has not applied it yet",
    "detach": "the sandbox was switched away from it",
    "delete": "the sandbox no longer needs it",
    "restart": "its processes keep an older key",
}
_INTERRUPTS = {"detach": NEW_STREAMS, "update": NEW_STREAMS, "restart": MODEL}


def compare_attachment(cli: OpenShell, desired: Desired, image: str | None, note: Note | None) -> list[Step]:
    """Return the steps that attach the server to the sandbox.

    Args:
        cli: The command line of the gateway.
        desired: The route.
        image: Of the sandbox.
        note: What a run that was interrupted left behind.

    Raises:
        Failure: What prevents it.

    """
    seen = see(cli, desired, list_sandboxes(cli))
    wanted = wanted_of(desired, cli, desired.route["provider_name"])
    now = position_of(seen, wanted.provider, wanted.sandbox)
    previous = note.previous if note is not None and note.explains(now) else now
    makes_sandbox = False
    if desired.sandbox:
        found = find_usable(cli, DesiredSandbox(desired.sandbox, image, timeout=desired.ready_timeout))
        makes_sandbox = has_to_be_made(found)
    profile = profile_of(wanted, host_of(cli.path))
    decision = decide(desired, wanted, profile, seen, previous, makes_sandbox=makes_sandbox)
    return [
        step(
            "sandbox",
            one.verb,
            f"{_REASONS[one.verb]}: {one.words}",
            before=previous["provider"] if previous else None,
            after=wanted.base_url,
            interrupts=_INTERRUPTS.get(one.verb, NOTHING),
        )
        for one in decision.actions
    ]
