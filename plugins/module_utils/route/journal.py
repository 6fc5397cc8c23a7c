# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The note of a change of the route that is under way: where the sandboxes were routed before it.

It lies beside the record while sandboxes may get answers of a server that is not recorded yet. A run that was killed leaves it behind, and
by it the next run knows which route is the one that was proved (decision 0022). No secret is in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, read_file, replace_file, working_on
from ..untrusted import object_of, parse_json
from .record import close_directory

_SUFFIX = ".change"
Position = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """Where the sandboxes were routed before the change, None for nowhere, and where it may route them."""

    previous: Position | None
    positions: list[Position] = field(default_factory=list)

    def explains(self, now: Position | None) -> bool:
        """Tell whether the sandboxes are where that change routed them: otherwise somebody else has routed them elsewhere since."""
        return now is not None and (now.get("provider"), now.get("model")) in [
            (one.get("provider"), one.get("model")) for one in self.positions
        ]


class Journal:
    """The note beside a record.

    Args:
        record: The path of the record.
        owner: Whose it is.

    """

    def __init__(self, record: str, owner: Account) -> None:
        self._path, self._owner = record + _SUFFIX, owner

    def read(self) -> Note | None:
        """Return the note of an interrupted run, None where there is none that can be read."""
        with working_on(self._path, self._owner):
            try:
                content = object_of(parse_json(read_file(self._path).decode("utf-8")))
            except (OSError, ValueError):
                return None
        previous, positions = content.get("previous"), content.get("positions")
        if not isinstance(positions, list) or not (previous is None or _is_position(previous)):
            return None
        return Note(previous, [one for one in positions if isinstance(one, dict)])

    def write(self, note: Note) -> None:
        """Replace the note.

        Raises:
            Failure: C(route_record_unwritable); nothing was changed.

        """
        text = json.dumps({"previous": note.previous, "positions": note.positions}, indent=2) + "\n"
        with working_on(self._path, self._owner) as as_owner:
            owner = (-1, -1) if as_owner else (self._owner.uid, self._owner.gid)
            try:
                close_directory(Path(self._path).parent)
                replace_file(self._path, text, 0o600, *owner)
            except OSError as error:
                raise Failure(
                    "route_record_unwritable",
                    f"{self._path}, beside the route record, cannot be written: {error}. Nothing was changed. Check that the file system "
                    "has room and that the user owns the directory.",
                ) from error

    def remove(self) -> None:
        """Remove the note; absent is fine."""
        with working_on(self._path, self._owner):
            try:
                Path(self._path).unlink()
            except FileNotFoundError:
                return
            except OSError as error:
                raise Failure("route_record_unwritable", f"{self._path} cannot be removed: {error}.") from error


def _is_position(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("provider"), str)
        and isinstance(value.get("model"), str)
        and isinstance(value.get("timeout"), int)
    )
