# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Files that others may touch as well: replaced in one step, read without waiting, and never by root in a user's own folder.

Whoever reads a file sees the old content or the new, never a part. What lies in a folder of a user is written and read with that
user's rights: root that looked first and wrote then could be sent anywhere by a link that is put there in between.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .accounts import Account, acting_as

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
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        return file.read(limit)


def replace_file(path: str, text: str, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Write C(text) beside C(path) and move it there; what was there stays until then.

    Args:
        path: The file; its folder has to be there.
        text: Its new content.
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
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
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
