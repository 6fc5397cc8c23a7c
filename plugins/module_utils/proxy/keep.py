# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What becomes of the token files of a host: decided first, then done as their owner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account, acting_as
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import gate_file
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.names import GATE_USER
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.token import (
    PREVIOUS_SUFFIX,
    StoredToken,
    create_token,
    fingerprint,
    new_token,
    permissions_are_right,
    read_token,
    remove_file,
    tighten,
    token_path,
    write_token,
)

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
            "path": self.path,
            "diff": {
                "before": self.before,
                "after": self.after,
                "before_header": self.path,
                "after_header": self.path,
            },
        }


def keep_token(
    account: Account,
    state: str,
    path: str | None = None,
    overlap: int = 3600,
    gate_path: str | None = None,
    gate_group: str = GATE_USER,
    gate_config: str | None = None,
    gate_loaded: str | None = None,
    check_mode: bool = False,
) -> Kept:
    """Bring the token files of C(account) to C(state), and the gate's file to the tokens that are valid then.

    Args:
        account: Whose token it is; its files are touched with its rights.
        state: C(present), C(rotated) or C(absent).
        path: The token file; None is NemoClaw's own in the account's home.
        overlap: Seconds for which the previous token stays valid.
        gate_path: What nginx includes; None for none. Touched with the rights of this process.
        gate_group: Who may read it.
        gate_config: What nginx is started with.
        gate_loaded: What is touched whenever nginx reads both; a run that was broken off before that shows by it.
        check_mode: Change nothing.

    Raises:
        Failure: With the codes of C(token.py) and C(gate_file.py); nothing is half-done then.

    """
    kept = Kept(path or token_path(account.home))
    gate_gid = _gate_group(state, gate_path, gate_group, check_mode)
    with acting_as(account):
        _keep_files(kept, state, overlap, check_mode)
    if gate_path:
        tokens = [token for token in (kept.token or _TO_BE_MADE, kept.previous) if token]
        text = None if state == "absent" else gate_file.render(tokens)
        _keep_gate(kept, gate_path, text, gate_gid, check_mode)
        if gate_loaded and gate_file.changed_since(gate_loaded, [gate_path, gate_config or gate_path]):
            kept.gate_changed = True
    return kept


def _keep_files(kept: Kept, state: str, overlap: int, check_mode: bool) -> None:
    path, previous_path = kept.path, kept.path + PREVIOUS_SUFFIX
    # A file without a token stops the one state that would have to do something with it.
    current, useless = _read(path, tolerant=state != "present")
    previous, previous_useless = _read(previous_path, tolerant=True)
    kept.before = _describe(_name(current, useless), _name(previous, previous_useless))
    if state == "absent":
        kept.changed = bool(current or useless or previous or previous_useless)
        if kept.changed and not check_mode:
            remove_file(previous_path)
            remove_file(path)
        return
    if current and current.mode & 0o077:
        kept.warnings.append(
            f"The token file {path} had mode {current.mode:04o}, so others on this host could read it. It is closed to "
            "them now. Where they are not trusted, make a new token with the playbook rotate_token."
        )
    renew = state == "rotated" or current is None
    if state == "rotated":
        kept.previous = current.value if current and overlap > 0 else None
    else:
        kept.token = current.value if current else None
        kept.previous = previous.value if previous and previous.age < overlap else None
    drop = bool(previous or previous_useless) and kept.previous is None
    kept.changed = renew or drop or not (permissions_are_right(path) and permissions_are_right(previous_path))
    if kept.changed and not check_mode:
        # The previous one first: broken off between the two, both files hold the token that everybody has.
        if drop:
            remove_file(previous_path)
        elif state == "rotated" and kept.previous:
            write_token(previous_path, kept.previous)
        if renew:
            kept.token = _make(path, first=current is None and not useless)
        tighten(path)
        tighten(previous_path)
    made = fingerprint(kept.token) if kept.token else _TO_BE_MADE
    kept.after = _describe(made, fingerprint(kept.previous) if kept.previous else None)


def _make(path: str, first: bool) -> str:
    token = new_token()
    if first:
        return create_token(path, token)
    write_token(path, token)
    return token


def _keep_gate(kept: Kept, path: str, text: str | None, gid: int | None, check_mode: bool) -> None:
    if text is None:
        kept.gate_changed = kept.gate_written = gate_file.exists(path)
        if kept.gate_written and not check_mode:
            gate_file.remove(path)
        return
    kept.gate_changed = kept.gate_written = not gate_file.is_right(path, text, gid)
    # Only check mode goes on without the group.
    if kept.gate_written and not check_mode and gid is not None:
        gate_file.write(path, text, gid)


def _gate_group(state: str, path: str | None, group: str, check_mode: bool) -> int | None:
    """Return the gate's group before anything is changed; a first run in check mode has none yet."""
    if not path or state == "absent":
        return None
    try:
        return gate_file.group_id(group, path)
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


def _describe(token: str | None, previous: str | None) -> str:
    lines = [("token", token), ("previous token", previous)]
    return "".join(f"{name}: {text}\n" for name, text in lines if text)
