# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What becomes of the token files of a host: looked at and decided here, done by token_files.py as their owner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..failure import Failure
from ..host.machine import Account, acting_as
from .configuration import ACCOUNT
from .token import (
    NEXT_SUFFIX,
    PREVIOUS_SUFFIX,
    StoredToken,
    changed_since,
    fingerprint,
    gate_file_exists,
    gate_file_is_right,
    group_id,
    new_token,
    permissions_are_right,
    read_token,
    render_gate_file,
    token_path,
)

# From the preparation to the end, a rotation takes the time of a reload and of its proof (15 s by default).
_ROTATION_S = 120
_TO_BE_MADE = "(a new one)"


@dataclass
class Kept:
    """The outcome: which tokens are valid, what changed, and what the user should know.

    C(token) is None where there is none, and in check mode where one would be made. C(gate_changed) says that nginx has to
    read its files, which may be left from an earlier run.
    """

    path: str
    token: str | None = None
    previous: str | None = None
    following: str | None = None
    changed: bool = False
    gate_written: bool = False
    gate_changed: bool = False
    before: str = ""
    after: str = ""
    warnings: list[str] = field(default_factory=list)

    def as_result(self) -> dict[str, Any]:
        """Return the module's result, without the token."""
        return {
            "changed": self.changed or self.gate_written,
            "gate_changed": self.gate_changed,
            "fingerprint": fingerprint(self.token) if self.token else None,
            "previous_fingerprint": fingerprint(self.previous) if self.previous else None,
            "next_fingerprint": fingerprint(self.following) if self.following else None,
            "path": self.path,
            "next_path": self.path + NEXT_SUFFIX,
            "diff": {
                "before": self.before,
                "after": self.after,
                "before_header": self.path,
                "after_header": self.path,
            },
        }


@dataclass(frozen=True)
class Found:
    """What lies in the token's file and beside it; C(useless) says what is wrong with a file that holds no token."""

    current: StoredToken | None
    useless: str | None
    previous: StoredToken | None
    previous_useless: str | None
    following: StoredToken | None
    following_useless: str | None

    @property
    def valid(self) -> list[str]:
        return [stored.value for stored in (self.current, self.previous) if stored]


class Hand(Protocol):
    """What changes the files that decide() found wrong; without one it is only a look."""

    def write(self, kept: Kept, found: Found, state: str, new: str | None, drop: bool) -> None:
        """Bring the token files to the state; a new token, and whether the previous one is dropped."""

    def remove(self, kept: Kept) -> None:
        """Remove the token files."""

    def write_gate(self, path: str, text: str, gid: int) -> None:
        """Replace the auth proxy's file."""

    def remove_gate(self, path: str) -> None:
        """Remove the auth proxy's file."""


def bring(
    account: Account,
    state: str,
    path: str | None = None,
    overlap: int = 3600,
    gate_path: str | None = None,
    gate_group: str = ACCOUNT,
    gate_config: str | None = None,
    gate_loaded: str | None = None,
    is_alone: bool = False,
    hand: Hand | None = None,
) -> Kept:
    """Bring the token files of C(account) to C(state), and the auth proxy's file to the tokens that are valid then.

    The auth proxy learns a token before the token's file holds it, and forgets one after that: wherever this is interrupted, whoever
    reads the file has a token that the auth proxy takes.

    Args:
        account: Whose token it is; its files are touched with its rights.
        state: C(present), C(prepared), C(rotated) or C(absent).
        path: The token file; None is NemoClaw's own in the account's home.
        overlap: Seconds for which the previous token stays valid.
        gate_path: What nginx includes; None for none. Touched with the rights of this process.
        gate_group: Who may read it.
        gate_config: What nginx is started with.
        gate_loaded: Has the sums of both as nginx read them last; a run that was interrupted before that shows by it.
        is_alone: Whether no other rotation can be under way, so that a token that was prepared is one that was left behind.
        hand: What changes the files; without it nothing is changed, as in check mode.

    Raises:
        Failure: With the codes of C(token.py); the token of the file is one that the auth proxy takes then.

    """
    kept = Kept(path or token_path(account.home))
    gate = _Gate(kept, gate_path, _gate_group(state, gate_path, gate_group, hand is None), hand)
    with acting_as(account):
        found = _look(kept, tolerant=state != "present")
    if state == "absent":
        kept.changed = bool(found.valid or found.useless or found.previous_useless or _is_next_there(found))
        if kept.changed and hand:
            with acting_as(account):
                hand.remove(kept)
        gate.remove()
    else:
        if state == "prepared" and not is_alone:
            _refuse_another(kept, found)
        _renew(kept, found, state, overlap, account, gate, hand)
    if gate_path and gate_loaded and changed_since(gate_loaded, [gate_path, gate_config or gate_path]):
        kept.gate_changed = True
    return kept


