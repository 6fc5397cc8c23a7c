# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a comparison works with, and what it finds: the steps of a plan in one shape and one order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..failure import Failure
from ..host.machine import Account, Machine
from .choice import Choice, Host, is_gated
from .settings import Settings

if TYPE_CHECKING:
    from ..status.check import Check

# What is unavailable while a step runs.
NOTHING = "nothing"
NEW_STREAMS = "new streams"
MODEL = "the model"

# The order in which site works.
COMPONENTS = (
    "packages",
    "ollama",
    "service",
    "windows",
    "model",
    "container",
    "proxy",
    "token",
    "server",
    "sandbox",
    "route",
    "previous",
    "watch",
)
# No configuration differs where these alone are left: something is taken into memory, or could not be looked at from here.
NO_DRIFT = ("load", "verify")


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        id: Stable name, C(component.action), with a number where there are several.
        component: What it is about, one of COMPONENTS.
        action: A verb: C(install), C(write), C(restart), C(pull)...
        reason: Why, in words.
        before: What is there, None where nothing is.
        after: What will be there.
        download_bytes: What has to be fetched, None where nobody knows, 0 for nothing.
        interrupts: What is unavailable meanwhile.

    """

    id: str
    component: str
    action: str
    reason: str
    before: str | None = None
    after: str | None = None
    download_bytes: int | None = 0
    interrupts: str = NOTHING

    def as_result(self) -> dict[str, Any]:
        """Return it as the module gives it back."""
        return asdict(self)


def step(component: str, action: str, reason: str, **more: Any) -> Step:
    """Return a step with its name made of component and action."""
    return Step(f"{component}.{action}", component, action, reason, **more)


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Return the steps in the order in which site takes them, each with a name of its own."""
    found: list[Step] = []
    for one in sorted(steps, key=lambda each: COMPONENTS.index(each.component)):
        number = sum(1 for other in found if (other.component, other.action) == (one.component, one.action))
        found.append(Step(**{**asdict(one), "id": f"{one.id}.{number + 1}"}) if number else one)
    return found


def is_drift(steps: Iterable[Step]) -> bool:
    """Tell whether something on the host differs from what is wanted."""
    return any(one.action not in NO_DRIFT for one in steps)


def verify(component: str, reason: str) -> list[Step]:
    """Return the step for what could not be compared: when in doubt, site runs."""
    return [step(component, "verify", reason)]


def service_steps(actions: Iterable[str], before: str, after: str, exposed: bool) -> list[Step]:
    """Return the steps of C(ollama_service), by the actions that it plans."""
    found = []
    reason = "Ollama is open to the network" if exposed else "the service is not as it should be"
    for action in actions:
        verb, what = action.split(" ", 1)
        if verb == "write":
            differs = "the drop-in is missing" if not before else "the drop-in is not as it should be"
            found.append(step("service", verb, f"{differs}: {what}", before=before or None, after=after))
        else:
            interrupts = MODEL if verb in ("restart", "stop") else NOTHING
            found.append(step("service", verb, f"{reason}: {action}", after=what, interrupts=interrupts))
    return found


def model_steps(result: Mapping[str, Any]) -> list[Step]:
    """Return the steps of C(ollama_model), by its result in check mode."""
    found = []
    chosen = f", chosen because {result['choice_reason']}" if result.get("choice_reason") else ""
    for action in result.get("actions") or []:
        verb = action.split(" ", 1)[0]
        reason = "the model is not on this host" if verb == "pull" else "the model is not in memory"
        size = result.get("size") if verb == "pull" else 0
        found.append(
            step(
                "model",
                verb,
                reason + chosen,
                before=result.get("before"),
                after=str(result["model"]),
                download_bytes=size,
            )
        )
    return found


