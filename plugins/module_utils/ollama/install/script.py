# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Ollama's own installer: fetched to a private file and proved before it runs, and what it replaces is kept until it is done."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from ...failure import Failure
from ...fetch.source import Source
from ...host.machine import SYSTEM_DIRECTORIES, Machine
from . import upgrade

# Its curl shows a bar that moves at every 0.1 %; a package manager that it may call for a GPU's driver is silent for long.
_SILENCE_S = 900.0
_POLL_S = 0.5
_TAIL = 4000


def run(machine: Machine, script: IO[bytes], source: Source, version: str, silence: float = _SILENCE_S) -> str:
    """Run the script with C(sh) and return the command that was run.

    Args:
        machine: The host; the script gets its environment, with the system's folders alone on PATH.
        script: The script, at its start, its checksum proved where one was given.
        source: Where it came from.
        version: What C(OLLAMA_VERSION) tells it.
        silence: Seconds without a word after which it is stopped.

    Raises:
        Failure: C(script_failed).

    """
    with tempfile.TemporaryDirectory(prefix="nemoclaw-ollama-") as private, tempfile.TemporaryFile() as log:
        path = Path(private, "install.sh")
        path.write_bytes(script.read())
        # It installs to the first of /usr/local/bin, /usr/bin and /bin that is on PATH.
        environ = {**machine.environ, "OLLAMA_VERSION": version, "PATH": ":".join(SYSTEM_DIRECTORIES)}
        # Not AnsibleModule.run_command: that knows no limit on silence.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            ["/bin/sh", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd="/",
            start_new_session=True,
        )
        try:
            code = _wait(process, log, silence)
        except BaseException:  # Ctrl-C, which the script's own session does not get
            _kill(process)
            raise
        if code != 0:
            how = f"was silent for {silence:g} s and was stopped" if code is None else f"ended with exit code {code}"
            said = _tail(log)
            raise Failure(
                "script_failed",
                f"Ran the script {source} with OLLAMA_VERSION={version}: it {how}. Its last words: {' '.join(said[-3:])[:400] or 'none'}. "
                "What was there before is back in its place.",
                last_logs=said,
            )
    return f"OLLAMA_VERSION={version} sh install.sh"


def _wait(process: subprocess.Popen[bytes], log: IO[bytes], silence: float) -> int | None:
    """Return the exit code, None when it had to be stopped."""
    size, moved = 0, time.monotonic()
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            now = os.fstat(log.fileno()).st_size
            if now != size:
                size, moved = now, time.monotonic()
            if time.monotonic() - moved > silence:
                _kill(process)
                return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the script with everything that it has started."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: IO[bytes]) -> list[str]:
    log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
    lines = log.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return [line.strip()[:300] for line in lines if line.strip()][-20:]


class Kept:
    """What the script is about to replace: it removes the libraries first, and fetches the new ones afterwards."""

    def __init__(self, prefix: Path, unit: Path) -> None:
        self._prefix = prefix
        self._unit = unit
        self._text = unit.read_bytes() if unit.is_file() else None
        self._folder = Path(tempfile.mkdtemp(prefix=".nemoclaw-ollama-", dir=prefix))
        upgrade.copy(prefix, self._folder)

    def restore(self) -> None:
        """Put back what was there before the script ran."""
        upgrade.put_back(self._prefix, self._folder)
        self.restore_unit(remove=True)

    def restore_unit(self, remove: bool = False) -> bool:
        """Put the administrator's unit back where the script wrote over it, and tell whether that was needed."""
        now = self._unit.read_bytes() if self._unit.is_file() else None
        if now == self._text or (self._text is None and not remove):
            return False
        if self._text is None:
            self._unit.unlink()
        else:
            self._unit.write_bytes(self._text)
        return True

    def forget(self) -> None:
        """Let go of what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)
