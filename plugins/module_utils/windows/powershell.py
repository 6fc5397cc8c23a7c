# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The way from WSL to PowerShell on Windows, and what can be done there to Ollama, each one call."""

from __future__ import annotations

import configparser
import errno
import re
from typing import Any, Callable

from ..failure import Failure, quote
from ..fetch.download import Source
from ..host.machine import CommandResult, Machine, run_command
from ..host.platform import INTEROP_ENTRIES, read_platform
from ..untrusted import list_of, object_of, parse_json
from . import presence
from .scripts import INSTALL, LOOK, MARK, SET_VARIABLE, START, STOP, encoded, with_parameters

WSL_CONF = "/etc/wsl.conf"
_SOCKETS = "/run/WSL"
_FOLDERS = ("Windows/System32/WindowsPowerShell/v1.0", "WINDOWS/System32/WindowsPowerShell/v1.0")
_NAME = "powershell.exe"


def find_powershell(machine: Machine) -> str:
    """Return the path of powershell.exe as Linux sees it.

    Raises:
        Failure: C(not_wsl), C(wsl_interop_off), C(powershell_missing).

    """
    platform = read_platform(machine)
    if platform.name != "wsl":
        raise Failure(
            "not_wsl",
            f"Asked for Ollama on the Windows side of WSL, but this host is not WSL: {platform.evidence}. Use the provider ollama "
            "here, or run this on a WSL host.",
        )
    root = mount_root(machine)
    folders = [f"{root}{drive}/{folder}" for drive in _drives(machine, root) for folder in _FOLDERS]
    path = machine.find_command(_NAME, folders)
    if path is None:
        raise Failure(
            "powershell_missing",
            f"Looked for {_NAME} on PATH and in {', '.join(folders[:2])}, and found none. Mount the Windows drive in WSL (section "
            f"automount of {WSL_CONF}), or add the folder of {_NAME} to PATH. {WSL_CONF} is read when WSL starts: run 'wsl.exe --shutdown' "
            f"on Windows after a change.",
            diagnosis=[f"ls {root}", f"cat {WSL_CONF}", "mount -t drvfs,9p"],
        )
    return path


def mount_root(machine: Machine) -> str:
    """Return below which folder Windows' drives are mounted, with a slash at its end; C(/mnt/) by default."""
    root = _setting(machine, "automount", "root") or "/mnt/"
    return root.rstrip("/") + "/"


def _drives(machine: Machine, root: str) -> list[str]:
    """Return the drives by their letters, C first."""
    return sorted(
        {"c", *(name for name in machine.names(root) if re.fullmatch("[a-z]", name))}, key=lambda one: one != "c"
    )


def environment(machine: Machine) -> dict[str, str]:
    """Return what a Windows program is started with.

    Over SSH and below systemd nobody sets WSL_INTEROP, which names the socket of the session; the first one, of WSL's own
    init, serves everybody. An OLLAMA_HOST of the Linux side must not travel along by WSLENV.
    """
    environ = {name: value for name, value in machine.environ.items() if name not in ("OLLAMA_HOST", "WSLENV")}
    sockets = [name for name in machine.names(_SOCKETS) if re.fullmatch(r"\d+_interop", name)]
    given = environ.get("WSL_INTEROP")
    if sockets and not (given and machine.exists(given)):
        environ["WSL_INTEROP"] = f"{_SOCKETS}/{min(sockets, key=lambda name: int(name.partition('_')[0]))}"
    return environ


def interop_failure(machine: Machine, path: str, said: str) -> Failure:
    """Return why a Windows program cannot be started, by what the host's files say."""
    remedy = "Run 'wsl.exe --shutdown' on Windows afterwards, and the play again."
    if (_setting(machine, "interop", "enabled") or "true").lower() in ("false", "0", "no"):
        why = f"{WSL_CONF} has enabled = false in its section interop. Set it to true. {remedy}"
    elif not any(machine.exists(entry) for entry in INTEROP_ENTRIES):
        why = (
            f"The kernel's entry {INTEROP_ENTRIES[0]} is gone, which another binfmt service removes sometimes. Restart WSL: run 'wsl.exe "
            "--shutdown' on Windows, and the play again."
        )
    else:
        why = f"The kernel's entry is there, so WSL's own side of it does not work. {remedy}"
    return Failure(
        "wsl_interop_off",
        f"Tried to start {path}, but WSL starts no Windows programs ({said}). {why}",
        diagnosis=[f"cat {INTEROP_ENTRIES[0]}", f"cat {WSL_CONF}", f"ls {_SOCKETS}", "cmd.exe /c ver"],
    )


