# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server program that runs from the moment it answers until a block ends."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STOP_LIMIT = 30.0  # seconds


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    health: tuple[int, str],
    limit: float,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Start it, yield once it answers 200 at health (a port of 127.0.0.1 and a path), and end it with the block.

    limit: seconds that it has for that. RuntimeError with the end of its log where it does not.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    try:
        wait_for(process, health, log, limit)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            workers = _children(process.pid)
            process.kill()
            process.wait()
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """Return the processes that a process started and that nobody would end with it."""
    found = [pid]
    for parent in found:
        listed = Path(f"/proc/{parent}/task/{parent}/children")
        found += [int(word) for word in listed.read_text(encoding="ascii").split()] if listed.exists() else []
    return found[1:]


def wait_for(process: subprocess.Popen[bytes], health: tuple[int, str], log: Path, limit: float) -> None:
    """Return once it answers; see running()."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", health[0], timeout=1)
        try:
            connection.request("GET", health[1])
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    raise RuntimeError(f"{process.args!r} did not start (exit status {process.poll()}):\n{tail}")
