# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""NemoClaw told of another model or provider, for a sandbox that it has: C(nemoclaw inference set).

It leads the gateway there, corrects the agent's settings in the sandbox, and its own records, so that its status and its repair of
the route at C(connect) mean the same as ours (upstream-facts N39). Onboarding once more would make the sandbox anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.gateway import keep_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.program import NemoClaw, last_words
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.registry import Recorded, find_recorded
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote

# It writes a file in the sandbox by OpenShell; a sandbox that hangs must not hold the play up.
_SILENCE_S = 120.0


@dataclass(frozen=True)
class Wish:
    """Where the sandbox is to be led; timeout in seconds, which NemoClaw's own command would lose."""

    sandbox: str
    provider: str
    model: str
    timeout: int = 180
    shared: str = "refuse"


def have(nemoclaw: NemoClaw, cli: OpenShell, wish: Wish, check_mode: bool) -> dict[str, Any]:
    """Have NemoClaw's record, the agent's settings and the gateway's route say the same.

    Raises:
        Failure: C(nemoclaw_sandbox_missing), C(nemoclaw_set_failed), those of openshell_inference, or one of the CLI. The gateway
            leads where it led before.

    """
    recorded = _find(nemoclaw, wish)
    wanted = openshell_route.Wish(wish.provider, wish.model, wish.timeout, sandbox=wish.sandbox, shared=wish.shared)
    seen = openshell_route.have(cli, wanted, check_mode=True)
    told = (recorded.provider, recorded.model) == (wish.provider, wish.model)
    kept = keep_route(cli)
    try:
        if not check_mode and not told:
            _tell(nemoclaw, wish)
        if not check_mode and (seen.changed or not told):
            openshell_route.have(cli, wanted, check_mode=False)
    except Failure as failure:
        # First NemoClaw, whose own command leads the gateway too, and with another timeout.
        said = "" if told else _tell_again(nemoclaw, wish, recorded)
        raise Failure(failure.code, failure.message + said + kept.restore(), **failure.details) from failure
    before = {"provider": recorded.provider, "model": recorded.model}
    after = {"provider": wish.provider, "model": wish.model}
    return {
        "changed": seen.changed or not told,
        "recorded": after,
        "previous": before,
        "diff": {"before": {}, "after": {}} if told else {"before": before, "after": after},
    }


def _tell_again(nemoclaw: NemoClaw, wish: Wish, recorded: Recorded) -> str:
    """Tell NemoClaw what it had recorded, since a command that failed may have done a part of its work; say so."""
    if recorded.provider is None or recorded.model is None:
        return ""
    before = f"{recorded.model} by {recorded.provider}"
    try:
        _tell(nemoclaw, replace(wish, provider=recorded.provider, model=recorded.model))
    except Failure as failure:
        return f" NemoClaw could not be told of {before} again: {failure.message}"
    return f" NemoClaw was told of {before} again."


def _find(nemoclaw: NemoClaw, wish: Wish) -> Recorded:
    recorded = find_recorded(nemoclaw.account.home, wish.sandbox)
    if recorded is None:
        raise Failure(
            "nemoclaw_sandbox_missing",
            f"NemoClaw has no sandbox {wish.sandbox}, so there is nothing to lead elsewhere. nemoclaw list has their names; the "
            "module nemoclaw_onboard makes one.",
        )
    return recorded


def _tell(nemoclaw: NemoClaw, wish: Wish) -> None:
    words = ["inference", "set", "--provider", wish.provider, "--model", wish.model, "--sandbox", wish.sandbox]
    # The gateway's own check asks from the host, where the sandbox's name for it means nothing (decision 0011).
    ended = nemoclaw.run([*words, "--no-verify"], {}, _SILENCE_S, lambda _line: None)
    if ended.code == 0:
        return
    how = "did not end and was stopped" if ended.code is None else f"ended with exit status {ended.code}"
    raise Failure(
        "nemoclaw_set_failed",
        f"Ran nemoclaw inference set for {wish.sandbox}, and it {how}: {last_words(ended)}. Look whether the sandbox is up (nemoclaw "
        f"{wish.sandbox} status), correct what last_logs names, and run this again.",
        exit_code=ended.code,
        last_logs=[quote(line, "", 300) for line in ended.lines],
    )
