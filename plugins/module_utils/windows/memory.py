# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What OLLAMA_HOST was on Windows before us: a file of the WSL user, so that uninstall can put it back.

C(~/.nemoclaw/windows-ollama.json), mode 0600, written in one step, before Windows is changed. In WSL and not on Windows,
because it belongs to this installation of NemoClaw and goes with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..failure import Failure
from ..host.machine import Account, acting_as, read_file, replace_file
from ..route.record import STATE_DIRECTORY, record_path
from ..untrusted import object_of, parse_json

NAME = "windows-ollama.json"
_SCHEMA = 1


class Memory(NamedTuple):
    """What was there before our first change, and what we wrote last; None is a variable that is not set."""

    previous: str | None
    written: str | None


class Keeper:
    """The file of one user."""

    def __init__(self, account: Account) -> None:
        # Refuses a home that others share, as the route's record does.
        self.path = Path(record_path(account.home)).with_name(NAME)
        self._account = account

    def read(self) -> Memory | None:
        """Return what is remembered, None where nothing is.

        Raises:
            Failure: C(windows_memory_unreadable).

        """
        try:
            with acting_as(self._account):
                text = read_file(self.path).decode("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(str(error)) from error
        try:
            content = object_of(parse_json(text))
        except ValueError as error:
            raise self._unreadable(f"it is not JSON ({error})") from error
        values = (content.get("previous"), content.get("written"))
        if content.get("schema") != _SCHEMA or not all(value is None or isinstance(value, str) for value in values):
            raise self._unreadable("it does not hold what this release writes")
        return Memory(*values)

    def remember(self, previous: str | None, written: str) -> None:
        """Note what is about to be written; what was there before our first change stays noted.

        Raises:
            Failure: C(windows_memory_unwritable), C(windows_memory_unreadable).

        """
        known = self.read()
        content: dict[str, Any] = {
            "schema": _SCHEMA,
            "variable": "OLLAMA_HOST",
            # What somebody set after us is what they want back.
            "previous": known.previous if known and known.written == previous else previous,
            "written": written,
        }
        try:
            with acting_as(self._account):
                folder = self.path.parent
                if folder.name == STATE_DIRECTORY:
                    folder.mkdir(mode=0o700, exist_ok=True)
                replace_file(str(self.path), json.dumps(content, indent=2) + "\n", 0o600)
        except OSError as error:
            raise self._unwritable(error) from error

    def forget(self) -> None:
        """Remove the file; absent is fine.

        Raises:
            Failure: C(windows_memory_unwritable).

        """
        try:
            with acting_as(self._account):
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unreadable(self, why: str) -> Failure:
        return Failure(
            "windows_memory_unreadable",
            f"Read what OLLAMA_HOST was on Windows before this collection set it from {self.path}, and cannot use it: {why}. Nothing "
            "was changed. Look at the file, set the variable on Windows by hand, and remove the file.",
        )

    def _unwritable(self, error: OSError) -> Failure:
        return Failure(
            "windows_memory_unwritable",
            f"Tried to note in {self.path} what OLLAMA_HOST was on Windows, and could not: {error}. Windows was not changed. Check "
            "the room on the file system, and that the user owns the folder.",
        )
