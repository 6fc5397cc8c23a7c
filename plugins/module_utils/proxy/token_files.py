# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The token files and the auth proxy's file of tokens, written and removed as kept.py decides."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..failure import Failure
from ..host.replace import replace_file
from .kept import Found, Kept
from .token import GATE_FILE_MODE, NEXT_SUFFIX, PREVIOUS_SUFFIX, gate_unwritable, is_state_folder, read_token


def write_token(path: str, token: str) -> None:
    """Replace the token file, which is what a rotation does.

    Raises:
        Failure: C(token_unwritable); the old file is then still in place.

    """
    with _writing(path):
        own_folder(path)
        replace_file(path, token + "\n", 0o600)


def create_token(path: str, token: str) -> str:
    """Write the first token of the host, and return the one that counts.

    Another process (NemoClaw's own wizard) may make one at the same moment: the first one stays, whoever made it.
    """
    # Where this is interrupted, the next run takes it for a token that was prepared, and removes it.
    candidate = path + NEXT_SUFFIX
    with _writing(path):
        own_folder(path)
        replace_file(candidate, token + "\n", 0o600)
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(candidate, path)
        Path(candidate).unlink(missing_ok=True)
        winner = read_token(path)
    return winner.value if winner else token


def remove_file(path: str) -> None:
    """Remove a file of tokens; absent is fine."""
    with _writing(path):
        Path(path).unlink(missing_ok=True)


def tighten(path: str) -> None:
    """Close the token file and its folder to everybody but the owner."""
    with _writing(path):
        own_folder(path)
        with contextlib.suppress(FileNotFoundError):
            Path(path).chmod(0o600)


def own_folder(path: str) -> None:
    """Make the state folder with mode 0700; one with another name is the user's own business."""
    folder = Path(path).parent
    if not is_state_folder(path):
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(
            "token_unwritable",
            f"The token file {path} cannot be written: {error.strerror or error}. The previous file is untouched. Check that the folder "
            f"exists and belongs to the user whose inference this is, and that the file system has space.",
            path=path,
        ) from error


def write_gate_file(path: str, text: str, gid: int) -> None:
    """Replace the file in one step.

    Raises:
        Failure: C(gate_unwritable); the old file is then still in place.

    """
    try:
        replace_file(path, text, GATE_FILE_MODE, -1, gid)
    except OSError as error:
        raise gate_unwritable(path, error) from error


def remove_gate_file(path: str) -> None:
    """Remove the file; absent is fine."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise gate_unwritable(path, error) from error


class TokenFiles:
    """The Hand of kept.py that writes; C(bring) without it is a look."""

    def write(self, kept: Kept, found: Found, state: str, new: str | None, drop: bool) -> None:
        """Bring the token files to the state."""
        path, previous_path, next_path = kept.path, kept.path + PREVIOUS_SUFFIX, kept.path + NEXT_SUFFIX
        if state == "prepared" and new:
            write_token(next_path, new)
        else:
            # The previous one first: interrupted between the two, both files hold the token that everybody has.
            if drop:
                remove_file(previous_path)
            elif state == "rotated" and kept.previous:
                write_token(previous_path, kept.previous)
            if new and found.current is None and not found.useless:
                kept.token = create_token(path, new)
            elif new:
                write_token(path, new)
            remove_file(next_path)
        tighten(path)
        tighten(previous_path)

    def remove(self, kept: Kept) -> None:
        """Remove the token files."""
        for suffix in (NEXT_SUFFIX, PREVIOUS_SUFFIX, ""):
            remove_file(kept.path + suffix)

    def write_gate(self, path: str, text: str, gid: int) -> None:
        """Replace the auth proxy's file."""
        write_gate_file(path, text, gid)

    def remove_gate(self, path: str) -> None:
        """Remove the auth proxy's file."""
        remove_gate_file(path)
