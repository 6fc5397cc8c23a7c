# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The gateway that NemoClaw works on: its route before a run, which comes back where the run fails."""

from __future__ import annotations

from dataclasses import dataclass

from ..failure import Failure
from ..host.machine import Account, Machine
from ..openshell.cli import OpenShell, find_openshell
from ..openshell.look import find_route
from ..openshell.text import RouteSeen
from .registry import recorded_names

# NemoClaw's own name for its gateway (upstream-facts N36).
GATEWAY = "nemoclaw"
# What NemoClaw makes itself on a host that it has no sandbox on: OpenShell, the gateway's registration, the gateway
# (upstream-facts N36).
_STILL_TO_COME = ("openshell_missing", "openshell_gateway_unset", "openshell_gateway_down")


def find_gateway(machine: Machine, account: Account, gateway: str, secret: str = "") -> OpenShell | None:
    """Return the CLI on the gateway, None where there is no gateway yet; no sentence shows C(secret).

    Raises:
        Failure: C(nemoclaw_gateway_down), C(nemoclaw_registry_unreadable), or one of find_openshell, for a gateway that is there and
            cannot be used.

    """
    try:
        return find_openshell(machine, account, gateway=gateway, secret=secret)
    except Failure as failure:
        if failure.code not in _STILL_TO_COME:
            raise
        sandboxes = recorded_names(account.home)
        if not sandboxes:
            return None
        # Onboarding would make them anew, or route all of them elsewhere without anybody having been asked.
        raise Failure(
            "nemoclaw_gateway_down",
            f"NemoClaw has sandboxes on this host, {', '.join(sandboxes)}, and their gateway {gateway} cannot be asked: {failure.message} "
            f"Nothing was changed, and NemoClaw was not run. Have it brought back (nemoclaw {sandboxes[0]} recover), and run this again.",
            sandboxes=sandboxes,
        ) from failure


@dataclass(frozen=True)
class Kept:
    """The gateway's route as it was."""

    cli: OpenShell | None
    route: RouteSeen | None

    def restore(self) -> str:
        """Restore the gateway's route where a run that failed has changed it, and return the sentence that says so."""
        if self.cli is None or self.route is None:
            return ""
        before = self.route
        shown = f"{before.model} by {before.provider}"
        try:
            if _same(find_route(self.cli), before):
                return f" The gateway still routes to {shown}."
            words = ["--provider", before.provider, "--model", before.model, "--timeout", str(before.timeout)]
            self.cli.call("inference", "set", *words, "--no-verify")
        except Failure as failure:
            return f" The gateway could not be routed back to {shown}: {failure.message}"
        return f" The gateway routes to {shown} again."


def keep_route(cli: OpenShell | None) -> Kept:
    """Return what the gateway's route is now."""
    return Kept(cli, find_route(cli) if cli else None)


def _same(one: RouteSeen | None, other: RouteSeen) -> bool:
    return one is not None and (one.provider, one.model, one.timeout) == (other.provider, other.model, other.timeout)
