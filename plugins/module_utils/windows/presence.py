# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is on Windows, in types of ours, and what OLLAMA_HOST was there before us (page, WSL with Windows-Host Ollama).

C(~/.nemoclaw/windows-ollama.json), mode 0600, written in one step, before Windows is changed. In WSL and not on Windows,
because it belongs to this installation of NemoClaw and goes with it.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..failure import Failure
from ..host.machine import Account, acting_as, read_file
from ..host.replace import replace_file
from ..route.record import STATE_DIRECTORY, record_path
from ..untrusted import list_of, object_of, parse_json


def commands(port: int) -> list[str]:
    """Return PowerShell commands that look at processes, port, variable, answer and log, and change nothing."""
    return [
        "Get-Process -Name 'ollama','ollama app' -ErrorAction SilentlyContinue | Select-Object 'Id','ProcessName','Path'",
        f"Get-NetTCPConnection -State Listen -LocalPort {port} | Select-Object 'LocalAddress','OwningProcess',"
        "@{ Name = 'Process'; Expression = { (Get-Process -Id $_.OwningProcess).ProcessName } }",
        "[Environment]::GetEnvironmentVariable('OLLAMA_HOST', 'User')",
        f"Invoke-RestMethod http://127.0.0.1:{port}/api/version",
        'Get-Content "$env:LOCALAPPDATA\\Ollama\\server.log" -Tail 40',
    ]


def set_command(value: str | None) -> str:
    """Return the command that sets OLLAMA_HOST of the user, None to remove it."""
    quoted = "$null" if value is None else "'" + value.replace("'", "''") + "'"
    return f"[Environment]::SetEnvironmentVariable('OLLAMA_HOST', {quoted}, 'User')"


def holders(listeners: list[dict[str, Any]]) -> str:
    """Return who listens, for people: C(wslrelay (process 4711) on 127.0.0.1)."""
    return ", ".join(
        f"{one.get('process') or 'an unknown program'} (process {one.get('pid')}) on {one.get('address')}"
        for one in listeners
    )


# How Windows calls the daemon and the app in the notification area; Get-Process leaves ".exe" away.
_NAMES = ("ollama", "ollama app")
LOOPBACK, ALL, OTHER = "loopback", "all", "other"


@dataclass(frozen=True)
class Found:
    r"""Ollama on Windows.

    Attributes:
        user: Whose Windows session this is, C(MACHINE\name).
        path: The verified C(ollama.exe), None where this user has none.
        found_by: C(command), C(process), C(folder) or C(registry).
        app: The tray app, beside it or beside another C(ollama.exe) of this user.
        version: Of the daemon that answers, else of the program.
        processes: Of Ollama: C(name), C(pid), C(path), C(owner), C(mine).
        others: Installations of other users: C(user), C(path).
        listeners: Who listens on the port: C(address), C(port), C(pid), C(process).
        answers: Whether Ollama answers on Windows' own loopback.
        guarded: Whether it refuses a foreign Host header; None where nothing answers.
        models: The names of its models, None where nothing answers.
        variable: OLLAMA_HOST of the user, None where it is not set.
        machine_variable: OLLAMA_HOST of the machine.

    """

    user: str
    path: str | None
    found_by: str | None
    app: str | None
    version: str | None
    processes: list[dict[str, Any]]
    others: list[dict[str, Any]]
    listeners: list[dict[str, Any]]
    answers: bool
    guarded: bool | None
    models: list[str] | None
    variable: str | None
    machine_variable: str | None

    @property
    def installed(self) -> bool:
        """Whether this user has an Ollama."""
        return self.path is not None

    @property
    def daemons(self) -> list[dict[str, Any]]:
        """Return the listeners that are Ollama."""
        pids = {one.get("pid") for one in self.processes}
        return [
            one for one in self.listeners if one.get("pid") in pids or str(one.get("process") or "").lower() in _NAMES
        ]

    @property
    def strangers(self) -> list[dict[str, Any]]:
        """Return the listeners that are not Ollama."""
        return [one for one in self.listeners if one not in self.daemons]

    @property
    def running(self) -> bool:
        """Whether Ollama listens on the port."""
        return bool(self.daemons)

    @property
    def mine(self) -> list[dict[str, Any]]:
        """Return the processes of Ollama that are this user's, and so may be stopped."""
        return [one for one in self.processes if one.get("mine")]

    @property
    def elsewhere(self) -> list[dict[str, Any]]:
        """Return the daemons of this user that run and do not listen on the port: they may listen on another."""
        return [] if self.running else [one for one in self.mine if one.get("name") == "ollama.exe"]

    @property
    def foreign(self) -> list[dict[str, Any]]:
        """Return the listeners that are Ollama and belong to somebody else, or to nobody whom we may ask for."""
        mine = {one.get("pid") for one in self.mine}
        return [one for one in self.daemons if one.get("pid") not in mine]

    @property
    def shadows(self) -> list[dict[str, Any]]:
        """Return the strangers that take what is sent to Windows' loopback, because a daemon on every address gives way to them.

        Docker Desktop's containers come in by that loopback, so they reach the stranger (microsoft/WSL: wslrelay).
        """
        if self.bind != ALL:
            return []
        return [one for one in self.strangers if _kind(str(one.get("address"))) == LOOPBACK]

    @property
    def bind(self) -> str | None:
        """Return where it listens: C(all), C(loopback), C(other), None where it does not (upstream-facts N9)."""
        kinds = {_kind(str(one.get("address"))) for one in self.daemons}
        for kind in (ALL, OTHER, LOOPBACK):
            if kind in kinds:
                return kind
        return None


def read(answer: dict[str, Any]) -> Found:
    """Return what the script LOOK answered."""
    candidates = _objects(answer.get("candidates"))
    best = candidates[0] if candidates else {}
    return Found(
        user=_text(answer.get("user")) or "",
        path=_text(best.get("path")),
        found_by=_text(best.get("how")),
        # The first may be a program alone, say of a package manager, that another installation has the app for.
        app=next((app for app in (_text(one.get("app")) for one in candidates) if app), None),
        version=_text(answer.get("version")) or _text(best.get("version")),
        processes=_objects(answer.get("processes")),
        others=_objects(answer.get("others")),
        listeners=_objects(answer.get("listeners")),
        answers=answer.get("answers") is True,
        guarded=answer["guarded"] if isinstance(answer.get("guarded"), bool) else None,
        models=[str(one) for one in list_of(answer["models"])] if answer.get("models") is not None else None,
        variable=_text(answer.get("variable")),
        machine_variable=_text(answer.get("machine_variable")),
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [object_of(one) for one in list_of(value)]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _kind(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return OTHER
    if found.is_unspecified:
        return ALL
    return LOOPBACK if found.is_loopback else OTHER


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
            f"Read what OLLAMA_HOST was on Windows before this collection set it from {self.path}, and cannot use it: {why}. Nothing was "
            f"changed. Check the file, set the variable on Windows by hand, and remove the file.",
        )

    def _unwritable(self, error: OSError) -> Failure:
        return Failure(
            "windows_memory_unwritable",
            f"Tried to note in {self.path} what OLLAMA_HOST was on Windows, and could not: {error}. Windows was not changed. Check that "
            f"the file system has space and that the user owns the folder.",
        )
