"""What a stage works with: its log, its counts, and commands that are ended with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from . import environment, paths
from .model import Counts, StageFailed

# What people look for first in the output of pytest and of plays.
PYTEST_FAULTS = r"^(?:E  |FAILED |ERROR ).*"
PLAY_FAULTS = r"^fatal: .*(?:\n[ }].*){0,14}"

# The longest take half an hour on two cores that others use as well; what takes this long hangs.
COMMAND_LIMIT = 3600.0

_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()
_stopping = threading.Event()


def stop_all() -> None:
    """End every command that is still running, with its children; called when the user interrupts the tests."""
    _stopping.set()
    with _guard:
        for process in _running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _kill(process: subprocess.Popen[bytes], hanging: threading.Event) -> None:
    hanging.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def exclusive(name: str, folder: Path = paths.LOCKS) -> Iterator[None]:
    """Hold a lock that also keeps a second bin/test in the same checkout out (fcntl locks end with the process)."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Run:
    """One run of one stage."""

    def __init__(self, name: str, log: TextIO, choice: str = "") -> None:
        self.name = name
        self.log = log
        # What the user chose of the stage: a scenario, a target, an expression of pytest; empty for all of it.
        self.choice = choice
        self.counts = Counts()
        # Of its commands and of what they waited for; not of servers and containers.
        self.cpu_seconds = 0.0
        # What the user is shown of a stage that passed, too.
        self.shown: list[str] = []
        # Where in the log (bytes) the checks that failed lie: what is shown on screen.
        self.failures: list[tuple[int, int]] = []

    def position(self) -> int:
        """Return where the log ends now, in bytes."""
        self.log.flush()
        return os.fstat(self.log.fileno()).st_size

    def printed_since(self, start: int) -> str:
        """Return what went into the log after a position."""
        with Path(self.log.name).open("rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", errors="replace")

    def say(self, text: str) -> None:
        """Write a line to the stage's log."""
        self.log.write(text + "\n")
        self.log.flush()

    def execute(
        self,
        argv: Sequence[object],
        cwd: Path = paths.REPO,
        env: Mapping[str, str] | None = None,
        limit: float = COMMAND_LIMIT,
    ) -> int:
        """Run a command, its output into the log, and return its exit status; past `limit` seconds it is ended."""
        words = [str(word) for word in argv]
        self.say(f"\n$ {shlex.join(words)}    (in {os.path.relpath(cwd, paths.REPO)})")
        if _stopping.is_set():
            raise StageFailed("the tests were interrupted")
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**environment.clean(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _guard:
            _running.add(process)
        started = time.monotonic()
        hanging = threading.Event()
        killer = threading.Timer(limit, _kill, (process, hanging))
        killer.start()
        try:
            # Not process.wait(), which does not tell the time on the CPU.
            _pid, ended, usage = os.wait4(process.pid, 0)
            process.returncode = status = os.waitstatus_to_exitcode(ended)
        finally:
            killer.cancel()
            with _guard:
                _running.discard(process)
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        if hanging.is_set():
            raise StageFailed(f"`{words[0]}` did not end within {limit:.0f} s and was stopped")
        self.say(f"[exit {status}, {time.monotonic() - started:.1f} s]")
        return status

    def command(
        self,
        argv: Sequence[object],
        cwd: Path = paths.REPO,
        env: Mapping[str, str] | None = None,
        limit: float = COMMAND_LIMIT,
    ) -> None:
        """Run a command that the stage cannot go on without."""
        status = self.execute(argv, cwd, env, limit)
        if status:
            shown = shlex.join(str(word) for word in argv)
            raise StageFailed(f"exit {status} from `{shown if len(shown) < 120 else shown[:117] + '...'}`")

    def check(
        self, label: str, argv: Sequence[object], cwd: Path = paths.REPO, env: Mapping[str, str] | None = None
    ) -> bool:
        """Run a command that is one test case: count it and go on."""
        start = self.position()
        status = self.execute(argv, cwd, env)
        if status:
            self.failures.append((start, self.position()))
        self.verdict(label, status == 0, f"exit {status}")
        return status == 0

    def highlight(self, pattern: str, start: int = 0) -> None:
        """Name what to show on screen, should the stage fail: what of the log since a position matches."""
        found = re.findall(pattern, self.printed_since(start), re.MULTILINE)
        if found:
            begin = self.position()
            self.say("\n".join(found))
            self.failures.append((begin, self.position()))

    def verdict(self, label: str, good: bool, reason: str = "") -> None:
        """Count one test case of our own."""
        self.say(f"{'passed' if good else 'FAILED'}: {label}{'' if good or not reason else ': ' + reason}")
        if good:
            self.counts.passed += 1
        else:
            self.counts.failed += 1
            self.counts.reasons.append(f"{label}: {reason}" if reason else label)

    def output(self, argv: Sequence[object], cwd: Path = paths.REPO, env: Mapping[str, str] | None = None) -> str:
        """Run a short command and return what it printed; a failing one ends the stage."""
        words = [str(word) for word in argv]
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**environment.clean(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            self.say(f"\n$ {shlex.join(words)}\n{done.stdout}{done.stderr}")
            raise StageFailed(f"exit {done.returncode} from `{shlex.join(words)}`")
        return done.stdout

    def count_junit(self, files: Sequence[Path]) -> None:
        """Count the test cases of pytest's XML reports; a stage without a report has not tested anything."""
        if not files:
            raise StageFailed("the test runner wrote no report")
        for file in files:
            for suite in xml.etree.ElementTree.parse(file).getroot().iter("testsuite"):
                total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
                broken = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                self.counts.add(Counts(total - skipped - broken, broken, skipped))
                self.counts.reasons += [
                    f"{case.get('name')}: {why.get('message', '')}"
                    for case in suite.iter("testcase")
                    for why in case.iter("skipped")
                ]
