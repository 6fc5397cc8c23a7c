# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What there is of a managed container, and the step to what is wanted. Looks only; managed.py acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..untrusted import list_of, object_of
from .compare import (
    Difference,
    as_diff,
    differences,
)
from .engine import Engine
from .preflight import (
    is_in_the_way,
    kind_of,
    name_of,
    require_ours,
)
from .spec import MODEL, Spec

PREVIOUS, NEXT = "-previous", "-next"
UNPROVED_POLICY = "on-failure"
# Of a container that served until it was stopped for another: it serves again where that one fails. One that somebody stopped keeps
# its own policy, and stays stopped.
MADE_WAY_POLICY = "no"


@dataclass(frozen=True)
class Plan:
    """What is there, what is wanted, and the steps between.

    Attributes:
        spec: What is wanted.
        current: The container that counts as ours now; of a run that was killed in the middle it is the previous one.
        fallback: C(NAME-previous), kept until the current one has proved itself.
        changes: What differs.
        step: C(none), C(rename) (it serves, and a run that was killed left it with another name), C(start), C(update), C(create) or
            C(replace).
        yielding: Another container of ours that runs and is stopped for this one.

    """

    spec: Spec
    current: dict[str, Any] | None
    fallback: dict[str, Any] | None
    changes: list[Difference]
    step: str
    yielding: dict[str, Any] | None = None

    @property
    def needs_container(self) -> bool:
        """Whether a container has to be made: then image and weights have to be there first."""
        return self.step in ("create", "replace")

    @property
    def own(self) -> list[dict[str, Any]]:
        """The containers of ours whose ports and GPUs are free by the time the new one starts."""
        return [one for one in (self.current, self.fallback, self.yielding) if one]

    @property
    def before(self) -> str:
        """The state before, for the diff."""
        return status_of(self.current)

    def actions(self) -> list[str]:
        """Return what apply() does, for people."""
        name = self.spec.name
        options = ", ".join(change.name for change in self.changes)
        step = {
            "none": [],
            "rename": [f"rename {name + PREVIOUS}"],
            "start": [f"start {name}"],
            "update": [f"update {name} ({options})"],
            "create": [f"create {name}"],
            "replace": [f"replace {name} ({options})"],
        }[self.step]
        return [f"stop {name_of(self.yielding)}", *step] if self.yielding else step

    def kept(self, keep_previous: bool) -> list[str]:
        """Return what follow() does once the container is ready, for people: in check mode nobody can follow."""
        name, proved = self.spec.name, self.current is not None and not is_unproved(self.current)
        actions = []
        if self.step in ("create", "replace", "start") or not proved:
            actions.append(f"keep {name} (restart policy {self.spec.restart_policy})")
        if not keep_previous and (self.fallback or (self.step == "replace" and proved)):
            actions.append(f"remove {name + PREVIOUS}")
        return actions

    def diff(self) -> dict[str, str]:
        """Return Ansible's diff of apply(), for a plan that has something to do."""
        shown = as_diff(self.changes, self.spec.name, self.before, "running")
        if self.yielding:
            name = name_of(self.yielding)
            shown = {"before": f"{name}: running\n{shown['before']}", "after": f"{name}: exited\n{shown['after']}"}
        return shown


def make_plan(engine: Engine, spec: Spec) -> Plan:
    """Return what would have to be done.

    Raises:
        Failure: C(container_foreign).

    """
    current, fallback = ours(engine, spec.name, spec.kind)
    if current is None:
        current, fallback = fallback, None
    yielding = _yielding(engine, spec)
    if current is None:
        return Plan(spec, None, None, [], "create", yielding)
    changes = differences(spec, current, engine.image(spec.image))
    if is_unproved(current):
        changes = [change for change in changes if change.name != "restart_policy"]
    if any(not change.in_place for change in changes):
        return Plan(spec, current, fallback, changes, "replace", yielding)
    if not object_of(current.get("State")).get("Running"):
        return Plan(spec, current, fallback, changes, "start", yielding)
    step = "update" if changes else "none" if name_of(current) == spec.name else "rename"
    return Plan(spec, current, fallback, changes, step)


def port_of(found: dict[str, Any]) -> int | None:
    """Return the port that a container is published on, None where it is on none."""
    bindings = object_of(object_of(found.get("HostConfig")).get("PortBindings"))
    ports = [str(object_of(one).get("HostPort")) for entries in bindings.values() for one in list_of(entries)]
    return int(ports[0]) if ports and ports[0].isdigit() else None


def is_unproved(found: dict[str, Any]) -> bool:
    """Tell whether a container was made or started by us and has not been ready since."""
    return _policy_of(found) == UNPROVED_POLICY


def has_made_way(found: dict[str, Any]) -> bool:
    """Tell whether a container was stopped, or is about to be, for another one that has not proved itself since."""
    return _policy_of(found) == MADE_WAY_POLICY


def _policy_of(found: dict[str, Any]) -> str:
    return str(object_of(object_of(found.get("HostConfig")).get("RestartPolicy")).get("Name") or "")


def status_of(found: dict[str, Any] | None) -> str:
    """Return C(absent) or the engine's word: C(running), C(exited), C(created), C(restarting)."""
    return str(object_of(found.get("State")).get("Status")) if found else "absent"


def model_of(found: dict[str, Any]) -> str:
    """Return what the container's label says that it serves."""
    return str(object_of(object_of(found.get("Config")).get("Labels")).get(MODEL) or "")


def ours(engine: Engine, name: str, kind: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the container and its predecessor, each None where there is none."""
    current, fallback = engine.container(name), engine.container(name + PREVIOUS)
    require_ours(current, name, kind)
    require_ours(fallback, name + PREVIOUS, kind)
    return current, fallback


def previous_of(engine: Engine, spec: Spec) -> str | None:
    """Return the name of the predecessor, None where there is none."""
    fallback = ours(engine, spec.name, spec.kind)[1]
    return name_of(fallback) if fallback else None


def other(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return another container of ours, None where there is none; one of somebody else neither makes way nor is started."""
    found = engine.container(name) if name else None
    return found if found and kind_of(found) else None


def _yielding(engine: Engine, spec: Spec) -> dict[str, Any] | None:
    """Return the container that has to be stopped for this one, None where both can run."""
    found = other(engine, spec.instead_of) if spec.instead_of != spec.name else None
    runs = object_of((found or {}).get("State")).get("Running")
    return found if found and runs and is_in_the_way(spec, found) else None


def waiting(engine: Engine, name: str) -> str:
    """Return the name where it is of a container of ours that has made way, else nothing."""
    found = other(engine, name)
    return name if found and has_made_way(found) else ""
