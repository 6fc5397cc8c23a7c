# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Run a script of ours in Windows PowerShell 5.1 and return its answer, whatever stands around it."""

from __future__ import annotations

import errno
import re
from typing import Any, Callable

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.commands import CommandResult, run_command
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import object_of, parse_json
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows import interop
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts.frame import (
    MARK,
    encoded,
    with_parameters,
)

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
        self._path = interop.find_powershell(machine)
        self._environ = interop.environment(machine)
        self._runner = runner

    def run(self, name: str, script: str, parameters: dict[str, Any], limit: float) -> dict[str, Any]:
        """Return the answer of a script.

        Args:
            name: What it does, for people: C(look at Ollama).
            script: One of windows/scripts.
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
            return interop.interop_failure(self._machine, self._path, "the kernel does not know how to run it")
        if "could not be started" in problem:
            return Failure("powershell_missing", f"Tried to {name} on Windows: {problem}. Check {self._path}.")
        return Failure(
            "powershell_timeout",
            f"Tried to {name} on Windows: {problem}. Windows may be busy, or a virus scanner holds PowerShell up: try the command of "
            "failure.diagnosis in WSL, and raise the option timeout (ollama_windows_timeout in the role) where it only takes long.",
            diagnosis=[f"time {self._path} -NoProfile -NonInteractive -Command 1"],
        )

    def _no_answer(self, name: str, result: CommandResult) -> Failure:
        said = quote(_words(result.output), "", 300) or "nothing"
        if _INTEROP.search(result.output):
            return interop.interop_failure(self._machine, self._path, said)
        if _POLICY.search(result.output):
            return self._policy(name, said)
        return Failure(
            "powershell_failed",
            f"Tried to {name} on Windows: PowerShell ended with exit code {result.code} without an answer. It said: {said}. Run the "
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
            f"Tried to {name} on Windows, and a policy of that machine forbids it: {said}. Group policy, AppLocker or WDAC restrict "
            "PowerShell there, which no option can lift: ask whoever administers it. One that was started on Windows by hand, and that "
            "WSL reaches, the role uses as it is; the one of this Linux it takes with ollama_side: wsl.",
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
