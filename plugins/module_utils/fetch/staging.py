# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Put new programs in the place of old ones by renaming, with the old ones kept until the new ones are proved."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..failure import Failure


class Staging:
    """The folder of one installation: C(new) is unpacked in it, C(old) is what was there before.

    All its methods touch files as whoever calls them: use acting_as() around them.

    Args:
        prefix: What is installed goes below it.
        what: Whose installation it is: each has a folder and a lock of its own.
        parts: The files and folders that are put in place, below the prefix and below C(new), in this order.

    """

    def __init__(self, prefix: Path, what: str, parts: Sequence[PurePosixPath]) -> None:
        self._prefix, self._what, self._parts = prefix, what, parts
        # Beside bin/ and lib/, since only within one file system a rename is one step.
        self.folder = prefix / f".nemoclaw-{what.lower()}"
        self.tree = self.folder / "new"
        self._old = self.folder / "old"
        self._lock: int | None = None
        self._moved: list[tuple[Path, Path]] = []  # (where it belongs, where it is kept)
        self._placed: list[Path] = []
        self._is_undoing = False

    def open(self) -> None:
        """Make the folder and keep others out of it.

        What a killed run moved is put back in its place and what it unpacked is removed; what it fetched stays.

        Raises:
            Failure: C(install_unwritable), C(install_running).

        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o755)
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover()
            for folder in (self.tree, self._old):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
        except BlockingIOError:
            raise Failure(
                "install_running",
                f"Another run is installing {self._what} to {self._prefix}. Wait for it to finish, then run this again.",
            ) from None
        except OSError as error:
            raise unwritable(str(self._prefix), error) from error

    def _recover(self) -> None:
        """Put back what a run moved that was killed in the middle of a swap: the next one may end before it has anything better."""
        for number, name in enumerate(self._parts):
            kept, place = self._old / str(number), self._prefix / name
            if kept.exists() or kept.is_symlink():
                if place.exists() or place.is_symlink():
                    _remove(place)
                kept.rename(place)

    def tidy(self) -> bool:
        """Remove what a run has left that was killed, unless one is at it right now; tell whether there was anything."""
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.folder, ignore_errors=True)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def swap(self) -> None:
        """Put the new files in place, in the order of the parts.

        Raises:
            OSError: undo() puts back what was moved.

        """
        for number, name in enumerate(self._parts):
            place, kept, new = self._prefix / name, self._old / str(number), self.tree / name
            place.parent.mkdir(exist_ok=True)
            if place.exists() or place.is_symlink():
                place.rename(kept)
                self._moved.append((place, kept))
            if new.exists():
                new.rename(place)
                self._placed.append(place)

    def undo(self) -> None:
        """Put back what was there before; without a swap it does nothing.

        Raises:
            OSError: What could not be put back outlives close(), and the next run begins with it.

        """
        self._is_undoing = True
        for place in reversed(self._placed):
            _remove(place)
        for place, kept in reversed(self._moved):
            kept.rename(place)
        self._placed, self._moved, self._is_undoing = [], [], False

    @property
    def outcome(self) -> str:
        """Where what was there before is, as a sentence, after an installation that failed."""
        if self._is_undoing:
            return f"The previous installation is kept in {self._old}, and the next run restores it."
        return "The previous installation is in place."

    def close(self) -> None:
        """Remove the folder, less what was fetched in part, which another run goes on from."""
        for folder in (self.tree,) if self._is_undoing else (self.tree, self._old):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def check_writable(place: Path) -> Path:
    """Return the nearest folder that is there, where a folder could be made in it.

    Raises:
        Failure: C(install_unwritable).

    """
    folder = next(one for one in (place, *place.parents) if one.is_dir())
    if not os.access(folder, os.W_OK, effective_ids=True):
        code = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise unwritable(str(place), OSError(code, os.strerror(code)))
    return folder


def unwritable(prefix: str, error: OSError) -> Failure:
    """Return what it means that a folder cannot be written to."""
    remedy = {
        errno.EROFS: "It is on a read-only file system: choose another place with prefix",
        errno.ENOSPC: "The disk is full: free space",
    }.get(error.errno or 0, "Run the task with become: true, or install for the user only (mode: user)")
    return Failure(
        "install_unwritable", f"The folder {prefix} cannot be written: {error.strerror}. {remedy}. Nothing was changed."
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