def _setting(machine: Machine, section: str, key: str) -> str | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(machine.read(WSL_CONF) or "")
        return parser.get(section, key).strip().strip('"')
    except configparser.Error:
        return None


# -EncodedCommand is no script file, so no execution policy forbids it; nothing is read from standard input.
_ARGUMENTS = (
    "-NoLogo",
    "-NoProfile",
    "-NonInteractive",
    "-InputFormat",
    "None",
    "-OutputFormat",
    "Text",
    "-ExecutionPolicy",
    "Bypass",
    "-EncodedCommand",
)
# The script ends itself this many seconds before we stop waiting, since a kill on our side may leave it running on Windows.
_GRACE_S = 5.0
# Windows takes a command line of 32767 characters.
MAX_COMMAND_LINE = 32_000

# What stands in PowerShell's errors in every language: names of types, of error ids and of language modes.
_POLICY = re.compile(
    r"ConstrainedLanguage|NotSupportedInConstrainedLanguage|PSSecurityException|CouldNotAutoloadMatchingModule.*Unauthorized"
    r"|UnauthorizedAccess,Microsoft\.PowerShell"
)
# What WSL itself says, always in English.
_INTEROP = re.compile(
    r"Interoperability is disabled|^<3>|WSL \(\d+[^)]*\) ERROR|UtilConnect|UtilAcceptVsock", re.MULTILINE
)
DIAGNOSIS = (
    "$PSVersionTable; $ExecutionContext.SessionState.LanguageMode",
    "Get-ExecutionPolicy -List",
)

Runner = Callable[..., CommandResult]


class PowerShell:
    """PowerShell on the Windows side of this WSL host."""

    def __init__(self, machine: Machine, runner: Runner = run_command) -> None:
        self._machine = machine
        self._path = find_powershell(machine)
        self._environ = environment(machine)
        self._runner = runner

    def run(self, name: str, script: str, parameters: dict[str, Any], limit: float) -> dict[str, Any]:
        """Return the answer of a script.

        Args:
            name: What it does, for people: C(look at Ollama).
            script: One of those in scripts.py.
            parameters: What it gets, as JSON.
            limit: Seconds.

        Raises:
            Failure: C(wsl_interop_off), C(powershell_timeout), C(powershell_policy), C(powershell_failed).

        """
        text = encoded(with_parameters(script, {**parameters, "limit": max(1, int(limit - _GRACE_S))}))
        if len(text) > MAX_COMMAND_LINE:
            raise Failure(
                "powershell_failed",
                f"The parameters to {name} on Windows are too long for a command line. Shorten the path or the URL among the options.",
            )
        argv = [str(self._machine.path(self._path)), *_ARGUMENTS, text]
        result = self._runner(argv, limit, self._environ)
        answer = parse_answer(result.output)
        if result.code is None and answer is None:
            raise self._not_ended(name, result)
        if answer is None:
            raise self._no_answer(name, result)
        if "error" in answer:
            raise self._error(name, object_of(answer["error"]))
        return answer

    def _not_ended(self, name: str, result: CommandResult) -> Failure:
        problem = result.problem or ""
        if f"[Errno {errno.ENOEXEC}]" in problem:
            return interop_failure(self._machine, self._path, "the kernel does not know how to run it")
        if "could not be started" in problem:
            return Failure("powershell_missing", f"Tried to {name} on Windows: {problem}. Check {self._path}.")
        return Failure(
            "powershell_timeout",
            f"Tried to {name} on Windows: {problem}. Windows may be busy, or a virus scanner delays PowerShell: try the command of "
            f"failure.diagnosis in WSL, and raise the option timeout (ollama_windows_timeout in the role) if it is just slow.",
            diagnosis=[f"time {self._path} -NoProfile -NonInteractive -Command 1"],
        )

    def _no_answer(self, name: str, result: CommandResult) -> Failure:
        said = quote(_words(result.output), "", 300) or "nothing"
        if _INTEROP.search(result.output):
            return interop_failure(self._machine, self._path, said)
        if _POLICY.search(result.output):
            return self._policy(name, said)
        return Failure(
            "powershell_failed",
            f"Tried to {name} on Windows: PowerShell exited with code {result.code} without an answer. Output: {said}. Run the "
            "commands of failure.diagnosis in PowerShell on Windows to see whether it works at all.",
            diagnosis=list(DIAGNOSIS),
        )

    def _error(self, name: str, error: dict[str, Any]) -> Failure:
        said = f"{error.get('type')} ({error.get('id')}): {quote(str(error.get('message')), '', 300)}"
        if _POLICY.search(said):
            return self._policy(name, said)
        return Failure(
            "powershell_failed",
            f"Tried to {name} on Windows, and PowerShell stopped in line {error.get('line')} with {said}. Run the commands of "
            "failure.diagnosis in PowerShell on Windows.",
            diagnosis=list(DIAGNOSIS),
        )

    @staticmethod
    def _policy(name: str, said: str) -> Failure:
        return Failure(
            "powershell_policy",
            f"Tried to {name} on Windows, but a policy of that machine forbids it: {said}. Group policy, AppLocker or WDAC restrict "
            f"PowerShell there, which no option can lift: ask its administrator. The role uses an Ollama started on Windows by hand as is, "
            f"if WSL reaches it; with ollama_side: wsl it uses the one in this Linux.",
            diagnosis=list(DIAGNOSIS),
        )


