# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""An Ollama daemon as a process: which unit it belongs to, what it was started with, how to stop and start one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...clock import Deadline
from ...failure import Failure
from ...host.machine import Account, Machine

_POLL_S = 0.1
# Ollama ends within a second of SIGTERM, a little longer with a model in memory.
_STOP_LIMIT_S = 20.0
# What it takes the place of is ended by the new process itself, in whose environment the settings of the old one are: a run that is
# killed in between leaves no host without its daemon. A zombie has ended. The log is the user's own file, opened as the user.
_LAUNCH = """
for one; do kill "$one"; done
for one; do
    while [ -e "/proc/$one" ] && ! grep -q ') Z ' "/proc/$one/stat"; do sleep 0.1; done
done 2>/dev/null
mkdir -p "$HOME/.ollama" && exec "$0" serve >>"$HOME/.ollama/serve.log" 2>&1
"""


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


def stop(pid: int, machine: Machine) -> None:
    """End a process and wait until it is gone.

    Raises:
        Failure: C(root_needed), C(ollama_not_stopped).

    """
    if _signal(pid, signal.SIGTERM):
        _await_end(pid, machine)


def _signal(pid: int, number: int) -> bool:
    """Send a signal (0: none, only look), and tell whether there is such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise Failure(
            "root_needed",
            f"Process {pid} is another user's Ollama, which only root may stop: run the task with become: true.",
        ) from None
    return True


def _await_end(pid: int, machine: Machine) -> None:
    deadline = Deadline(_STOP_LIMIT_S)
    while _is_alive(machine, pid):
        if not deadline.remaining:
            raise Failure(
                "ollama_not_stopped",
                f"Asked Ollama (process {pid}) to end, and it still runs after {_STOP_LIMIT_S:g} s. Look what it does; it was not killed.",
            )
        deadline.sleep(_POLL_S)


def log_of(account: Account, environment: Mapping[str, str]) -> Path:
    """Return where a daemon that start() has started writes to."""
    return Path(environment.get("HOME", account.home), ".ollama", "serve.log")


def start(
    machine: Machine,
    program: str,
    account: Account,
    environment: Mapping[str, str],
    instead_of: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a daemon that lives on after us, as C(account), its output in log_of().

    Args:
        machine: The host.
        program: The file.
        account: Whose process it becomes.
        environment: What it is started with.
        instead_of: Processes of this account that it ends first.

    Raises:
        Failure: C(ollama_not_started), C(root_needed), C(ollama_not_stopped).

    """
    ended = [pid for pid in instead_of if _signal(pid, 0)]
    identity: dict[str, Any] = {}
    if os.geteuid() == 0 and account.uid != 0:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
    try:
        # Not AnsibleModule.run_command: that waits for the end, which is not to come.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            ["/bin/sh", "-c", _LAUNCH, program, *map(str, ended)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"HOME": account.home, "USER": account.name, "LOGNAME": account.name, **environment},
            start_new_session=True,
            **identity,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Failure("ollama_not_started", f"Tried to start {program} serve as {account.name}: {error}.") from error
    try:
        for pid in ended:
            _await_end(pid, machine)
    except Failure:
        process.kill()  # what does not end stays
        raise
    return process


def _is_alive(machine: Machine, pid: int) -> bool:
    status = machine.read(f"/proc/{pid}/stat")
    # A zombie has let go of its sockets; its parent may never look.
    return status is not None and status.rpartition(")")[2].split()[:1] != ["Z"]
