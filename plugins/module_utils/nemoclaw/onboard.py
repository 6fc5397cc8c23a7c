# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""A sandbox of NemoClaw's own: made by C(nemoclaw onboard --non-interactive) where there is none, left alone where there is."""

from __future__ import annotations

import re
import time
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Position, Report
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.gateway import find_gateway, keep_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.program import (
    Ended,
    NemoClaw,
    last_words,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.registry import find_recorded
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.wish import (
    ENDPOINTS,
    NO_KEY,
    ONBOARD,
    Wish,
    check,
    environment,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import provider, provider_wish
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.sandbox import READY
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.sandboxes import find_sandbox
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote

# "[3/8] Configuring inference" (upstream-facts N36, the eight steps).
_STEP = re.compile(r"\[(\d+)/(\d+)\] *(.*)")

# What its words mean; the first pattern that fits the end of its output counts.
FAILURE_CODES = {
    r"onboarding run is already in progress": "nemoclaw_busy",
    r"did not become ready within": "nemoclaw_sandbox_timeout",
}
_REMEDIES = {
    "nemoclaw_busy": "Another onboarding is under way. Wait for its end, and run this again",
    "nemoclaw_sandbox_timeout": "Give it more time (sandbox_ready_timeout) where the image is large or the host slow; else see last_logs",
}


class Onboarding:
    """One sandbox on one host.

    Args:
        nemoclaw: The program.
        wish: What is wanted.
        gateway: The name of NemoClaw's gateway.

    """

    def __init__(self, nemoclaw: NemoClaw, wish: Wish, gateway: str) -> None:
        self._nemoclaw, self._wish, self._gateway = nemoclaw, wish, gateway

    def plan(self, check_mode: bool) -> dict[str, Any] | None:
        """Return the result where there is nothing to do, or nothing may be done; None where NemoClaw has to be run.

        Raises:
            Failure: Of check(), C(nemoclaw_terms_not_accepted), C(nemoclaw_sandbox_not_ready), C(nemoclaw_gateway_down),
                C(route_shared), C(nemoclaw_registry_unreadable), or one of the OpenShell CLI.

        """
        wish = self._wish
        check(wish)
        cli = find_gateway(self._nemoclaw.machine, self._nemoclaw.account, self._gateway)
        if self._is_there(cli):
            return self._result(changed=False, phase=READY)
        if not wish.accepted:
            raise Failure(
                "nemoclaw_terms_not_accepted",
                f"NemoClaw has to make the sandbox {wish.name}, and does so without questions only for those who accept the "
                "third-party software that it brings. Read its notice (nemoclaw onboard shows it), and set "
                "sandbox_accept_third_party_software to true. Nothing was changed.",
            )
        if cli is not None:
            # Onboarding leads the whole gateway there, with every sandbox of it.
            wanted = openshell_route.Wish(wish.endpoint, wish.route["model"], sandbox=wish.name, shared=wish.shared)
            self._refuse_to_move(cli, openshell_route.have(cli, wanted, check_mode=True))
        return self._result(changed=True, phase=None) if check_mode else None

    def work(self, report: Report) -> dict[str, Any]:
        """Run NemoClaw, and see that it has recorded what it was told.

        Raises:
            Failure: C(nemoclaw_failed), C(nemoclaw_stalled), C(nemoclaw_busy), C(nemoclaw_sandbox_timeout),
                C(nemoclaw_not_recorded), each with C(handed_over); the gateway leads where it led before.

        """
        wish = self._wish
        kept = keep_route(find_gateway(self._nemoclaw.machine, self._nemoclaw.account, self._gateway))
        previous = openshell_route.as_dict(kept.route)
        step = _Step(report, wish.name)
        started = time.monotonic()
        silence = float(wish.ready_timeout + wish.stall_timeout)
        ended = self._nemoclaw.run(ONBOARD, environment(wish), silence, step.take)
        elapsed = round(time.monotonic() - started, 1)
        try:
            self._check_end(ended, step, silence)
        except Failure as failure:
            logs = [quote(line, wish.credential, 300) for line in ended.lines]
            facts: dict[str, Any] = {"step": step.name, "exit_code": ended.code, "last_logs": logs, "elapsed": elapsed}
            facts["previous"] = previous
            raise Failure(failure.code, failure.message + kept.restore(), handed_over=True, **facts) from failure
        return {**self._result(changed=True, phase=READY), "previous": previous, "elapsed": elapsed}

    def _refuse_to_move(self, cli: OpenShell, seen: openshell_route.Outcome) -> None:
        """Stop where NemoClaw would give the provider of other sandboxes another address or key, under a route that stays the same."""
        wish = self._wish
        if (
            not seen.sandboxes
            or wish.shared != "refuse"
            or seen.before is None
            or seen.before.provider != wish.endpoint
        ):
            return
        kind, url = wish.route["provider_type"], wish.route["base_url_sandbox"]
        credentials = {ENDPOINTS[kind][2]: wish.credential or NO_KEY}
        config = {"ANTHROPIC_BASE_URL" if kind == "anthropic" else "OPENAI_BASE_URL": url}
        found = provider.have(cli, provider_wish.Wish(wish.endpoint, kind, credentials, config), check_mode=True)
        if found.changed and not found.known_values:
            raise Failure(
                "route_shared",
                f"NemoClaw would give the provider {wish.endpoint} the address {url} and its key, and other sandboxes of the gateway "
                f"use it as well: {', '.join(seen.sandboxes)}. So nothing was changed. Use another gateway for this sandbox, or allow "
                "it with shared: allow.",
                sandboxes=seen.sandboxes,
                route=openshell_route.as_dict(seen.before),
            )

    def _is_there(self, cli: Any) -> bool:
        """Tell whether NemoClaw has the sandbox, and the gateway as well.

        What NemoClaw has recorded alone, it makes anew.
        """
        name = self._wish.name
        if cli is None or find_recorded(self._nemoclaw.account.home, name) is None:
            return False
        found = find_sandbox(cli, name)
        if found is not None and found.phase != READY:
            raise Failure(
                "nemoclaw_sandbox_not_ready",
                f"NemoClaw has the sandbox {name}, and OpenShell says that it is {found.phase}. Look at it (nemoclaw {name} status, "
                f"nemoclaw {name} logs), have it brought back (nemoclaw {name} recover, nemoclaw {name} rebuild), and run this "
                "again. Nothing was changed.",
                last_state=found.phase,
            )
        return found is not None

    def _check_end(self, ended: Ended, step: _Step, silence: float) -> None:
        said = " ".join(ended.lines)
        where = f" in step {step.name!r}" if step.name else ""
        last = last_words(ended, self._wish.credential)
        if ended.code is None:
            raise Failure(
                "nemoclaw_stalled",
                f"Ran nemoclaw onboard for {self._wish.name}, and it said nothing for {silence:g} s{where}, so it was stopped. Its "
                f"last words: {last}. See last_logs; a slow network or disk needs a longer stall_timeout.",
            )
        if ended.code:
            ran = f"Ran nemoclaw onboard for {self._wish.name}, and it ended with exit status {ended.code}{where}: {last}."
            for pattern, code in FAILURE_CODES.items():
                if re.search(pattern, said):
                    raise Failure(code, f"{ran} {_REMEDIES[code]}.")
            raise Failure("nemoclaw_failed", f"{ran} Correct what last_logs names, and run this again.")
        if find_recorded(self._nemoclaw.account.home, self._wish.name) is None:
            raise Failure(
                "nemoclaw_not_recorded",
                f"Ran nemoclaw onboard for {self._wish.name}, and it ended as if all were well, but has no such sandbox in its "
                f"list. Its last words: {last}. See last_logs, and run nemoclaw onboard by hand to see what it asks.",
            )

    def _result(self, *, changed: bool, phase: str | None) -> dict[str, Any]:
        recorded = find_recorded(self._nemoclaw.account.home, self._wish.name)
        name = self._wish.name
        return {
            "changed": changed,
            "sandbox": name,
            "phase": phase,
            "recorded": {"provider": recorded.provider, "model": recorded.model} if recorded else None,
            "endpoint": self._wish.endpoint,
            "previous": None,
            "actions": [f"onboard {name}"] if changed else [],
            "elapsed": 0.0,
            "diff": {"before": f"{name}: absent\n", "after": f"{name}: onboarded by NemoClaw\n"}
            if changed
            else {"before": "", "after": ""},
        }


class _Step:
    """Which of NemoClaw's steps is under way."""

    def __init__(self, report: Report, sandbox: str) -> None:
        self.name = ""
        self._report = report
        self._sandbox = sandbox

    def take(self, line: str) -> None:
        """Read a line of its output."""
        found = _STEP.search(line)
        if found:
            number, of = int(found[1]), int(found[2])
            self.name = " ".join(found[3].split()).rstrip(" .\u2500") or f"{number} of {of}"
            message = f"Onboarding {self._sandbox} with NemoClaw, {self.name}"
            self._report(Position("onboard", max(number - 1, 0), of, unit="steps", message=message))
