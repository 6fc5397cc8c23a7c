# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Packages of the distribution: the one way to install one.

Hosts as they are: package lists that are absent or weeks old, a source of somebody else's that cannot be asked, and a lock that
unattended upgrades hold for minutes. Each is waited for or worked around, and named where that does not help.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..clock import Deadline
from ..failure import Failure
from .machine import CommandResult, Machine

# A file of the administrator's stays where a package has one of that name: dpkg asks, and without an answer leaves the package half done.
_KEEP_FILES = ("--force-confdef", "--force-confold")
# Nothing that is only recommended along with it. Between our look at the lock and apt's own somebody may take it again.
_APT_INSTALL = (
    *("-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60"),
    *(word for option in _KEEP_FILES for word in ("-o", f"Dpkg::Options::={option}")),
    "install",
)
_APT_UPDATE = ("-q", "update")
# How the others install without asking.
_INSTALL = {
    "dnf": ("dnf", "-y", "install"),
    "yum": ("yum", "-y", "install"),
    "zypper": ("zypper", "--non-interactive", "install"),
    "pacman": ("pacman", "-S", "--needed", "--noconfirm"),
    "apk": ("apk", "add"),
    "xbps": ("xbps-install", "-y"),
}
# Who ends with 0 where a package is installed, and says so in these words.
_QUERIES = {
    "apt": (("dpkg-query", "-W", "-f", "${Status}"), "install ok installed"),
    "dnf": (("rpm", "-q"), ""),
    "yum": (("rpm", "-q"), ""),
    "zypper": (("rpm", "-q"), ""),
    "pacman": (("pacman", "-Q"), ""),
    "apk": (("apk", "info", "-e"), ""),
    "xbps": (("xbps-query",), ""),
}
_QUERY_LIMIT_S = 30.0
_INSTALL_LIMIT_S = 900.0
# In the order in which apt takes them (apt's apt-pkg/deb/debsystem.cc); fcntl locks, so the kernel names who holds them.
_LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
# A fleet's unattended upgrades may hold the lock for minutes.
LOCK_LIMIT_S = 600.0
_LOOK_S = 1.0
# Where packages put their units.
_UNIT_FOLDERS = ("/usr/lib/systemd/system", "/lib/systemd/system")
_PROGRAM = re.compile(r"^ExecStart=[-@:+!]*(/\S+)", re.MULTILINE)
# struct flock of 64-bit Linux: type, whence, start, length, process.
_FLOCK = "hhqqi4x"
# What no other try and no newer package list can mend.
_NOT_ROOT = ("are you root", "Permission denied")
_INTERRUPTED = "dpkg was interrupted"
_LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock")
# What apt says, and dpkg with the line that has its reason; apt runs it on a terminal, whose lines end with a carriage return.
_SAID = re.compile(r"^(?:[EW]:.*|dpkg: error .*:\s*\n.*|dpkg: error .*)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


class Holder(NamedTuple):
    """Who holds the package manager's lock."""

    pid: int
    program: str
    lock: str

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid})"


class Installed(NamedTuple):
    """What was done: the packages that were installed, and for whom it waited."""

    names: list[str]
    waited_for: str | None
    waited_s: float


