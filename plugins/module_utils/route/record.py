# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The route record, what status, switch, report, drift and uninstall read, and the note of a change of the route that is under way.

One JSON object per host, C(~/.nemoclaw/local-inference.json), mode 0600, written atomically; never a secret in it
(decision 0002). The directory is NemoClaw's own, mode 0700 (upstream-facts N37).

The note lies beside the record while sandboxes may get answers of a server that is not recorded yet. A run that was killed leaves it
behind, and by it the next run knows which route is the one that was proved (decision 0022). No secret is in it.

The last failure of the host is kept beside them until a later run ends well: when, code, message; never a secret in it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, read_file, working_on
from ..untrusted import list_of, object_of, parse_json

RECORD_NAME = "local-inference.json"
STATE_DIRECTORY = ".nemoclaw"

# Written into the file, so that a later release can read what this one wrote.
SCHEMA = 1

# How a release of OpenShell routes sandboxes to a model: by the gateway's one inference route (up to 0.0.116), or by a provider that is
# attached to a sandbox (0.1).
ROUTE, ATTACHMENT = "route", "attachment"

# The contract of decision 0002, in the order a person reads it.
FIELDS = (
    "provider",
    "label",
    "provider_name",
    "provider_type",
    "credential_env",
    "base_url_host",
    "base_url_sandbox",
    "model",
    "api",
    "timeout",
    "context_window",
    "container",
    "origin",
    # Where the sandboxes are: absent in older records, and where none is routed.
    "gateway",
    "sandbox",
    # How the gateway's release routes them: C(route), which is what older records mean, or C(attachment).
    "way",
)

# Without these, there is nothing to reach.
_TEXT_FIELDS = (
    "provider",
    "label",
    "provider_name",
    "credential_env",
    "base_url_host",
    "base_url_sandbox",
    "model",
    "api",
)

# What a record may have besides: servers of earlier routes whose GPU is still to be freed (write.py).
TO_FREE = "to_free"

# upstream-facts N37: a state directory here would be shared, or gone after a reboot.
REFUSED_HOMES = ("/", "/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - the names are what is refused


def record_path(home: str) -> str:
    """Return where the record of the user with this home directory lies.

    Raises:
        Failure: C(home_refused) when the home is one that others share.

    """
    # POSIX lets two leading slashes mean something else, so normpath keeps them.
    if os.path.normpath(home).replace("//", "/") in REFUSED_HOMES:
        raise Failure(
            "home_refused",
            f"The home directory of the user is {home}, which other users share, so no state is stored there. "
            "Set nemoclaw_user to the person who owns this host's inference, with a home directory of their own.",
        )
    return str(Path(home) / STATE_DIRECTORY / RECORD_NAME)


def read_record(path: str) -> dict[str, Any] | None:
    """Return the recorded route, or None where nothing was recorded.

    Raises:
        Failure: C(route_record_unreadable) when the file is there but cannot be read as a route.

    """
    remedy = "Check the file, remove it if it is useless, and run the site playbook again."
    try:
        text = read_file(path).decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            "route_record_unreadable", f"The route record {path} cannot be read: {error}. {remedy}"
        ) from error
    try:
        content = parse_json(text)
    except ValueError as error:
        raise Failure("route_record_unreadable", f"The route record {path} is not JSON: {error}. {remedy}") from error
    content = object_of(content)
    if content.get("schema", SCHEMA) != SCHEMA:
        raise Failure(
            "route_record_unreadable",
            f"The route record {path} has schema {content.get('schema')!r}; this release knows {SCHEMA}. "
            "It was written by another release of the collection: use that one, or run the site playbook again.",
        )
    if "schema" not in content or not all(isinstance(content.get(field), str) for field in _TEXT_FIELDS):
        raise Failure("route_record_unreadable", f"The route record {path} holds no route. {remedy}")
    route = {**{field: content.get(field) for field in FIELDS}, "way": content.get("way") or ROUTE}
    left = [one for one in list_of(content.get(TO_FREE)) if isinstance(object_of(one).get("provider"), str)]
    return {**route, TO_FREE: left} if left else route


def permissions_are_right(path: str, uid: int) -> bool:
    """Tell whether the file is the user's own with mode 0600, and so is the state directory with mode 0700."""
    wanted = [(Path(path), 0o600)]
    if is_state_directory(Path(path).parent):
        wanted.append((Path(path).parent, 0o700))
    try:
        found = [(place.stat(), mode) for place, mode in wanted]
    except OSError:
        return False
    return all(status.st_uid == uid and stat.S_IMODE(status.st_mode) == mode for status, mode in found)


def is_state_directory(directory: Path) -> bool:
    """Tell whether the directory is NemoClaw's: a path such as /etc/route.json must not close /etc to everybody."""
    return directory.name == STATE_DIRECTORY


Position = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """Where the sandboxes were routed before the change, None for nowhere, and where it may route them."""

    previous: Position | None
    positions: list[Position] = field(default_factory=list)

    def explains(self, now: Position | None) -> bool:
        """Tell whether the sandboxes are where that change routed them: otherwise somebody else has routed them elsewhere since."""
        return now is not None and _essence(now) in [_essence(one) for one in self.positions]


def note_path(record: str) -> str:
    """Return where the note lies beside a record."""
    return record + ".change"


def read_note(record: str, owner: Account) -> Note | None:
    """Return the note of an interrupted run beside a record, None where there is none that can be read."""
    path = note_path(record)
    with working_on(path, owner):
        try:
            content = object_of(parse_json(read_file(path).decode("utf-8")))
        except (OSError, ValueError):
            return None
    previous, positions = content.get("previous"), content.get("positions")
    if not isinstance(positions, list) or not (previous is None or _is_position(previous)):
        return None
    return Note(previous, [one for one in positions if isinstance(one, dict)])


# Characters of a message that are kept: more than any sentence of ours, and less than the output of a program that a task quotes.
MESSAGE_LIMIT = 2000
_LAST_FIELDS = ("when", "playbook", "code", "message")


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
    if not all(isinstance(content.get(name), str) for name in _LAST_FIELDS):
        return None
    return {name: content[name][:MESSAGE_LIMIT] for name in _LAST_FIELDS}


def _essence(position: Position) -> tuple[Any, ...]:
    return tuple(position.get(name) for name in ("provider", "model", "sandbox"))


def _is_position(value: Any) -> bool:
    """Tell whether it is a route of a gateway, or what is attached to a sandbox."""
    if not isinstance(value, dict) or not isinstance(value.get("provider"), str):
        return False
    is_route = isinstance(value.get("model"), str) and isinstance(value.get("timeout"), int)
    return is_route or isinstance(value.get("sandbox"), str)
