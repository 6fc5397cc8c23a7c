# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The token files of a host written and removed, as kept.py decides."""

from __future__ import annotations

from .kept import Found, Kept
from .token import NEXT_SUFFIX, PREVIOUS_SUFFIX
from .token_files import create_token, remove_file, remove_gate_file, tighten, write_gate_file, write_token


class TokenFiles:
    """The Hand that writes; C(bring) without it is a look."""

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
