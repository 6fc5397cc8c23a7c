# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A file replaced in one step: whoever reads it sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from pathlib import Path


def replace_file(path: str, content: str | bytes, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Write C(content) beside C(path) and move it there; what was there stays until then.

    Args:
        path: The file; its folder has to be there.
        content: What it holds then; text as UTF-8.
        mode: Its permissions; it never has wider ones on the way.
        uid: Its owner; -1 is the user of this process.
        gid: Its group; -1 is that of this process.

    Raises:
        OSError: Nothing was changed.

    """
    folder, name = os.path.split(path)
    _remove_leftovers(folder, name)
    handle, temporary = _open_beside(folder, name)
    try:
        with os.fdopen(handle, "wb") as file:
            if (uid, gid) != (-1, -1):  # a service may be forbidden to ask for it at all
                os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            # Still open, and so locked: another one that writes the same file would take it for a leftover.
            Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _open_beside(folder: str, name: str) -> tuple[int, str]:
    """Make a file that is locked for as long as it is open, so that others can tell it from what a run has left that was killed."""
    while True:
        handle, path = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)  # somebody was faster than the lock, and took it for a leftover


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove what runs have left beside a file that were killed while they wrote it; a token may be in it."""
    wanted = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}")
    for path in [one for one in Path(folder).iterdir() if wanted.fullmatch(one.name)]:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)
