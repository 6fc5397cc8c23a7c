# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What can be done to Ollama on Windows, each one call of PowerShell."""

from __future__ import annotations

from typing import Any

from ..failure import Failure
from ..fetch.source import Source
from ..host.machine import Machine
from ..transport.credentials import quote
from ..untrusted import list_of, object_of
from . import presence
from .powershell import PowerShell
from .scripts import INSTALL, LOOK, SET_VARIABLE, START, STOP

_WSLPATH_LIMIT_S = 10.0
# What the installer's call takes besides the installer itself: the start of PowerShell, a copy, a checksum.
_INSTALL_AIR_S = 60.0


class Windows:
    """The Windows side of this WSL host, its port of Ollama and the limit of a call."""

    def __init__(self, machine: Machine, port: int, timeout: float) -> None:
        self.port = port
        self._machine = machine
        self._shell = PowerShell(machine)
        self._timeout = timeout

    def look(self) -> presence.Found:
        """Return what is there."""
        return presence.read(self._shell.run("look at Ollama", LOOK, {"port": self.port}, self._timeout))

    def set_variable(self, value: str | None) -> None:
        """Set OLLAMA_HOST of the user, None to remove it.

        Raises:
            Failure: C(windows_variable_not_set), and those of PowerShell.

        """
        answer = self._shell.run("set OLLAMA_HOST", SET_VARIABLE, {"value": value}, self._timeout)
        if (answer.get("after") or None) != value:
            raise Failure(
                "windows_variable_not_set",
                f"Set the user's variable OLLAMA_HOST on Windows to {value!r}, and it is {answer.get('after')!r} afterwards. Something "
                "on Windows sets it back (a policy or a login script): find it, or set the variable there.",
                diagnosis=presence.commands(self.port),
            )

    def stop(self) -> None:
        """Stop the user's tray app, then the daemon.

        Raises:
            Failure: C(windows_ollama_not_stopped), and those of PowerShell.

        """
        answer = self._shell.run("stop Ollama", STOP, {}, self._timeout)
        left = [object_of(one) for one in list_of(answer.get("left"))]
        if left:
            raise Failure(
                "windows_ollama_not_stopped",
                "Tried to stop Ollama on Windows, and after 10 s these still run: "
                + ", ".join(f"{one.get('name')} (process {one.get('pid')})" for one in left)
                + ". Quit Ollama in the notification area of Windows, or end them in the task manager, and run the play again.",
                diagnosis=presence.commands(self.port),
            )

    def start(self, path: str, serve: bool, host: str) -> None:
        """Start the tray app, or the program with C(serve)."""
        self._shell.run("start Ollama", START, {"path": path, "serve": serve, "host": host}, self._timeout)

    def install(self, source: Source, version: str | None, host: str, limit: float) -> None:
        """Run an installer.

        Raises:
            Failure: C(windows_install_failed), C(checksum_mismatch), C(archive_not_found), and those of PowerShell.

        """
        answer = self._shell.run(
            "install Ollama",
            INSTALL,
            {
                "source": self._windows_path(source.path) if source.path else source.url,
                "program": str(source).lower().endswith(".exe"),
                "sha256": source.sha256,
                "version": version,
                "host": host,
                "seconds": int(limit),
            },
            # The installer is fetched first, and its own limit begins when it starts.
            2 * limit + _INSTALL_AIR_S,
        )
        if answer.get("stage") == "checksum":
            raise Failure(
                "checksum_mismatch",
                f"{source} has the SHA-256 {answer.get('found')} on Windows and not {source.sha256}. It was not run. Correct the checksum "
                "if it belongs to another version; else the file was changed on its way, or is not whole.",
                found=answer.get("found"),
            )
        if answer.get("code") != 0:
            raise _not_installed(source, answer, limit)

    def _windows_path(self, path: str) -> str:
        if not self._machine.exists(path):
            raise Failure(
                "archive_not_found",
                f"Looked for the installer {path} in WSL, and it is not there. Put the file there (ansible.builtin.copy), or correct "
                "the url.",
            )
        wslpath = self._machine.find_command("wslpath")
        result = self._machine.run([wslpath, "-w", path], _WSLPATH_LIMIT_S) if wslpath else None
        if result is None or result.code != 0 or not result.output.strip():
            raise Failure(
                "windows_path_unknown",
                f"Asked wslpath how Windows calls {path}, and got no answer. Put the installer on Windows' own drive, for example below "
                "/mnt/c/Users, and check that the program wslpath is there.",
            )
        return result.output.strip()


def _not_installed(source: Source, answer: dict[str, Any], limit: float) -> Failure:
    lines = [line.strip() for line in str(answer.get("log") or "").splitlines() if line.strip()]
    said = quote(" ".join(lines[-3:]), "", 400) or "nothing"
    code = answer.get("code")
    if answer.get("stage") == "fetch":
        shown = str(source).replace("'", "''")
        return Failure(
            "windows_install_failed",
            f"Windows could not get the installer {source}: {said}. Nothing was run. Check the address and Windows' connection to it (web "
            "proxy, air gap), or put the installer on the host and give its path by the option url (ollama_windows_install_url in "
            "the role).",
            last_logs=lines[-20:],
            diagnosis=[f"Invoke-WebRequest -UseBasicParsing -Method Head -Uri '{shown}'"],
        )
    how = f"did not end within {limit:g} s and was stopped" if code is None else f"ended with exit code {code}"
    return Failure(
        "windows_install_failed",
        f"Ran the installer {source} on Windows: it {how}. Its last words: {said}. Run it on Windows by hand to see what it asks "
        "for, or give another one by the option url (ollama_windows_install_url in the role).",
        last_logs=lines[-20:],
        diagnosis=["irm https://ollama.com/install.ps1 | iex"],
    )
