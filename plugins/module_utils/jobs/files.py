# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a job leaves on the disk: a lock that its worker holds while it lives, and its state.

The kernel lets go of a lock when its holder is gone, whatever ended it. So a dead worker, a reboot, and another process that
got the worker's number need no guessing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..host.machine import read_file
from ..untrusted import object_of, parse_json

# Written into the state, so that what another release wrote is not misread.
SCHEMA = 1


class Unusable(Exception):
    """The folder of the jobs cannot be written, or no process can be made."""


class Files:
    """The files of one job, all 0600, in a folder with mode 0700 of the user who acts.

    Args:
        folder: Made when the lock is taken, together with its parent.
        name: The files' name without ending.

    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._lock = folder / f"{name}.lock"
        self._state = folder / f"{name}.json"
        self._new = folder / f"{name}.new"

    @property
    def exist(self) -> bool:
        """Whether there is, or may be, a job."""
        return self._lock.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[Lock | None]:
        """Take the lock for the block; None where somebody else has it.

        A process that is forked in the block goes on holding the lock, until it ends.

        Raises:
            Unusable: The folder is not there and cannot be made, or is somebody else's.

        """
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Unusable(str(error)) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.utime(handle)
                yield None
                return
            # Who had it may have removed the file before letting go; then the lock of a file without a name is worth nothing.
            yield Lock(handle, self) if self._is_named(handle) else None
        finally:
            # Not unlocked: that would unlock it for a forked process as well.
            os.close(handle)

    def _is_named(self, handle: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), self._lock.stat())
        return False

    def is_held_by(self, process: int) -> bool:
        """Tell whether a process has the lock's file open. With the lock held, a number that was used again cannot be its holder's."""
        with contextlib.suppress(OSError):
            held = self._lock.stat()
            return any(_is_file(path, held) for path in Path(f"/proc/{process}/fd").iterdir())
        return False

    def read(self) -> dict[str, Any]:
        """Return the state, empty where there is none or it is none of ours."""
        with contextlib.suppress(OSError, ValueError):
            state = object_of(parse_json(read_file(self._state)))
            return state if state.get("schema") == SCHEMA else {}
        return {}

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state. On a full disk it is written over the old one, whose room is there already: the end must be told.

        Raises:
            OSError: Neither worked.

        """
        text = json.dumps({"schema": SCHEMA, **state})
        try:
            self._replace(text)
        except OSError:
            with self._state.open("r+", encoding="utf-8") as file:
                file.write(text)
                file.truncate()

    def _replace(self, text: str) -> None:
        # Not replace_file(): the lock makes us the only writer, so one name is enough, and what a killed worker leaves under it is
        # found again. It need not be on the disk either, since nothing of it is worth anything after a reboot.
        handle = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        self._new.replace(self._state)

    def forget(self) -> None:
        """Remove all of them; only whoever holds the lock may do so."""
        for path in (self._new, self._state, self._lock):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _is_file(path: Path, file: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), file)
    return False


class Lock:
    """The lock, held. C(asked_at) is when somebody last asked for this job before, seconds since 1970."""

    def __init__(self, handle: int, files: Files) -> None:
        self.files = files
        self.asked_at = os.fstat(handle).st_mtime
        os.utime(handle)
