# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the controller remembers of a rollout, in one file: who works on it, its waves, and what became of each host.

The file is the lock as well. It names the process that works on the fleet, and a process that has ended holds nothing: neither SIGKILL nor
a reboot of the controller leaves anything to clear away.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import secrets
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..module_utils.failure import Failure

VERSION = 1
# What tells who works on a rollout.
_BY = frozenset(("user", "host", "pid", "boot", "process_started", "since"))


@dataclass
class State:
    """A rollout as it is kept."""

    id: str
    started: str
    waves: list[list[str]]
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    by: dict[str, Any] | None = None
    stopped: str = ""
    finished: str = ""


def now() -> str:
    """Return the time as it is written."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def default_path(sources: Sequence[str], environment: Mapping[str, str]) -> Path:
    """Return the file of the rollouts of one inventory."""
    home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    folder = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state")
    # A list of hosts in place of a file has a comma.
    files = [source if "," in source else str(Path(source).absolute()) for source in sources]
    mark = hashlib.sha256("\n".join(files).encode()).hexdigest()[:8]
    name = Path(files[0]).name if files and "," not in files[0] else "hosts"
    return folder / "nemoclaw" / f"rollout-{name}-{mark}.json"


def myself(pid: int) -> dict[str, Any]:
    """Return who works on it: the process of ansible-playbook, in a way that no other one is taken for it."""
    return {
        "user": _user(),
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid_namespace": _pid_namespace(),
        "pid": pid,
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "process_started": _process_start(pid),
        "since": now(),
    }


def is_alive(by: Mapping[str, Any]) -> bool:
    """Tell whether that process still runs. On another machine, or in another container, nobody can tell, so there it does."""
    # Many laptops have one name. A file of an earlier release says the name alone.
    if (by["host"], by.get("machine", _machine())) != (socket.gethostname(), _machine()):
        return True
    if by["boot"] != _read("/proc/sys/kernel/random/boot_id"):
        return False
    if by.get("pid_namespace", _pid_namespace()) != _pid_namespace():
        return True
    try:
        os.kill(by["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is another user's, and there.
    return bool(by["process_started"] == _process_start(by["pid"]))


def new(waves: list[list[str]]) -> State:
    """Return a rollout that nobody works on yet."""
    return State(id=secrets.token_hex(4), started=now(), waves=waves)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time read and write the file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _no_access(path, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def load(path: Path) -> State | None:
    """Return what is remembered; nothing where there was no rollout yet."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("version") != VERSION:
            raise ValueError("another version of this collection wrote it")
        state = State(**content)
        if not _is_whole(state):
            raise ValueError("it lacks what a rollout has")
        return state
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _no_access(path, error) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failure(
            "rollout_state_unreadable",
            f"The state of the rollout in {path} cannot be read: {error}. Nothing was changed. Remove the file to begin a new rollout: "
            "hosts that are as they have to be are not changed again.",
        ) from None


def _is_whole(state: State) -> bool:
    """Tell whether the parts that others go by have their shape: somebody may have edited the file."""
    return (
        isinstance(state.waves, list)
        and all(isinstance(wave, list) and wave for wave in state.waves)
        and isinstance(state.hosts, dict)
        and all(isinstance(one, dict) and {"state", "at"} <= one.keys() for one in state.hosts.values())
        and (state.by is None or (isinstance(state.by, dict) and state.by.keys() >= _BY))
    )


def save(path: Path, state: State) -> None:
    """Replace the file at once, so that a controller that dies leaves the one before it or this one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"version": VERSION, **asdict(state)}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _no_access(path, error) from None


def refuse_second(by: Mapping[str, Any], path: Path) -> Failure:
    """Return why a rollout does not begin while another one runs."""
    return Failure(
        "rollout_running",
        f"A rollout of this inventory runs already: {by['user']} started it on {by['host']} at {by['since']}, process {by['pid']}. Nothing "
        f"was changed. Wait for its end. If that controller is gone, take it over with -e rollout_take_over=true ({path}).",
        by=dict(by),
    )


def refuse_claimed(claims: Mapping[str, Mapping[str, Any]]) -> Failure:
    """Return why a rollout does not begin while others, of other files, change some of its hosts.

    Args:
        claims: Who has claimed it, for each such host.

    """
    first = next(iter(claims))
    by = claims[first]
    number = f"{len(claims)} of these hosts" if len(claims) > 1 else "one of these hosts"
    return Failure(
        "rollout_running",
        f"A rollout of {number} runs already ({first}): {by['user']} started it on {by['host']} at {by['since']}, process {by['pid']}. "
        "Nothing was changed. Wait for its end. If that controller is gone, take it over with -e rollout_take_over=true.",
        by=dict(by),
        hosts=list(claims),
    )


def _no_access(path: Path, error: OSError) -> Failure:
    return Failure(
        "rollout_state_unreadable",
        f"The state of the rollout in {path} cannot be read and written: {error.strerror}. Nothing more was changed. Make room, give this "
        "user the right to it, or name another file with rollout_state_path.",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container whose user has no name.
        return str(os.getuid())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""  # macOS: the process alone tells.


def _machine() -> str:
    """Return what tells this machine from others of its name: not its ID itself, which is for nobody else to know (machine-id(5))."""
    found = _read("/etc/machine-id") or _hardware_address()
    return hashlib.sha256(f"nemoclaw rollout {found}".encode()).hexdigest()[:16]


def _hardware_address() -> str:
    number = uuid.getnode()
    # Without an address of its own, Python makes one up for each process (RFC 9562, 6.10).
    return "" if number >> 40 & 1 else f"{number:x}"


def _pid_namespace() -> str:
    """Return what process numbers hold in: a container has its own (pid_namespaces(7))."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """Return when a process began, in ticks since the boot; the 22nd field, counted behind the name, which may hold anything (proc(5))."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
