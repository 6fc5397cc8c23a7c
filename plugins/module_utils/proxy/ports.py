# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What makes way for the auth proxy: NemoClaw's own proxy is stopped, an Ollama that is open to the network goes back to loopback.

The Node proxy is a detached process of the user, C(node .../ollama-auth-proxy.js), with its number in
C(~/.nemoclaw/ollama-auth-proxy.pid) (upstream-facts N21). The auth proxy takes its place with the same token file. Nothing else
is ever stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine, acting_as, read_file
from ..host.sockets import exposed, require_loopback
from ..ollama import dropin
from ..ollama.presence import is_ollama
from ..ollama.service import converge
from ..ollama.service_plan import Desired
from ..route.record import STATE_DIRECTORY
from .configuration import Gate
from .gate import find_open, find_own_proxies
from .probe import PID_FILE, is_node_proxy

# NemoClaw waits a second for each (upstream-facts N21); it holds no state, so there is nothing to lose.
_TERM_S = 3.0
_KILL_S = 2.0
_BETWEEN_LOOKS_S = 0.05


def stop(pid: int, account: Account) -> None:
    """End NemoClaw's proxy, after looking once more that it is that, and forget its process id.

    Raises:
        Failure: C(process_not_stopped) when it is still there after SIGKILL.

    """
    for number, seconds in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        if not is_node_proxy(pid, account):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = Deadline(seconds)
        while deadline.remaining and is_node_proxy(pid, account):
            deadline.sleep(_BETWEEN_LOOKS_S)
    else:
        if is_node_proxy(pid, account):
            raise Failure(
                "process_not_stopped",
                f"NemoClaw's proxy, process {pid}, holds the auth proxy's port and did not end after SIGTERM and SIGKILL. "
                "Look why it hangs (a file system that does not answer, for example), and run this again.",
                pid=pid,
            )
    _forget(pid, account)


def _forget(pid: int, account: Account) -> None:
    """Remove NemoClaw's PID file where it names this process."""
    path = Path(account.home) / STATE_DIRECTORY / PID_FILE
    with acting_as(account), contextlib.suppress(OSError, ValueError):
        if int(read_file(path)) == pid:
            path.unlink()


# As the module ollama_service waits by default.
_START_S = 60


def free_ports(gates: list[Gate], account: Account, gate_user: str, check_mode: bool) -> list[int]:
    """Stop NemoClaw's own proxies on the auth proxy's ports and return their process ids.

    Raises:
        Failure: C(port_taken) before anything was stopped, C(process_not_stopped).

    """
    pids = find_own_proxies(gates, account, gate_user)
    if not check_mode:
        for pid in pids:
            stop(pid, account)
    return pids


def bring_to_loopback(
    machine: Machine, account: Account, ports: set[int], check_mode: bool, warnings: list[str] | None = None
) -> list[str]:
    """Bring each Ollama on the ports that is open to the network back to loopback, and return what was done.

    Args:
        machine: The host.
        account: Whose Ollama it is, where it is a process.
        ports: Of the servers.
        check_mode: Only say what would be done.
        warnings: Gets what was open, to whom, and who was connected.

    Raises:
        Failure: C(engine_exposed) for a server that is not ours to move; the codes of C(ollama_service).

    """
    actions: list[str] = []
    for port in sorted(ports):
        found = find_open(machine, {port})
        if not found:
            continue
        # Root in a container may not see who listens; what does is asked then, and answers as Ollama or does not.
        if not all(is_ollama(one) for one in found if one["process"]):
            raise exposed(machine, port, found)
        desired = Desired("started", port, kept_environment(machine), True, _START_S)
        try:
            report, _after = converge(machine, account, desired, check_mode)
        except Failure as failure:
            raise exposed(machine, port, found) if failure.code == "not_ollama" else failure from None
        actions += report.actions
        if warnings is not None:
            warnings += report.warnings
        if not check_mode:
            require_loopback(machine, port)
    return actions


def kept_environment(machine: Machine) -> dict[str, str]:
    """Return the variables that our drop-in has besides the address: whoever set them wants them still.

    Those that were taken over from a daemon that somebody started by hand are left out: they stay by that mark, without which the next
    run of the role ollama would take them away.
    """
    found: dict[str, str] = {}
    for text in dropin.find(machine).values():
        adopted = dropin.adopted(text)
        found.update((name, value) for name, value in dropin.variables(text).items() if name not in adopted)
    found.pop("OLLAMA_HOST", None)
    return found
