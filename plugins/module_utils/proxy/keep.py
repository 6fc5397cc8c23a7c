# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The token files of a host kept, rotated and removed as their owner, by what kept.py decides."""

from __future__ import annotations

from ..host.machine import Account
from .configuration import ACCOUNT
from .kept import Found, Kept, bring
from .token import NEXT_SUFFIX, PREVIOUS_SUFFIX
from .token_files import create_token, remove_file, remove_gate_file, tighten, write_gate_file, write_token


def keep_token(
    account: Account,
    state: str,
    path: str | None = None,
    overlap: int = 3600,
    gate_path: str | None = None,
    gate_group: str = ACCOUNT,
    gate_config: str | None = None,
    gate_loaded: str | None = None,
    check_mode: bool = False,
    is_alone: bool = False,
) -> Kept:
    """Bring the token files and the auth proxy's file to C(state), unless only checking. See C(bring)."""
    hand = None if check_mode else _Hand()
    return bring(account, state, path, overlap, gate_path, gate_group, gate_config, gate_loaded, is_alone, hand)


class _Hand:
    """See Hand."""

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
