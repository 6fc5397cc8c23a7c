# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The daemons on a port: who holds it, as which process, of which unit, with which environment, and whether one is open to the network."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..failure import Failure
from ..host.machine import Machine, find_account
from ..host.sockets import find_listeners
from ..host.systemd import Systemd, UnitState
from .daemon import Address, Daemon, identify


class Origin(NamedTuple):
    """Where a process comes from: its unit (None outside of one), and whether that belongs to a user's own systemd."""

    unit: str | None
    is_users: bool


def origin_of(machine: Machine, pid: int) -> Origin:
    """Return the service that a process runs in, by its control group (cgroup v1 and v2)."""
    for line in (machine.read(f"/proc/{pid}/cgroup") or "").splitlines():
        controllers, path = line.split(":", 2)[1:]
        if controllers not in ("", "name=systemd"):
            continue
        services = [part for part in path.split("/") if part.endswith(".service")]
        # user@1000.service/app.slice/ollama.service is a unit of a user's manager; user@1000.service alone is none.
        is_users = any(part.startswith("user@") for part in services)
        own = [part for part in services if not part.startswith("user@")]
        if own:
            return Origin(own[-1], is_users)
    return Origin(None, False)


def is_contained(machine: Machine, pid: int) -> bool:
    """Tell whether a process has another file system than ours, as one in a container has: what it runs is no file of this host then.

    Their roots are compared. A hardened service has a mount namespace of its own too, and the control groups of a host that is
    itself a container are called like those of one.
    """
    try:
        return not os.path.samestat(machine.path(f"/proc/{pid}/root").stat(), machine.root.stat())
    except OSError:  # ended meanwhile
        return False


