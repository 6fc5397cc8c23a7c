# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The route record, the note of a change and the last failure beside it: written or removed, and what became of the record."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, working_on
from ..host.replace import replace_file
from .record import (
    FIELDS,
    MESSAGE_LIMIT,
    SCHEMA,
    TO_FREE,
    Note,
    is_state_directory,
    note_path,
    permissions_are_right,
    read_note,
    read_record,
)

# What it takes to free the GPU of a server. It stands in the record itself, so that a switch that is broken off between the two leaves
# behind what the next run needs.
_SERVER = ("provider", "provider_name", "model", "base_url_host", "container")
_LOOPBACK = re.compile(r"//(localhost|\[::1\])(?=[:/])")


def close_directory(directory: Path) -> None:
    """Make the state directory with mode 0700; one that was there under another name stays as it is."""
    if directory.exists() and not is_state_directory(directory):
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != 0o700:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def render(route: dict[str, Any]) -> str:
    """Return the text of the record: the fields in their order, one a line, with a final newline."""
    names = [*FIELDS, *([TO_FREE] if route.get(TO_FREE) else [])]
    return json.dumps({"schema": SCHEMA, **{field: route.get(field) for field in names}}, indent=2) + "\n"


def write_record(path: str, route: dict[str, Any], uid: int = -1, gid: int = -1) -> None:
    """Replace the record in one step: a reader sees the old route or the new one, never a part.

    Args:
        path: The record. Its folder is touched with the rights that this process has: see working_on().
        route: What is recorded.
        uid: Who owns the file; -1 is the user of this process.
        gid: Its group, likewise.

    Raises:
        Failure: C(route_record_unwritable); the old record is then still in place.

    """
    directory = Path(path).parent
    try:
        close_directory(directory)
        replace_file(path, render(route), 0o600, uid, gid)
    except OSError as error:
        raise Failure(
            "route_record_unwritable",
            f"The route record {path} cannot be written: {error}. The previous record is untouched. "
            "Check that the file system has room and that the user owns the directory.",
        ) from error


def remove_record(path: str) -> None:
    """Remove the record; absent is fine."""
    try:
        Path(path).unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Failure("route_record_unwritable", f"The route record {path} cannot be removed: {error}.") from error


def to_free(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the servers that hold a GPU no longer needed once the route after is recorded in the place of the one before.

    That of the route before, and what this one had still to free. A route to the same address is to the same server, or to one for which
    that one made way already. From one Ollama to another, its role unloads the model itself.
    """
    found = ({name: one.get(name) for name in _SERVER} for one in (before, *before.get(TO_FREE, ())))
    return [one for one in found if _holds(one) and not _is_same(one, after)]


def _holds(server: Mapping[str, Any]) -> bool:
    return bool(server["container"]) or server["provider_name"] == "ollama-local"


def _is_same(server: Mapping[str, Any], route: Mapping[str, Any]) -> bool:
    one, other = (_LOOPBACK.sub("//127.0.0.1", str(each.get("base_url_host"))) for each in (server, route))
    name = "container" if server["container"] else "provider_name"
    return one == other or server[name] == route.get(name)


@dataclass(frozen=True)
class Change:
    """What became of a record: its text before and after."""

    path: str
    before: str
    after: str
    changed: bool

    @property
    def diff(self) -> dict[str, str]:
        """What a module's result has as diff."""
        return {"before": self.before, "after": self.after, "before_header": self.path, "after_header": self.path}


def bring(path: str, owner: Account, wanted: dict[str, Any] | None, check_mode: bool, is_freed: bool = False) -> Change:
    """Make the record what is wanted, None for no record, unless only checking. One that cannot be read is replaced.

    What the route before leaves to be freed stays in it, unless that is done.

    Raises:
        Failure: C(route_record_unwritable).

    """
    with working_on(path, owner) as as_owner:
        try:
            found = read_record(path)
            before = render(found) if found else ""
        except Failure:
            found, before = None, "(a record that cannot be read)\n"
        if wanted and found and not is_freed and (left := to_free(found, wanted)):
            wanted = {**wanted, TO_FREE: left}
        after = render(wanted) if wanted else ""
        changed = after != before if wanted is None else found != wanted or not permissions_are_right(path, owner.uid)
        if changed and not check_mode:
            if wanted is None:
                remove_record(path)
            elif as_owner:
                write_record(path, wanted)
            else:
                write_record(path, wanted, owner.uid, owner.gid)
    return Change(path, before, after, changed)


class Journal:
    """The note beside a record.

    Args:
        record: The path of the record.
        owner: Whose it is.

    """

    def __init__(self, record: str, owner: Account) -> None:
        self._path, self._owner = note_path(record), owner
        self._record = record

    def read(self) -> Note | None:
        """Return the note of an interrupted run, None where there is none that can be read."""
        return read_note(self._record, self._owner)

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
            f"The last failure of this host cannot be saved in {path}: {error}. The route and its record are untouched. "
            "Check that the file system has room and that the user owns the directory.",
        ) from error
