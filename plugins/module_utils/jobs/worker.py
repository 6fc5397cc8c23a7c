# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The process that does a job. It is a fork of the module, so that secrets travel in memory alone."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from typing import Any, Callable

from ..failure import Ended, Failure
from ..transport.credentials import mask
from .files import Files, Unusable
from .progress import Meter, Position, Report

# Seconds between two writes of the state, unless another phase begins.
_WRITE_S = 0.5


def start(
    files: Files, state: dict[str, Any], work: Callable[[Report], dict[str, Any]], secrets: tuple[str, ...]
) -> None:
    """Fork a worker that belongs to nobody: no terminal, no parent, no open pipe, and the lock of C(files), which it keeps.

    Raises:
        Unusable: There is none: no process, or no room for its state.

    """
    try:
        files.write(_masked(state, secrets))
        sys.stdout.flush()
        child = os.fork()
    except OSError as error:
        raise Unusable(str(error)) from error
    if child:
        if os.waitpid(child, 0)[1]:
            raise Unusable("it could not be detached from the module")
        return
    try:
        os.setsid()
        if os.fork() == 0:
            # sshd and sudo wait until every copy of their pipes is closed.
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            os.chdir("/")
            _do(files, state, work, secrets)
        os._exit(0)
    finally:
        # Nothing of the module's own end (its exit handlers, the removal of its files) may happen twice.
        os._exit(1)


def _do(
    files: Files, state: dict[str, Any], work: Callable[[Report], dict[str, Any]], secrets: tuple[str, ...]
) -> None:
    meter = Meter(state["message"])
    state["worker"] = os.getpid()
    with contextlib.suppress(OSError):
        files.write(_masked(state, secrets))

    def report(position: Position) -> None:
        now = time.monotonic()
        if meter.take(position) or now - state["updated"] >= _WRITE_S:
            state.update(progress=meter.as_result(), updated=now)
            # The work goes on where its progress cannot be told.
            with contextlib.suppress(OSError):
                files.write(_masked(state, secrets))

    try:
        state["end"] = {"result": work(report)}
    except Failure as failure:
        state["end"] = {"failure": failure.as_result()}
    except Ended:  # with no word to leave: the next call begins the work again
        return
    except BaseException:
        state["end"] = {"crash": traceback.format_exc()}
    try:
        files.write(_masked(state, secrets))
    except (TypeError, ValueError):  # the result is no JSON
        state["end"] = {"crash": traceback.format_exc()}
        files.write(_masked(state, secrets))


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a value of JSON without the secrets in its texts."""
    if isinstance(value, str):
        for secret in secrets:
            value = mask(value, secret)
    elif isinstance(value, dict):
        value = {name: _masked(one, secrets) for name, one in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [_masked(one, secrets) for one in value]
    return value