def session_of(machine: Machine, pid: int) -> int:
    """Return the session of a process, which systemd opens anew for each service and a terminal for each shell; 0 without one."""
    fields = (machine.read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return int(fields[3]) if len(fields) > 3 else 0


def environment_of(machine: Machine, pid: int) -> dict[str, str] | None:
    """Return what a process was started with, None when it is not ours to see."""
    try:
        content = machine.path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    words = content.decode("utf-8", "replace").split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def owner_of(machine: Machine, pid: int) -> int | None:
    """Return the user id of a process, None where there is no such process (0 is none)."""
    try:
        return machine.path(f"/proc/{pid}").stat().st_uid if pid else None
    except OSError:
        return None


def program_of(machine: Machine, pid: int) -> str | None:
    """Return the file that a process runs, None when it is not ours to see or was replaced by an upgrade."""
    try:
        target = str(machine.path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return None
    return None if target.endswith(" (deleted)") else target


def is_ollama(listener: Mapping[str, Any]) -> bool:
    """Tell whether the holder of a socket is called as Ollama is; a docker-proxy before one is not ours to stop."""
    return bool(re.match(r"ollama", listener["process"] or ""))


UNIT = "ollama.service"


class Holder(NamedTuple):
    """A process that holds the port.

    Attributes:
        pid: The process.
        owner: Name of its user, None for a user id without one.
        origin: The unit that it runs in.
        is_contained: Whether it runs in a container.
        is_exposed: Whether it listens elsewhere than on loopback.
        is_local: Whether it answers on 127.0.0.1, which C([::1]) and other addresses of loopback are not.

    """

    pid: int
    owner: str | None
    origin: Origin
    is_contained: bool
    is_exposed: bool
    is_local: bool = True

    @property
    def is_misplaced(self) -> bool:
        """Whether it is not where it should be: on 127.0.0.1 and nowhere else."""
        return self.is_exposed or not self.is_local


@dataclass
class Found:
    """What there is now."""

    listeners: list[dict[str, Any]]
    holders: list[Holder]  # as far as we may see them, those that are open to the network first
    unit: UnitState | None  # the system's unit that runs Ollama or would; None without one
    running: bool

    @property
    def exposed(self) -> bool:
        """Whether somebody listens elsewhere than on loopback."""
        return bool(self.open_listeners)

    @property
    def open_listeners(self) -> list[dict[str, Any]]:
        """Who listens elsewhere than on loopback."""
        return [one for one in self.listeners if one["scope"] != "loopback"]

    @property
    def is_local(self) -> bool:
        """Whether somebody answers on 127.0.0.1."""
        return any(map(_is_local, self.listeners))

    @property
    def own(self) -> Holder | None:
        """The unit's own daemon, None where it does not run."""
        return next((one for one in self.holders if self.unit and is_of(self.unit, one)), None)

    @property
    def strays(self) -> list[Holder]:
        """Those that are not the unit's own."""
        return [one for one in self.holders if one is not self.own]

    @property
    def open_strays(self) -> list[Holder]:
        """Those of them that are open to the network."""
        return [one for one in self.strays if one.is_exposed]

    @property
    def misplaced_strays(self) -> list[Holder]:
        """Those of them that are open to the network, or not on 127.0.0.1."""
        return [one for one in self.strays if one.is_misplaced]

    @property
    def is_taken(self) -> bool:
        """Whether a daemon that is not the unit's own is on loopback alone: what it serves is left to it."""
        return any(not one.is_misplaced for one in self.strays) or (
            self.is_local and not self.holders and not self.exposed
        )

    @property
    def local(self) -> Holder | None:
        """Who answers on loopback, None where we may not see it."""
        return next((one for one in self.holders if not one.is_misplaced), next(iter(self.holders), None))


def is_of(unit: UnitState, holder: Holder) -> bool:
    """Tell whether a process is what a unit of the system runs; a unit may also run a container, which is another matter."""
    is_within = holder.origin.unit == unit.name and not holder.origin.is_users
    return is_within and (not holder.is_contained or holder.pid == unit.pid)


def look(machine: Machine, port: int, ask: bool = True) -> Found:
    """Find the daemons on the port, their processes and their unit.

    Args:
        machine: The host.
        port: TCP port.
        ask: Whether what listens has to answer as Ollama does.

    Raises:
        Failure: C(not_ollama) when another server holds the port; C(systemd_failed).

    """
    listeners = find_listeners(machine, [port])
    if listeners and ask:
        _identify(listeners, port)
    unit = Systemd(machine).show(UNIT) if Systemd.is_running(machine) else None
    rows = sorted(listeners, key=lambda one: bool(one["scope"] == "loopback"))
    pids = list(dict.fromkeys(one["pid"] for one in rows if one["pid"]))
    if not pids and rows and unit and owner_of(machine, unit.pid) == rows[0]["uid"]:
        # Root in a container may not see who holds a socket; the service's own process with the same owner is the one.
        pids = [unit.pid]
    holders = [_holder(machine, pid, [one for one in rows if one["pid"] in (pid, None)]) for pid in pids]
    for holder in holders:
        if unit and holder.origin.unit not in (None, UNIT) and not holder.origin.is_users:
            own = Systemd(machine).show(str(holder.origin.unit))
            # A unit of another name is Ollama's only where the daemon is its main process: what somebody started by hand over
            # ssh is found in ssh.service, and a container's port in docker.service.
            if own.pid == holder.pid and all(is_ollama(one) for one in rows if one["pid"] == holder.pid):
                unit = own
                break
    return Found(listeners, holders, unit if unit and unit.known else None, bool(listeners))


def _holder(machine: Machine, pid: int, rows: list[dict[str, Any]]) -> Holder:
    own = [one for one in rows if one["pid"] == pid] or rows
    origin = origin_of(machine, pid)
    owner = own[0]["user"]
    if origin.is_users and owner and Systemd.is_running(machine):
        main = Systemd(machine).users_main_pid(str(origin.unit), find_account(owner))
        # The shell of a terminal that is a service of the desktop has a session of its own, and so has what was started there.
        if main and main not in (pid, session_of(machine, pid)):
            origin = Origin(None, False)
    exposed = any(one["scope"] != "loopback" for one in own)
    return Holder(pid, owner, origin, is_contained(machine, pid), exposed, any(map(_is_local, own)))


def _is_local(listener: dict[str, Any]) -> bool:
    """Tell whether a socket answers on 127.0.0.1. One that takes every address of IPv6 takes those of IPv4 as well, as Go opens it."""
    return listener["scope"] == "any" or listener["address"].replace("::ffff:", "") == "127.0.0.1"


def _identify(listeners: list[dict[str, Any]], port: int) -> None:
    """Ask who listens, at an address where it does: one that is bound to a network card does not answer on loopback."""
    first = min(listeners, key=lambda one: ("loopback", "any", "address").index(one["scope"]))
    host = {"loopback": first["address"], "any": "127.0.0.1", "address": first["address"]}[first["scope"]]
    try:
        identify(Daemon(Address(host.replace("::ffff:", ""), port)))
    except Failure as failure:
        held = sorted({f"{one['process']} (process {one['pid']})" for one in listeners if one["process"]})
        more = f" It is held by {' and '.join(held)}; nothing was stopped." if held else ""
        raise Failure(failure.code, failure.message + more, **failure.details) from None


def refuse_what_is_not_ours(found: Found, port: int) -> None:
    """Stop before touching a daemon that another manager would start again, that we could not start again, or that we may not see.

    Raises:
        Failure: C(ollama_exposed), C(root_needed).

    """
    ours = {found.own.pid} if found.own else set()
    others = [one for one in found.open_listeners if one["pid"] not in ours]
    if any(one.origin.is_users or one.is_contained for one in found.open_strays) or not all(
        is_ollama(one) for one in others if one["process"]
    ):
        raise exposed_to(found, port, remedy_for(found, port))
    nameless = [one for one in found.open_strays if one.owner is None]
    if nameless:
        raise exposed_to(
            found,
            port,
            f"The user of process {nameless[0].pid} has no name on this host, so it could not be started again: stop it where it was "
            "started, or set OLLAMA_HOST to 127.0.0.1 there.",
        )
    if found.own and found.own.is_exposed and found.is_taken:
        raise exposed_to(
            found,
            port,
            f"The service {found.own.origin.unit} cannot go to 127.0.0.1, where another Ollama listens on that port already: stop the one "
            "or the other.",
        )
    if any(one["pid"] is None for one in others) and not (found.own and found.own.is_exposed):
        if os.geteuid() == 0:
            raise exposed_to(
                found, port, "Even root does not see here which process that is: stop it where it was started."
            )
        raise Failure(
            "root_needed",
            f"Ollama on port {port} is open to the network and belongs to another user: run the task with become: true.",
            listeners=found.listeners,
        )


def exposed_to(found: Found, port: int, remedy: str) -> Failure:
    named = ", ".join(f"{one['address']} ({named_holder(one)})" for one in found.open_listeners)
    return Failure(
        "ollama_exposed",
        f"Ollama on port {port} is open to the network, without any password: it listens on {named}. {remedy}",
        listeners=found.listeners,
    )


def named_holder(listener: dict[str, Any]) -> str:
    """Return who holds a socket, as far as we may see it."""
    owner = f"user {listener['user'] or listener['uid']}"
    if listener["pid"] is None:
        return f"a process of {owner}"
    return f"{listener['process'] or 'process'} {listener['pid']} of {owner}"


def remedy_for(found: Found, port: int, machine: Machine | None = None) -> str:
    """Return what the user has to do about what we do not touch, or could not bring back."""
    users = next((one for one in found.holders if one.is_exposed and one.origin.is_users), None)
    if users:
        return (
            f"It is a unit of the own systemd of {users.owner or 'a user'}, which is that user's: have Environment=OLLAMA_HOST=127.0.0.1:"
            f"{port} there (systemctl --user edit {users.origin.unit}, then systemctl --user restart {users.origin.unit})."
        )
    contained = next((one for one in found.holders if one.is_exposed and one.is_contained), None)
    if contained:
        return (
            f"It is a container on the host's own network (process {contained.pid}), which only its engine may restart: run it with "
            f"OLLAMA_HOST=127.0.0.1:{port} in its environment, or on a network of its own with its port published on 127.0.0.1 only."
        )
    if any(one["process"] and not is_ollama(one) for one in found.open_listeners):
        return "It is a container's port: publish it on 127.0.0.1 only."
    if machine and found.own and found.unit and found.own.is_exposed:
        got = (environment_of(machine, found.own.pid) or {}).get("OLLAMA_HOST")
        return (
            f"It is the service {found.unit.name}, and its process {found.own.pid} has OLLAMA_HOST={got} although its files say otherwise: "
            f"its ExecStart= command sets it ({', '.join(found.unit.files[:1]) or found.unit.name}). Remove that there."
        )
    return "Something keeps starting it like that: look for another unit, a cron job or a supervisor."
