# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The daemon on a port: who holds it, as which process, of which unit, and whether it is open to the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import find_listeners
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Address, Daemon
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import identify
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import processes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import Systemd, UnitState

UNIT = "ollama.service"


@dataclass
class Found:
    """What there is now."""

    listeners: list[dict[str, Any]]
    pid: int | None
    origin: processes.Origin
    unit: UnitState | None  # the system's unit that runs Ollama or would; None without one
    running: bool

    @property
    def exposed(self) -> bool:
        """Whether somebody listens elsewhere than on loopback."""
        return any(one["scope"] != "loopback" for one in self.listeners)

    @property
    def is_units(self) -> bool:
        """Whether the daemon that runs is the unit's own."""
        return self.unit is not None and not self.origin.is_users and self.origin.unit == self.unit.name


def look(machine: Machine, port: int) -> Found:
    """Find the daemon on the port, its process and its unit.

    Raises:
        Failure: C(not_ollama) when another server holds the port; C(systemd_failed).

    """
    listeners = find_listeners(machine, [port])
    running = False
    if listeners:
        _identify(listeners, port)
        running = True
    pid = next((one["pid"] for one in listeners if one["pid"]), None)
    unit = Systemd(machine).show(UNIT) if Systemd.is_running(machine) else None
    if pid is None and listeners and unit and processes.owner_of(machine, unit.pid) == listeners[0]["uid"]:
        # Root in a container may not see who holds a socket; the service's own process with the same owner is the one.
        pid = unit.pid
    origin = processes.origin_of(machine, pid) if pid else processes.Origin(None, False)
    if unit and origin.unit not in (None, UNIT) and not origin.is_users:
        own = Systemd(machine).show(str(origin.unit))
        # A unit of another name is Ollama's only where the daemon is its main process: what somebody started by hand over ssh
        # is found in ssh.service, and a container's in docker.service.
        unit = own if own.pid == pid and all(map(processes.is_ollama, listeners)) else unit
    return Found(listeners, pid, origin, unit if unit and unit.known else None, running)


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


def prove(found: Found, port: int) -> None:
    """Let nothing pass that is open to the network.

    Raises:
        Failure: C(ollama_exposed), naming the addresses and the programs.

    """
    if not found.exposed:
        return
    open_ones = [one for one in found.listeners if one["scope"] != "loopback"]
    named = ", ".join(f"{one['address']} ({one['process'] or 'process unknown'}, {one['pid']})" for one in open_ones)
    if found.origin.is_users:
        remedy = (
            f"It is a unit of a user's own systemd: set OLLAMA_HOST there (systemctl --user edit {found.origin.unit})."
        )
    elif any(one["process"] and not processes.is_ollama(one) for one in open_ones):
        remedy = "It is a container's port: publish it on 127.0.0.1 only."
    else:
        remedy = "Something starts it again in that way: look for another unit, a cron job or a supervisor."
    raise Failure(
        "ollama_exposed",
        f"Ollama on port {port} is open to the network, without any password: it listens on {named}. {remedy}",
        listeners=found.listeners,
    )


def refuse_what_is_not_ours(found: Found, port: int) -> None:
    """Stop before touching a daemon that another manager would start again, or that we may not see."""
    if found.origin.is_users or not all(processes.is_ollama(one) for one in found.listeners if one["process"]):
        prove(found, port)
    if found.pid is None:
        raise Failure(
            "root_needed",
            f"Ollama on port {port} is open to the network and belongs to another user: run the task with become: true.",
            listeners=found.listeners,
        )
