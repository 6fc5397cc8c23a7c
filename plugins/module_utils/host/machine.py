# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The host as everything here sees it: whose it is, programs that run on it, files that others may touch as well.

What lies in a folder of a user is written and read with that
user's rights: root that looked first and wrote then could be sent anywhere by a link that is put there in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import selectors
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from ..failure import Failure


class Account(NamedTuple):
    """A user of this host, with every group that the group database gives it (the primary one included)."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...]


def find_account(name: str | None = None) -> Account:
    """Return the account of C(name), or of the user this process runs as.

    The home comes from the passwd database and never from C($HOME), which sudo and become may leave pointing elsewhere.

    Raises:
        Failure: C(user_unknown), when the passwd database (NSS included) does not know the user.

    """
    wanted = name if name is not None else f"uid {os.geteuid()}"
    try:
        entry = pwd.getpwnam(name) if name is not None else pwd.getpwuid(os.geteuid())
        groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, ValueError, OSError):
        raise Failure(
            "user_unknown",
            f"Looked up the user {wanted!r} in the passwd database of this host and found none. "
            "Create the user, or name an existing one with the option 'user'.",
            user=wanted,
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Touch files as C(account) does, until the block ends; without root, as the user that this process runs as.

    What a user owns, that user can replace by a link: root that writes there would follow it to anywhere. The rights of
    the whole process change, so nothing else may run beside the block.
    """
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def user_name(uid: int) -> str | None:
    """Return the name of C(uid), or None when the passwd database has none (a container's user, for example)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return None


# A GPU row is about 120 bytes and a version line less: whatever says more than this is not answering our question.
MAX_OUTPUT_BYTES = 262_144
# A process that hangs in the kernel (a wedged GPU driver) ignores even SIGKILL: we then leave it behind.
KILL_GRACE_S = 0.5


class CommandResult(NamedTuple):
    """What a command said.

    Attributes:
        code: Exit status, negative for a signal; None when the command did not start or did not end by itself.
        output: Standard output, with standard error in it unless that was asked for apart; undecodable bytes replaced.
        problem: Why C(code) is None, as a sentence without its full stop.
        errors: Standard error, where it was asked for apart.

    """

    code: int | None
    output: str
    problem: str | None = None
    errors: str = ""


def run_command(
    argv: Sequence[str],
    limit_s: float,
    environ: Mapping[str, str],
    run_as: Account | None = None,
    stdin: str | None = None,
    errors_apart: bool = False,
) -> CommandResult:
    """Run C(argv) without a shell or a terminal and return what it said; never raises for what the command does.

    Args:
        argv: The absolute path of the program and its arguments.
        limit_s: Seconds after which the program and its children are killed.
        environ: Its whole environment; C(LC_ALL=C) is added, because we read messages.
        run_as: The account to switch to; None keeps the identity of this process.
        stdin: What it reads, less than a pipe holds (64 KiB); None for nothing.
        errors_apart: Whether standard error is kept out of the output, where only that is data.

    """
    with tempfile.TemporaryFile() as errors:
        result = _run(argv, limit_s, environ, run_as, stdin, errors if errors_apart else None)
        errors.seek(0)
        return result._replace(errors=errors.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace"))


def _run(
    argv: Sequence[str],
    limit_s: float,
    environ: Mapping[str, str],
    run_as: Account | None,
    stdin: str | None,
    errors: IO[bytes] | None,
) -> CommandResult:
    identity: dict[str, Any] = {}
    if run_as is not None:
        identity = {"user": run_as.uid, "group": run_as.gid, "extra_groups": list(run_as.groups)}
    try:
        # AnsibleModule.run_command knows no time limit, and this code runs without an AnsibleModule.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors or subprocess.STDOUT,
            env={**environ, "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            **identity,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return CommandResult(None, "", f"{argv[0]} could not be started: {error}")
    if process.stdin is not None:
        # It fits into the pipe whether or not anybody reads it, so this cannot hang.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write((stdin or "").encode())
    deadline = time.monotonic() + limit_s
    output, ended = _read_until_end(cast("IO[bytes]", process.stdout), deadline)
    text = output.decode("utf-8", "replace")
    if ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return CommandResult(process.wait(max(deadline - time.monotonic(), 0)), text)
    _kill(process)
    if len(output) >= MAX_OUTPUT_BYTES:
        return CommandResult(None, text, f"{argv[0]} wrote more than {MAX_OUTPUT_BYTES} bytes and was stopped")
    return CommandResult(None, text, f"{argv[0]} did not end within {limit_s:g} s and was stopped")


def _read_until_end(stream: IO[bytes], deadline: float) -> tuple[bytes, bool]:
    """Return what a process wrote to the pipe, and whether it closed it in time and within MAX_OUTPUT_BYTES."""
    output = bytearray()
    with stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(output) < MAX_OUTPUT_BYTES:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                return bytes(output), False
            chunk = os.read(stream.fileno(), 65_536)
            if not chunk:
                return bytes(output), True
            output += chunk
    return bytes(output), False


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_GRACE_S)


# Far more than any record, list or configuration that we read has.
READ_LIMIT = 4 * 1024 * 1024


@contextlib.contextmanager
def working_on(path: str, account: Account) -> Iterator[bool]:
    """Work on a file of C(account) until the block ends, and tell whether that is done with the account's rights.

    Root keeps its own only where nobody else can change any part of the path.
    """
    if os.geteuid() == 0 and account.uid != 0 and only_root_can_change(str(Path(path).parent)):
        yield False
        return
    with acting_as(account):
        yield True


def only_root_can_change(folder: str) -> bool:
    """Tell whether a folder and all above it are root's, writable for nobody else, and no links.

    Above it, a folder such as /tmp will do: in one with the sticky bit nobody moves what is root's.
    """
    handle = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = ("", *Path(folder).parts[1:])
        for depth, name in enumerate(names, 1):
            if name:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
                os.close(handle)
                handle = below
            found = os.fstat(handle)
            is_shared = bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
            if found.st_uid != 0 or (is_shared and (depth == len(names) or not found.st_mode & stat.S_ISVTX)):
                return False
    except OSError:  # not there, no folder, or a link
        return False
    finally:
        os.close(handle)
    return Path(folder).is_absolute()


def read_file(path: str | Path, limit: int = READ_LIMIT) -> bytes:
    """Return the first C(limit) bytes of an ordinary file.

    Raises:
        OSError: It cannot be read, or is another kind: a pipe without a writer would be waited for without end.

    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(limit)


