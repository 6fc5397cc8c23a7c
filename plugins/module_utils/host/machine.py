# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The host as the probes see it: files below a root, an environment, commands. Tests give a folder as the root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .accounts import Account
from .commands import CommandResult, run_command
from .files import only_root_can_change, read_file

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