def missing_packages(machine: Machine, manager: str, names: Sequence[str]) -> list[str]:
    """Return those that are not installed; all of them where nobody can be asked.

    Raises:
        Failure: C(package_name_invalid).

    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise Failure("package_name_invalid", f"{name!r} is not a package name. Nothing was changed.")
    query, words = _QUERIES.get(manager, ((), ""))
    program = machine.find_command(query[0]) if query else None
    if program is None:
        return list(names)

    def is_there(name: str) -> bool:
        answer = machine.run([program, *query[1:], name], _QUERY_LIMIT_S)
        return answer.code == 0 and words in answer.output

    return [name for name in names if not is_there(name)]


@contextlib.contextmanager
def kept_from_starting(machine: Machine, services: Sequence[str]) -> Iterator[None]:
    """Mask services until the block ends with their packages installed; where they did not come, they are as they were.

    A package manager may fail with the program in place, which would start at the next boot: the service stays masked then.
    """
    systemctl = machine.find_command("systemctl")
    masked = [one for one in services if systemctl and not machine.path(f"/etc/systemd/system/{one}").is_symlink()]
    for one in masked:
        machine.run([str(systemctl), "mask", one], _QUERY_LIMIT_S)
    try:
        yield
    except Failure:
        for one in masked:
            if not _could_start(machine, one):
                machine.run([str(systemctl), "unmask", one], _QUERY_LIMIT_S)
        raise


def _could_start(machine: Machine, service: str) -> bool:
    """Tell whether the unit that a package brought has its program: what a removal has left of one has not."""
    texts = [machine.read(f"{folder}/{service}") or "" for folder in _UNIT_FOLDERS]
    return any(machine.exists(program) for text in texts for program in _PROGRAM.findall(text))


def install(machine: Machine, manager: str | None, names: Sequence[str], why: str) -> Installed:
    """Install packages, all in one go.

    Args:
        machine: The host.
        manager: Of find_package_manager().
        names: Packages, as the manager calls them.
        why: What needs them, as the end of a sentence.

    Raises:
        Failure: C(package_manager_missing), C(package_lock_held), C(root_needed), C(package_not_installed).

    """
    if manager == "apt":
        return _apt_install(machine, names, why)
    if manager not in _INSTALL:
        raise Failure(
            "package_manager_missing",
            f"Looked for a package manager that could install {' '.join(names)}, and found {manager or 'none'}. Install it with the "
            f"distribution's own tools, then run this again.",
        )
    program, *words = _INSTALL[manager]
    path = machine.find_command(program) or program
    answer = machine.run([path, *words, *names], _INSTALL_LIMIT_S)
    if answer.code != 0:
        raise _not_installed(program, names, why, answer, answer.output.splitlines()[-3:])
    return Installed(list(names), None, 0.0)


def _apt_install(machine: Machine, names: Sequence[str], why: str) -> Installed:
    deadline = Deadline(LOCK_LIMIT_S)
    waited_for: str | None = None
    while True:
        waited_for = _wait_for_locks(machine, names, deadline) or waited_for
        waited_s = deadline.elapsed if waited_for else 0.0
        answer = _apt(machine, [*_APT_INSTALL, *names])
        if not answer.code or not _is_locked(answer.output) or not deadline.remaining:
            break
        # Somebody was faster than apt.
        deadline.sleep(_LOOK_S)
    if answer.code not in (0, None) and _INTERRUPTED in answer.output:
        # A run that was killed while packages were unpacked, ours or another's; apt refuses all work until they are configured.
        _run_quietly(machine, "dpkg", [*_KEEP_FILES, "--configure", "-a"])
        answer = _apt(machine, [*_APT_INSTALL, *names])
    if answer.code not in (0, None) and not any(word in answer.output for word in (*_NOT_ROOT, *_LOCKED)):
        # A fresh image comes without package lists ("Unable to locate package"), and old lists name files that the mirror has no
        # more ("404 Not Found"). One source of several that cannot be asked is no reason to stop: the second try tells.
        updated = _apt(machine, _APT_UPDATE)
        again = _apt(machine, [*_APT_INSTALL, *names])
        answer = updated if again.code and updated.code else again
    # apt ends with an error, too, where it is another package that cannot be configured.
    if answer.code != 0 and missing_packages(machine, "apt", names):
        said = [" ".join(reason.split()) for reason in _SAID.findall(answer.output)]
        raise _not_installed("apt-get", names, why, answer, said)
    return Installed(list(names), waited_for, waited_s)


def _is_locked(said: str) -> bool:
    """Tell whether somebody else has the lock. Who is not root cannot take it either, and waits for nobody."""
    return any(word in said for word in _LOCKED) and not any(word in said for word in _NOT_ROOT)


def _not_installed(program: str, names: Sequence[str], why: str, answer: CommandResult, said: list[str]) -> Failure:
    tried = f"Ran {program} to install {' '.join(names)}, {why}"
    if any(word in line for line in said for word in _NOT_ROOT):
        return Failure("root_needed", f"{tried}: {said[0]}. Run the task with become: true.")
    told = " ".join(said)[:400].rstrip(".:") or answer.problem or f"exit code {answer.code}"
    return Failure(
        "package_not_installed",
        f"{tried}: {told}. Check the host's package sources and its connection to them, or install it by hand.",
        package_manager=program,
    )


def _apt(machine: Machine, words: Sequence[str]) -> CommandResult:
    return _run_quietly(machine, "apt-get", words)


def _run_quietly(machine: Machine, program: str, words: Sequence[str]) -> CommandResult:
    path = machine.find_command(program) or f"/usr/bin/{program}"
    quiet = Machine(machine.root, {**machine.environ, "DEBIAN_FRONTEND": "noninteractive"})
    return quiet.run([path, *words], _INSTALL_LIMIT_S)


def _wait_for_locks(machine: Machine, names: Sequence[str], deadline: Deadline) -> str | None:
    """Wait until nobody holds apt's locks; return who did, None where nobody.

    Raises:
        Failure: C(package_lock_held), naming who holds it.

    """
    waited_for = None
    while True:
        holder = find_lock_holder(machine)
        if holder is None:
            return waited_for
        waited_for = str(holder)
        if not deadline.remaining:
            raise Failure(
                "package_lock_held",
                f"Waited {deadline.seconds:g} s to install {' '.join(names)}: {holder} holds {holder.lock}. Nothing was changed. Let it "
                f"finish, or find out why it does not, then run this again.",
                pid=holder.pid,
                program=holder.program,
            )
        deadline.sleep(min(_LOOK_S, deadline.remaining))


def find_lock_holder(machine: Machine) -> Holder | None:
    """Return who holds one of apt's locks, None where nobody does or this user may not ask."""
    for lock in _LOCKS:
        try:
            handle = os.open(machine.path(lock), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # not there, or not root
            continue
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
        finally:
            os.close(handle)
        if kind != fcntl.F_UNLCK:
            program = " ".join((machine.read(f"/proc/{pid}/comm") or "a process").split())
            return Holder(pid, program, lock)
    return None