# Ansible's non-login shells often come without these, and tools are installed there.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# Enough for every file of /proc and /sys that we read except the socket tables, which state their own limit.
DEFAULT_READ_LIMIT = 65_536


@dataclass(frozen=True)
class Machine:
    """Read-only access to one host.

    Attributes:
        root: Where its file system starts.
        environ: The environment of the process that asks.
        system: C(uname -s).
        architecture: C(uname -m).

    """

    root: Path = Path("/")
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    system: str = field(default_factory=lambda: os.uname().sysname)
    architecture: str = field(default_factory=lambda: os.uname().machine)

    def path(self, absolute: str) -> Path:
        """Return where the C(absolute) path of the host really is."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str, limit: int = DEFAULT_READ_LIMIT) -> str | None:
        """Return the first C(limit) bytes of a file as text without NULs, or None when it cannot be read."""
        try:
            return read_file(self.path(absolute), limit).replace(b"\0", b"").decode("utf-8", "replace")
        except OSError:
            return None

    def exists(self, absolute: str) -> bool:
        """Tell whether a file, folder or device node is there (and visible to this process)."""
        try:
            self.path(absolute).stat()
        except OSError:
            return False
        return True

    def names(self, absolute: str) -> list[str]:
        """Return the sorted names in a folder; empty when it is absent or unreadable."""
        try:
            return sorted(entry.name for entry in self.path(absolute).iterdir())
        except OSError:
            return []

    def find_command(self, name: str, more_directories: Sequence[str] = ()) -> str | None:
        """Return the absolute path of an executable on PATH, in the system's folders or in C(more_directories).

        Root's PATH may be that of the user who became root: of it, only what root alone can change counts. What is found in
        C(more_directories) is to be run as the user that they belong to.
        """
        on_path = [entry for entry in self.environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")]
        if os.geteuid() == 0:
            on_path = [entry for entry in on_path if only_root_can_change(str(self.path(entry).resolve()))]
        return self.find_in(name, [*on_path, *SYSTEM_DIRECTORIES, *more_directories])

    def find_system_command(self, name: str) -> str | None:
        """Return the absolute path of an executable in the system's folders: what root is going to run, whoever looks for it."""
        return self.find_in(name, SYSTEM_DIRECTORIES)

    def find_in(self, name: str, directories: Sequence[str]) -> str | None:
        """Return the absolute path of an executable in the first of the folders that has it."""
        for directory in dict.fromkeys(directories):
            candidate = f"{directory.rstrip('/')}/{name}"
            real = self.path(candidate)
            if os.access(real, os.X_OK) and real.is_file():
                return candidate
        return None

    def run(
        self,
        argv: Sequence[str],
        limit_s: float,
        account: Account | None = None,
        stdin: str | None = None,
        errors_apart: bool = False,
    ) -> CommandResult:
        """Run a command found by find_command, as C(account) where it is given and this process is root.

        Root never executes what lies in a user's home: that would hand root to whoever can write there.
        """
        environ = dict(self.environ)
        if account is not None:
            environ.update(HOME=account.home, USER=account.name, LOGNAME=account.name)
        switch = account if account is not None and os.geteuid() == 0 and account.uid != 0 else None
        return run_command([str(self.path(argv[0])), *argv[1:]], limit_s, environ, switch, stdin, errors_apart)
