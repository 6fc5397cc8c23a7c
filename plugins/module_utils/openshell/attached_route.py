# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The backend for OpenShell 0.1: a provider of a profile of its own, attached to one sandbox (decisions 0022, 0027 and 0034).

Nobody can read the key of a provider. So where one is attached already, what is new is attached beside it under a name of its own
(NAME-next), with a variable of its own for the key, and agents keep what they have until that was proved and recorded. A sandbox that has
to be made gets the provider with it, so that its first process has the key.
"""

from __future__ import annotations

from typing import Any

from ..endpoint.report import Report as ProbeReport
from ..failure import Failure
from ..jobs.progress import Report
from . import attachment, lifecycle, proof
from .attached import NAMES, Decision, Seen, decide, is_ours, position_of, see, wanted_of
from .attaching import Attachment, delete, provider_of
from .attachment import attached_at, exported, is_labelled, profile_id
from .cli import ATTACHMENT, OpenShell
from .gateway_route import STAYS, Proof
from .look import READY, RESTING, DesiredSandbox, SandboxSeen, find_provider, list_sandboxes
from .provider import check_desired
from .route import DONE, NEEDED, NEXT, Desired, Plan, Position, own_sandbox


class AttachedRoute:
    """See Backend.

    Args:
        cli: The command line of the gateway.
        desired: The route that the sandbox is to have.

    """

    way = ATTACHMENT

    def __init__(self, cli: OpenShell, desired: Desired) -> None:
        self.gateway = cli.gateway
        self.sandbox: str | None = own_sandbox(desired)
        self.others: list[str] = []
        self.restart = ""
        self._cli, self._desired = cli, desired
        self._sandboxes: dict[str, SandboxSeen] = {}
        self._lasting: Attachment | None = None
        self._staged: Attachment | None = None
        self._seen = Seen()
        self._decision: Decision | None = None
        # The sandboxes whose processes go on with an older key.
        self._stale: list[str] = []

    @property
    def _name(self) -> str:
        name: str = self._desired.route["provider_name"]
        return name

    @property
    def environment(self) -> dict[str, str]:
        """See Backend."""
        variable = "ANTHROPIC_BASE_URL" if self._desired.route["api"] == "anthropic-messages" else "OPENAI_BASE_URL"
        return {variable: wanted_of(self._desired, self._cli, self._name).base_url}

    def look(self) -> None:
        """See Backend."""
        cli = self._cli
        self._list()
        seen = self._seen = see(cli, self._desired, list(self._sandboxes.values()))
        self.others = list(seen.sharing)
        self._lasting = Attachment(cli, wanted_of(self._desired, cli, self._name), seen.lasting)
        self._staged = Attachment(cli, wanted_of(self._desired, cli, self._name + NEXT), seen.staged)

    def _list(self) -> None:
        self._sandboxes = {one.name: one for one in list_sandboxes(self._cli)}

    def position(self) -> Position | None:
        """See Backend."""
        return position_of(self._seen, self._name, self.sandbox)

    def in_words(self, position: Position) -> str:
        """See Backend."""
        return f"{position['provider']} attached to {position['sandbox']}"

    def plan(self, previous: Position | None) -> Plan:
        """See Backend."""
        makes_sandbox = bool(self._desired.sandbox) and self._making().check()
        lasting = _known(self._lasting)
        check_desired(provider_of(lasting.desired))
        decision = self._decision = decide(
            self._desired, lasting.desired, lasting.profile, self._seen, previous, makes_sandbox=makes_sandbox
        )
        self._stale = decision.restarts
        self.restart = self._foreseen()
        plan = Plan([one.words for one in decision.actions])
        if decision.restarts and not self._desired.may_restart:
            plan.warnings.append(restart_words(decision.restarts))
        plan.positions = [{"provider": name, "sandbox": self.sandbox} for name in (self._name + NEXT, self._name)]
        return plan

    @property
    def _decided(self) -> Decision:
        return _known(self._decision)

    def _making(self) -> lifecycle.Making:
        desired = self._desired
        return lifecycle.Making(
            self._cli,
            DesiredSandbox(desired.sandbox, desired.image, [self._name], timeout=desired.ready_timeout),
        )

    def _do(self, one: Attachment, actions: list[str], *, attaching: bool) -> None:
        """Do what concerns profile and provider, or what has the sandbox take it over."""
        for action in actions:
            if action.startswith(("attach ", "wait ")) == attaching:
                one.do(action)

    def stage(self, report: Report) -> None:
        """See Backend. The provider comes first: a sandbox that is made has it from its first process on."""
        decision = self._decided
        staged = _known(self._staged)
        if decision.is_staged:
            self._do(staged, staged.plan(), attaching=False)
        else:
            self._do(_known(self._lasting), decision.own, attaching=False)
        if self._desired.sandbox:
            making = self._making()
            if making.plan(False) is None:
                making.work(report)

    def route(self) -> None:
        """See Backend. Where one is attached, agents go on with that."""
        if self._decided.is_staged:
            self._do(_known(self._staged), _known(self._staged).plan(), attaching=True)
        else:
            self._do(_known(self._lasting), self._decided.own, attaching=True)

    def prove(self) -> Proof:
        """See Backend."""
        desired, route = self._desired, self._desired.route
        if not desired.proof or self.sandbox is None:
            return Proof(reason="")
        is_staged = self._decision is not None and self._decision.is_staged
        wanted = wanted_of(self._desired, self._cli, self._name + (NEXT if is_staged else ""))
        spec = proof.Desired(
            route["model"],
            route["api"],
            self.sandbox,
            route["timeout"],
            require_tools=desired.require_tools,
            base_url=wanted.base_url,
            credential_name=wanted.credential_name,
        )
        report = ProbeReport(route["api"], route["model"])
        try:
            proof.choose_sandbox(self._cli, self.sandbox)
            proof.prove(self._cli, self.sandbox, spec, report)
        except Failure as failure:
            # Of a sandbox that only the record names nothing can be asked.
            if failure.code != "sandbox_command_missing" or desired.sandbox:
                raise
            return Proof(reason=failure.message)
        return Proof(self.sandbox, report.as_result()["tool_calling"])

    def adopt(self) -> None:
        """See Backend. OpenShell refuses nothing that comes after the proof."""

    def commit(self) -> None:
        """See Backend. Two providers that are attached may want the same variable, so the one makes way for the other."""
        decision, lasting = self._decided, _known(self._lasting)
        try:
            if decision.is_staged:
                self._do(lasting, decision.own, attaching=False)
            for name in self._seen.earlier:
                self._at(name).detach()
            if decision.is_staged:
                self._do(lasting, decision.own, attaching=True)
            for name in set(self._seen.earlier) - set(self._seen.kept):
                self._at(name).remove(False)
            if decision.is_staged or self._seen.is_interrupted:
                self._at(self._name + NEXT).remove(False)
            self.renew()
        except Failure as failure:
            raise Failure(
                failure.code,
                f"{failure.message} The route is recorded as it was proved; {self.sandbox} may have it by {self._name + NEXT} alone as "
                "yet. Run this again.",
                **failure.details,
            ) from failure

    def renew(self) -> bool:
        """See Backend."""
        names = self._stale if self._desired.may_restart else []
        for name in names:
            lifecycle.restart_sandbox(self._cli, DesiredSandbox(name, timeout=self._desired.ready_timeout), False)
        return bool(names)

    def _foreseen(self) -> str:
        """Return what becomes of processes with an older key."""
        if not self._stale:
            return ""
        return DONE if self._desired.may_restart else NEEDED

    def restore(self, previous: Position | None) -> list[str]:
        """See Backend."""
        decision, name = self._decision, self._name
        if decision is None:
            return []
        before = previous["provider"] if previous else None
        try:
            self._list()
            own = self._sandboxes.get(str(self.sandbox))
            now = attached_at(self._cli, own.name) if own else []
            if before != name + NEXT and decision.is_staged:
                self._at(name + NEXT).remove(False)
            if before is None and f"create {name}" in decision.own:
                self._at(name).remove(False)
            elif before is None and name in now:
                self._at(name).detach()
            if before is not None and before not in now:
                self._at(before).attach()
        except Failure as failure:
            words = self.in_words(previous) if previous else "nothing attached"
            return [f"{self.sandbox} could not be given back {words}: {failure.message} Run this again."]
        if previous is None:
            return [f"{self.sandbox} has no server attached, as before."] if name in now else [STAYS]
        return [STAYS if before in now else f"{self.sandbox} has {before} attached again."]

    def _at(self, name: str, where: str | None = None) -> Attachment:
        """Return the attachment of another provider, or at another sandbox, to attach, detach or remove it."""
        at = where or str(self.sandbox)
        found = self._sandboxes.get(at)
        # One that is stopped applies nothing, so nothing is waited for there.
        waits = found is not None and found.phase == READY
        return Attachment(
            self._cli, attachment.Desired(at, name, timeout=max(self._desired.ready_timeout, 1)), waits=waits
        )

    def rotate(self, check_mode: bool) -> Plan:
        """See Backend."""
        done, seen = Plan(), self._seen
        own = self._sandboxes.get(str(self.sandbox))
        # One that is not ready applies nothing, so nothing is waited for there.
        runs = own is not None and own.phase == READY
        for one, found in ((_known(self._lasting), seen.lasting), (_known(self._staged), seen.staged)):
            if found.provider is None or found.knows_key:
                continue
            done.actions.append(f"update the provider {one.desired.provider}")
            if not check_mode:
                one.do(f"update {one.desired.provider}")
            if found.attached and runs and not check_mode:
                one.do(f"wait for {one.desired.provider}")
        is_stale = seen.lasting.attached and own is not None and own.phase not in RESTING
        self._stale = [*([str(self.sandbox)] if is_stale else []), *seen.busy] if done.actions else []
        self.restart = self._foreseen()
        if self.restart == NEEDED:
            done.warnings.append(restart_words(self._stale))
        elif self._stale:
            done.actions += [f"restart the sandbox {one}" for one in self._stale]
        return done

    def remove(self, check_mode: bool) -> Plan:
        """See Backend."""
        cli, done = self._cli, Plan()
        self._list()
        attached = {one: attached_at(cli, one) for one in self._sandboxes}
        for name in (*NAMES, *(name + NEXT for name in NAMES)):
            at = [one for one, names in attached.items() if name in names]
            found = find_provider(cli, name)
            if found is not None and not is_ours(cli, name):
                where = f", attached to {', '.join(at)}" if at else ""
                done.notes.append(
                    f"The provider {name} of OpenShell stays{where}: it did not get its key from here. openshell provider delete {name} "
                    "removes it."
                )
                continue
            has_profile = is_labelled(exported(cli, profile_id(name)))
            done.actions += [f"detach the provider {name} from {one}" for one in at]
            done.actions += [f"delete the provider {name}"] if found else []
            done.actions += [f"delete the profile {profile_id(name)}"] if has_profile else []
            for one in at if not check_mode else ():
                self._at(name, one).detach()
            if not check_mode and (found or has_profile):
                delete(cli, name, has_profile=has_profile)
        return done


def _known(value: Any) -> Any:
    """Return what an earlier step found."""
    if value is None:
        raise RuntimeError("look() and plan() come first")
    return value


def restart_words(sandboxes: list[str]) -> str:
    """Return the warning about processes that keep an older key."""
    named = ", ".join(sandboxes)
    return (
        f"Processes running in {named} keep the key that they started with: OpenShell 0.1 gives a new one only to new processes. Restart "
        f"the agent there, or restart the sandbox with sandbox_restart=true."
    )
