# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The backend for NemoClaw: it makes its gateway and the sandbox where it has none, and has to be told of each change.

All else is as with OpenShell alone, on NemoClaw's gateway. But for two things: onboarding writes the provider in use, whose key nobody can
read; and C(nemoclaw inference set) takes NemoClaw's own names of providers alone. So the provider gets its lasting values before the route
is recorded, and what could not be given back is said.
"""

from __future__ import annotations

from dataclasses import replace

from ..failure import Failure
from ..host.machine import Account, Machine
from ..jobs.progress import Report
from ..openshell import changes, look, provider
from ..openshell.cli import find_openshell
from ..openshell.gateway_route import STAYS, GatewayRoute
from ..openshell.route import Desired, Plan, Position, decide, own_sandbox, provider_spec_of
from . import inference
from .desired import DEFAULT_SANDBOX, find_gateway
from .desired import Desired as DesiredSandbox
from .onboard import Onboarding
from .records import GATEWAY, NemoClaw, Recorded, find_recorded


class NemoClawRoute(GatewayRoute):
    """See Backend.

    Args:
        machine: The host.
        account: Whose NemoClaw it is.
        desired: The route that the sandboxes are to have.
        nemoclaw: The program.

    """

    def __init__(self, machine: Machine, account: Account, desired: Desired, nemoclaw: NemoClaw) -> None:
        desired = replace(desired, gateway=desired.gateway or GATEWAY)
        desired = replace(desired, sandbox=own_sandbox(desired) or DEFAULT_SANDBOX)
        super().__init__(machine, account, desired)
        self._nemoclaw = nemoclaw
        spec = DesiredSandbox(
            desired.sandbox,
            desired.route,
            desired.credential,
            desired.ready_timeout,
            desired.stall_timeout,
            desired.accepted,
            "allow" if desired.may_share else "refuse",
        )
        self._sandbox_spec = spec
        self._onboarding = Onboarding(nemoclaw, spec, desired.gateway)
        self._is_missing = False
        self._has_failed = False
        self._told: Recorded | None = None
        # The providers that may have got an address and a key of this run.
        self._written: set[str] = set()
        # Whether the recorded provider has this key at the recorded address: then it can be given that again.
        self._can_return = False

    @property
    def _endpoint(self) -> str:
        """Return what onboarding calls the provider. Not for remove(): without a record there is no route."""
        return self._sandbox_spec.endpoint

    def look(self) -> None:
        """See Backend."""
        desired = self._desired
        cli = find_gateway(self._nemoclaw.machine, self._nemoclaw.account, desired.gateway, desired.credential)
        self.gateway, self.sandbox = self._desired.gateway, self._desired.sandbox
        if cli is None:
            return
        self._see(cli)
        if self._desired.recorded.get("provider_name"):
            spec = provider.check_desired(self._spec_before())
            found = look.find_provider(cli, spec.name)
            self._can_return = provider.compare(spec, found, self._seen.remembered).known_values

    def plan(self, previous: Position | None) -> Plan:
        """See Backend."""
        self._previous = previous
        planned = self._onboarding.plan(check_mode=True)
        self._is_missing = planned is None or planned["changed"]
        if not self._is_missing:
            self._decision = decide(self._desired, self._seen, previous)
            plan = self._decision.plan
            recorded = find_recorded(self._account.home, self._desired.sandbox)
            if recorded is not None and not inference.is_told(recorded, self._spec_now()):
                plan.actions.append(f"tell NemoClaw of {self._desired.route['model']} by {self._name}")
            return plan
        plan = Plan([f"onboard {self._desired.sandbox} with NemoClaw"])
        model = self._desired.route["model"]
        plan.positions = [{"provider": name, "model": model} for name in (self._endpoint, self._name)]
        return plan

    def stage(self, report: Report) -> None:
        """See Backend."""
        if self._is_missing:
            self._onboard(report)
        self._stage_provider()

    def _make_sandbox(self) -> None:
        """Make none: NemoClaw's onboarding did."""

    def route(self) -> None:
        """See Backend."""
        if not self._decided.is_staged:
            self._tell()
        super().route()

    def adopt(self) -> None:
        """See Backend. NemoClaw may refuse it, so this comes before the record."""
        if self._decided.is_staged:
            self._give()
            self._tell()
            self._lead(self._name)

    def restore(self, previous: Position | None) -> list[str]:
        """See Backend."""
        if self._cli_seen is None:
            return []
        lost = self._return_provider(previous)
        told = self._tell_again(previous)
        words = super().restore(previous)
        if self._has_failed and words == [STAYS]:
            words = []  # the failure of the onboarding says what became of the route
        return [*told, *words, *lost]

    def remove(self, check_mode: bool) -> Plan:  # noqa: ARG002 - nothing is removed
        """See Backend."""
        name = self._desired.recorded.get("provider_name")
        its = f"its route and the provider {name}" if name else "and its route"
        return Plan(
            notes=[
                f"NemoClaw's gateway was left unchanged, with its sandboxes, {its}: they belong to NemoClaw. nemoclaw NAME destroy removes "
                "a sandbox, nemoclaw uninstall all that NemoClaw has on this host. With sandbox_backend=openshell this play removes the "
                "route and the provider."
            ]
        )

    def _onboard(self, report: Report) -> None:
        try:
            self._onboarding.work(report)
        except Failure as failure:
            self._has_failed = True
            if failure.details.get("handed_over"):
                self._written.add(self._endpoint)
            raise
        self._written.add(self._endpoint)
        self._changed = True
        self._see(
            find_openshell(self._machine, self._account, gateway=self._desired.gateway, secret=self._desired.credential)
        )
        # Onboarding was allowed to route other sandboxes there, and wrote the provider: nothing is left that could stand beside it.
        decision = decide(replace(self._desired, may_share=True), self._seen, self.position())
        self._decision = replace(decision, is_staged=False)

    def _give(self, name: str | None = None) -> bool:
        # Also where it fails: it may have been given a part.
        self._written |= {self._name} if name is None else set()
        return super()._give(name)

    def _spec_now(self) -> inference.Desired:
        """Return what NemoClaw has to have recorded."""
        desired, route = self._desired, self._desired.route
        return inference.Desired(
            desired.sandbox,
            self._name,
            route["model"],
            route["timeout"],
            "allow",
            route["base_url_sandbox"],
            route["api"],
            desired.credential,
        )

    def _tell(self) -> None:
        """Tell NemoClaw. It routes the gateway too, and undoes what it could not finish."""
        recorded = find_recorded(self._account.home, self._desired.sandbox)
        spec = self._spec_now()
        if recorded is not None and inference.is_told(recorded, spec):
            return
        self._changed |= inference.have(self._nemoclaw, self._cli, spec, False)["changed"]
        self._told = recorded

    def _tell_again(self, previous: Position | None) -> list[str]:
        """Tell NemoClaw what it had recorded."""
        told = self._told
        if told is None or told.provider is None or told.model is None:
            return []
        timeout = previous["timeout"] if previous else self._desired.route["timeout"]
        # Newer releases are given the key with the address.
        is_known = self._can_return and told.provider == self._desired.recorded.get("provider_name")
        spec = replace(
            self._spec_now(),
            provider=told.provider,
            model=told.model,
            timeout=timeout,
            base_url=told.url,
            api=told.api,
            credential=self._desired.credential if is_known else "",
            restores=True,
        )
        try:
            inference.have(self._nemoclaw, self._cli, spec, False)
        except Failure as failure:
            return [f"NemoClaw could not be told of {told.model} by {told.provider} again: {failure.message}"]
        return [f"NemoClaw was told of {told.model} by {told.provider} again."]

    def _return_provider(self, previous: Position | None) -> list[str]:
        """Give the previous route's provider its previous address, where this run wrote over it and its key is known."""
        name = previous["provider"] if previous else None
        if name not in self._written:
            return []
        recorded = self._desired.recorded
        if name != recorded.get("provider_name") or not self._can_return:
            # With another key it is left as it is: the previous server would get the key of the new one.
            return [
                f"The provider {name} may have the address and the key of this run, and nobody here knows the key that it had: run this "
                "with the previous settings, so that it gets them again."
            ]
        try:
            changes.ensure_provider(self._cli, self._spec_before(), False)
        except Failure as failure:
            return [
                f"The provider {name} could not be pointed back to {recorded['base_url_sandbox']}: {failure.message} Run this again."
            ]
        return [f"The provider {name} points to {recorded['base_url_sandbox']} again."]

    def _spec_before(self) -> provider.Desired:
        """Return the recorded provider, with the credential of this run."""
        before = replace(self._desired, route=self._desired.recorded, may_replace=True)
        return provider_spec_of(before)