def parse_answer(output: str) -> dict[str, Any] | None:
    """Return the last answer in what PowerShell wrote, None where there is none that can be read.

    A profile's banner, a byte order mark, CRLF and text in any language or code page may stand around it, and NULs between
    its characters where a console wrote UTF-16.
    """
    for line in reversed(re.split(r"[\r\n]+", output.replace("\0", "").replace("\ufeff", ""))):
        _before, mark, text = line.partition(MARK)
        if mark:
            try:
                found = parse_json(text.strip())
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
    return None


def _words(output: str) -> str:
    """Return the output without what PowerShell wraps its errors in where nobody reads them as text."""
    text = re.sub(r"#< CLIXML|<[^>]*>|_x000[AD]_", " ", output.replace("\0", "").replace("\ufeff", ""))
    return " ".join(text.split())


_WSLPATH_LIMIT_S = 10.0
# What the installer's call takes besides the installer itself: the start of PowerShell, a copy, a checksum.
_INSTALL_AIR_S = 60.0


class Windows:
    """The Windows side of this WSL host, its port of Ollama and the limit of a call."""

    def __init__(self, machine: Machine, port: int, timeout: float, runner: Runner = run_command) -> None:
        self.port = port
        self._machine = machine
        self._shell = PowerShell(machine, runner)
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
                f"Set the user's variable OLLAMA_HOST on Windows to {value!r}, and it is {answer.get('after')!r} afterwards. Something on "
                f"Windows resets it (a policy or a login script): find it, or set the variable there.",
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
                f"if it belongs to another version; otherwise the file was altered in transit or is incomplete.",
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
            "proxy, air gap), or put the installer on the host and set the option url to its path (ollama_windows_install_url in "
            "the role).",
            last_logs=lines[-20:],
            diagnosis=[f"Invoke-WebRequest -UseBasicParsing -Method Head -Uri '{shown}'"],
        )
    how = f"did not end within {limit:g} s and was stopped" if code is None else f"exited with code {code}"
    return Failure(
        "windows_install_failed",
        f"Ran the installer {source} on Windows: it {how}. Its last output: {said}. Run it on Windows by hand to see what it asks for, or "
        f"set another one with the option url (ollama_windows_install_url in the role).",
        last_logs=lines[-20:],
        diagnosis=["irm https://ollama.com/install.ps1 | iex"],
    )