def proxy_steps(compared: Mapping[str, Any], config: str, unit: str) -> list[Step]:
    """Return the steps of the role proxy, by what C(proxy_gate) with C(state=compared) found."""
    found = []
    texts = {one["path"]: one["content"] for one in compared.get("found") or []}
    for reason in compared["reasons"]:
        path = reason.split(" ", 1)[0]
        if path in (config, unit):
            action, interrupts = "write", NEW_STREAMS if path == unit and texts.get(path) else NOTHING
            before = "another content" if texts.get(path) else None
            found.append(step("proxy", action, reason, before=before, after=path, interrupts=interrupts))
        elif "was changed but not reloaded" in reason or "does not run" in reason:
            found.append(
                step("proxy", "start" if "does not run" in reason else "restart", reason, interrupts=NEW_STREAMS)
            )
        else:
            found.append(step("proxy", "reload", reason))
    return found


def route_steps(
    found: Mapping[str, Any] | None, wanted: Mapping[str, Any], is_closed: bool, problem: str | None
) -> list[Step]:
    """Return the step of C(inference_route): what of the record differs, and whether others may read it."""
    if found is None:
        why = f"the record cannot be read ({problem})" if problem else "no route is recorded"
        return [step("route", "record", why, after=_in_words(wanted))]
    names = [name for name in wanted if found.get(name) != wanted[name]]
    if names:
        reason = "the recorded " + ", ".join(f"{name} is {found.get(name)}, not {wanted[name]}" for name in names)
        return [step("route", "record", reason, before=_in_words(found), after=_in_words(wanted))]
    if not is_closed:
        return [step("route", "close", "the record is not private to the user (mode 0600, in a folder with 0700)")]
    return []


def _in_words(route: Mapping[str, Any]) -> str:
    return f"{route['model']} at {route['base_url_host']}"


@dataclass
class Context:
    """One plan of one host: what is wanted, what is there, and what was found so far.

    Attributes:
        machine: The host.
        account: Whose inference it is.
        host: C(nemoclaw_host).
        settings: What is wanted.
        choice: Which provider, by which role.
        proof: C(ladder) or C(completion).
        keep_route: Whether what is not named stays as it is recorded.
        watch: What the controller says of the watch, C({checksum, host}), empty where none is wanted.
        steps: What would be done.
        refusals: What stands against it.
        route: The route that would be recorded, None as long as nobody knows it.
        report: What the proof found, None without one.
        checks: What was asked for the status so far, and all of it where there is nothing to do.
        lines: The same for people.

    """

    machine: Machine
    account: Account
    host: Host
    settings: Settings
    choice: Choice
    proof: str = "ladder"
    keep_route: bool = False
    watch: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    refusals: list[Failure] = field(default_factory=list)
    route: dict[str, Any] | None = None
    report: Any = None
    checks: list[Check] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def recorded(self) -> dict[str, Any]:
        """The recorded route, empty without one."""
        return self.host["route"] or {}

    @property
    def is_gated(self) -> bool:
        """Whether sandboxes come through the auth proxy."""
        return is_gated(self.host, self.choice, self.settings)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is to be done so far, and nothing stands against it."""
        return not self.steps and not self.refusals

    def setting(self, name: str) -> Any:
        """Return a setting of the role that sets up the provider."""
        return self.settings[f"{self.choice.role}_{name}"]


def as_user(account: Account, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the work returns, done by a process that is the account's and no longer root's.

    What a user may reach, a container engine for example, only a process of that user tells; the rights of this process stay.

    Raises:
        Failure: What the work raised.

    """
    if os.geteuid() != 0 or account.uid == 0:
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_as(account, work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    if not said:
        raise Failure(
            "user_unknown",
            f"Looked at the host as the user {account.name}, but got no answer. Check whether root may become that user here.",
            user=account.name,
        )
    answer = json.loads(said)
    if "failure" in answer:
        details = answer["failure"]
        raise Failure(details.pop("code"), details.pop("message"), **details)
    result: dict[str, Any] = answer["result"]
    return result


def _work_as(account: Account, work: Callable[[], dict[str, Any]], writing: int) -> None:
    """Never returns: what the parent had open and to clean up is not this process' business."""
    try:
        os.setgroups(account.groups)
        os.setgid(account.gid)
        os.setuid(account.uid)
        try:
            answer: dict[str, Any] = {"result": work()}
        except Failure as failure:
            answer = {"failure": failure.as_result()}
        with os.fdopen(writing, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    finally:
        os._exit(0)