def _look(kept: Kept, tolerant: bool) -> Found:
    # A file without a token stops the one state that would have to do something with it.
    current = _read(kept.path, tolerant)
    previous = _read(kept.path + PREVIOUS_SUFFIX, tolerant=True)
    following = _read(kept.path + NEXT_SUFFIX, tolerant=True)
    kept.before = _describe(_name(*current), _name(*previous), _name(*following))
    return Found(*current, *previous, *following)


def _is_next_there(found: Found) -> bool:
    return bool(found.following or found.following_useless)


def _refuse_another(kept: Kept, found: Found) -> None:
    if found.following and found.following.age < _ROTATION_S:
        raise Failure(
            "rotation_running",
            f"Another rotation prepared a token in {kept.path}{NEXT_SUFFIX} {found.following.age:.0f} s ago and has not finished: two at "
            f"once would conflict. Nothing was changed. Wait for it to finish; if it was interrupted, run this again in {_ROTATION_S} s, "
            f"or the role proxy, which withdraws that token.",
            path=kept.path + NEXT_SUFFIX,
        )


def _renew(
    kept: Kept, found: Found, state: str, overlap: int, account: Account, gate: _Gate, hand: Hand | None
) -> None:
    current = found.current.value if found.current else None
    if found.current and found.current.mode & 0o077:
        kept.warnings.append(
            f"The token file {kept.path} had mode {found.current.mode:04o}, so others on this host could read it. It is now closed to "
            f"them. If they are not trusted, create a new token with the playbook rotate_token."
        )
    new = _choose(found, state)
    kept.token = current if state == "prepared" else new or current
    if state == "rotated":
        kept.previous = current if overlap > 0 else None
    else:
        kept.previous = found.previous.value if found.previous and found.previous.age < overlap else None
    kept.following = new if state == "prepared" else None
    with acting_as(account):
        closed = permissions_are_right(kept.path) and permissions_are_right(kept.path + PREVIOUS_SUFFIX)
    drop = bool(found.previous or found.previous_useless) and kept.previous is None
    kept.changed = bool(new) or drop or _is_next_there(found) or not closed
    gate.take([kept.following, kept.token, kept.previous, current])
    if kept.changed and hand:
        try:
            with acting_as(account):
                hand.write(kept, found, state, new, drop)
        except Failure:
            with contextlib.suppress(Failure):
                gate.take(found.valid)
            raise
    gate.take([kept.following, kept.token, kept.previous])
    valid = (kept.token, kept.previous, kept.following)
    kept.after = _describe(
        *(_TO_BE_MADE if one and one == new and hand is None else one and fingerprint(one) for one in valid)
    )
    if new and hand is None:
        # Its fingerprint would be that of a token that will never be.
        kept.token, kept.following = (None if one == new else one for one in (kept.token, kept.following))


def _choose(found: Found, state: str) -> str | None:
    """Return the token that has to be written, or None where the one that is there stays."""
    prepared = found.following
    if state == "rotated" and prepared and not prepared.mode & 0o077 and prepared.value not in found.valid:
        return prepared.value
    return new_token() if state != "present" or found.current is None else None


class _Gate:
    """The auth proxy's file; without a path there is none to keep."""

    def __init__(self, kept: Kept, path: str | None, gid: int | None, hand: Hand | None) -> None:
        self._kept = kept
        self._path = path
        self._gid = gid
        self._hand = hand

    def take(self, tokens: Iterable[str | None]) -> None:
        """Have the file name these tokens and no other."""
        text = render_gate_file(dict.fromkeys(token for token in tokens if token))
        if not self._path or gate_file_is_right(self._path, text, self._gid):
            return
        self._kept.gate_changed = self._kept.gate_written = True
        # Only check mode goes on without the group.
        if self._hand and self._gid is not None:
            self._hand.write_gate(self._path, text, self._gid)

    def remove(self) -> None:
        """Remove the file."""
        if self._path and gate_file_exists(self._path):
            self._kept.gate_changed = self._kept.gate_written = True
            if self._hand:
                self._hand.remove_gate(self._path)


def _gate_group(state: str, path: str | None, group: str, check_mode: bool) -> int | None:
    """Return the auth proxy's group before anything is changed; a first run in check mode has none yet."""
    if not path or state == "absent":
        return None
    try:
        return group_id(group, path)
    except Failure:
        if check_mode:
            return None
        raise


def _read(path: str, tolerant: bool) -> tuple[StoredToken | None, str | None]:
    """Return the token, or None and what is wrong with the file where that does not matter."""
    try:
        return read_token(path), None
    except Failure as failure:
        if not tolerant or failure.code != "token_invalid":
            raise
        return None, "(a file without a token)"


def _name(token: StoredToken | None, useless: str | None) -> str | None:
    if token is None:
        return useless
    return fingerprint(token.value) + (f" (mode {token.mode:04o})" if token.mode & 0o077 else "")


def _describe(token: str | None, previous: str | None, following: str | None) -> str:
    lines = [("token", token), ("previous token", previous), ("next token", following)]
    return "".join(f"{name}: {text}\n" for name, text in lines if text)
