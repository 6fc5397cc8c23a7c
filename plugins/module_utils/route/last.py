# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The last failure of a host, kept beside its route record until a later run ends well: when, code, message; never a secret in it."""

from __future__ import annotations

import json
from pathlib import Path

from ..failure import Failure
from ..host.machine import Account, read_file, replace_file, working_on
from ..untrusted import object_of, parse_json
from .record import close_directory

# Characters of a message that are kept: more than any sentence of ours, and less than the output of a program that a task quotes.
MESSAGE_LIMIT = 2000
FIELDS = ("when", "playbook", "code", "message")


def last_path(record: str) -> str:
    """Return where the last failure lies beside a record: C(local-inference.last.json) beside C(local-inference.json)."""
    path = Path(record)
    return str(path.with_name(f"{path.stem if path.suffix == '.json' else path.name}.last.json"))


def read_last(path: str) -> dict[str, str] | None:
    """Return the last failure; None where there is none, or none that can be read: it is no reason to stop anything."""
    try:
        content = object_of(parse_json(read_file(path, 16 * MESSAGE_LIMIT).decode("utf-8")))
    except (OSError, ValueError):
        return None
    if not all(isinstance(content.get(name), str) for name in FIELDS):
        return None
    return {name: content[name][:MESSAGE_LIMIT] for name in FIELDS}


def keep_last(path: str, owner: Account, failure: dict[str, str] | None, check_mode: bool) -> bool:
    """Keep the failure, None for none any more, unless only checking, and tell whether that is a change.

    Raises:
        Failure: C(last_failure_unwritable).

    """
    try:
        with working_on(path, owner) as as_owner:
            exists = Path(path).is_file()
            if failure is None:
                if exists and not check_mode:
                    Path(path).unlink()
                return exists
            if not check_mode:
                close_directory(Path(path).parent)
                shown = {**failure, "message": failure["message"][:MESSAGE_LIMIT]}
                owned = (-1, -1) if as_owner else (owner.uid, owner.gid)
                replace_file(path, json.dumps(shown, indent=2) + "\n", 0o600, *owned)
            return True
    except OSError as error:
        raise Failure(
            "last_failure_unwritable",
            f"The last failure of this host cannot be kept in {path}: {error}. The route and its record are untouched. "
            "Check that the file system has room and that the user owns the directory.",
        ) from error
