# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Who holds a port that the auth proxy needs: the auth proxy itself, NemoClaw's Node proxy, or somebody who is left alone.

The Node proxy is a detached process of the user, C(node .../ollama-auth-proxy.js), with its number in
C(~/.nemoclaw/ollama-auth-proxy.pid) (upstream-facts N21). The auth proxy takes its place with the same token file. Nothing else
is ever stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, acting_as, read_file
from ..route.record import STATE_DIRECTORY

NODE_SCRIPT = "ollama-auth-proxy.js"
PID_FILE = "ollama-auth-proxy.pid"
# NemoClaw waits a second for each (upstream-facts N21); it holds no state, so there is nothing to lose.
_TERM_S = 3.0
_KILL_S = 2.0
_BETWEEN_LOOKS_S = 0.05


def is_node_proxy(pid: int | None, account: Account, proc: Path = Path("/proc")) -> bool:
    """Tell whether the process is NemoClaw's proxy, run by C(account): program, argument and owner all say so."""
    if pid is None:
        return False
    try:
        arguments = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
        owner = (proc / str(pid)).stat().st_uid
    except OSError:
        return False
    names = [Path(os.fsdecode(argument)).name for argument in arguments]
    return owner == account.uid and names[0] in ("node", "nodejs") and NODE_SCRIPT in names[1:]


def sort_out(listeners: list[dict[str, Any]], gate_user: str, account: Account) -> list[int]:
    """Return the process ids of NemoClaw's proxies among the listeners on the auth proxy's ports.

    Args:
        listeners: Of C(find_listeners), seen by root.
        gate_user: The account that our own auth proxy runs as; its listeners are fine.
        account: Whose NemoClaw it would be.

    Raises:
        Failure: C(port_taken), naming whoever else holds a port.

    """
    proxies = set()
    known = {(one["port"], one["address"]) for one in listeners if one["pid"]}
    for one in listeners:
        if one["user"] == gate_user or (one["pid"] is None and (one["port"], one["address"]) in known):
            continue
        if not is_node_proxy(one["pid"], account):
            process = (
                f"{one['process']} (process {one['pid']})" if one["pid"] else "a process that this user may not see"
            )
            raise Failure(
                "port_taken",
                f"The auth proxy needs the port {one['port']}, but {process} of the user {one['user'] or one['uid']} listens on "
                f"{one['address']}. It was left alone. Stop it, or give the auth proxy another port "
                "(nemoclaw_ollama_proxy_port, or the port in proxy_backends).",
                **{key: one[key] for key in ("port", "address", "user", "pid", "process")},
            )
        proxies.add(int(one["pid"]))
    return sorted(proxies)


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
