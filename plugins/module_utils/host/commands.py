# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Run another program with a limit on time and on output, so that no broken tool can hold a module up."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple, cast

from .accounts import Account

# A GPU row is about 120 bytes and a version line less: whatever says more than this is not answering our question.
MAX_OUTPUT_BYTES = 262_144
# A process that hangs in the kernel (a wedged GPU driver) ignores even SIGKILL: we then leave it behind.
KILL_GRACE_S = 0.5


class CommandResult(NamedTuple):
    """What a command said.

    Attributes:
        code: Exit status, negative for a signal; None when the command did not start or did not end by itself.
        output: Standard output, with standard error in it unless that was asked for apart; undecodable bytes replaced.
        problem: Why C(code) is None, as a sentence without its full stop.
        errors: Standard error, where it was asked for apart.

    """

    code: int | None
    output: str
    problem: str | None = None
    errors: str = ""


def run_command(
    argv: Sequence[str],
    limit_s: float,
    environ: Mapping[str, str],
    run_as: Account | None = None,
    stdin: str | None = None,
    errors_apart: bool = False,
) -> CommandResult:
    """Run C(argv) without a shell or a terminal and return what it said; never raises for what the command does.

    Args:
        argv: The absolute path of the program and its arguments.
        limit_s: Seconds after which the program and its children are killed.
        environ: Its whole environment; C(LC_ALL=C) is added, because we read messages.
        run_as: The account to switch to; None keeps the identity of this process.
        stdin: What it reads, less than a pipe holds (64 KiB); None for nothing.
        errors_apart: Whether standard error is kept out of the output, where only that is data.

    """
    with tempfile.TemporaryFile() as errors:
        result = _run(argv, limit_s, environ, run_as, stdin, errors if errors_apart else None)
        errors.seek(0)
        return result._replace(errors=errors.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace"))


def _run(
    argv: Sequence[str],
    limit_s: float,
    environ: Mapping[str, str],
    run_as: Account | None,
    stdin: str | None,
    errors: IO[bytes] | None,
) -> CommandResult:
    identity: dict[str, Any] = {}
    if run_as is not None:
        identity = {"user": run_as.uid, "group": run_as.gid, "extra_groups": list(run_as.groups)}
    try:
        # AnsibleModule.run_command knows no time limit, and this code runs without an AnsibleModule.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors or subprocess.STDOUT,
            env={**environ, "LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
            **identity,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return CommandResult(None, "", f"{argv[0]} could not be started: {error}")
    if process.stdin is not None:
        # It fits into the pipe whether or not anybody reads it, so this cannot hang.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write((stdin or "").encode())
    deadline = time.monotonic() + limit_s
    output, ended = _read_until_end(cast("IO[bytes]", process.stdout), deadline)
    text = output.decode("utf-8", "replace")
    if ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return CommandResult(process.wait(max(deadline - time.monotonic(), 0)), text)
    _kill(process)
    if len(output) >= MAX_OUTPUT_BYTES:
        return CommandResult(None, text, f"{argv[0]} wrote more than {MAX_OUTPUT_BYTES} bytes and was stopped")
    return CommandResult(None, text, f"{argv[0]} did not end within {limit_s:g} s and was stopped")


def _read_until_end(stream: IO[bytes], deadline: float) -> tuple[bytes, bool]:
    """Return what a process wrote to the pipe, and whether it closed it in time and within MAX_OUTPUT_BYTES."""
    output = bytearray()
    with stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while len(output) < MAX_OUTPUT_BYTES:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                return bytes(output), False
            chunk = os.read(stream.fileno(), 65_536)
            if not chunk:
                return bytes(output), True
            output += chunk
    return bytes(output), False


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_GRACE_S)
