# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break work off at each step that changes something, and see what the next two runs make of what is left.

The work runs in a process of its own, under an audit hook of Python: each event with which it is about to change a file, start a program,
end a process or send a request counts as a step. The product knows nothing of it.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, NoReturn, Protocol

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Ended

_CALLS = ("mkdir", "rename", "remove", "rmdir", "link", "symlink", "chmod", "chown", "truncate")
_FILES = {"open", *(f"os.{name}" for name in _CALLS)}
_FELL = 9
# What each of them does at a step. A disk that is full, or is read alone, stays so until the work ends.
KILL, INTERRUPT, END, FULL, READ_ONLY = "SIGKILL", "SIGINT", "SIGTERM", "disk full", "read-only file system"
_LASTING = {FULL: errno.ENOSPC, READ_ONLY: errno.EROFS}
# On a full disk there is no room for a name more, and what is removed makes some.
_ROOMY = {"os.remove", "os.rmdir", "os.chmod", "os.chown"}


class Subject(Protocol):
    """What is broken off: a host of its own for each step."""

    folder: Path

    def run(self) -> bool:
        """Do the work and tell whether it changed anything; a failure of it is an exception."""

    def state(self) -> object:
        """Return all that counts of what there is."""

    def serves(self) -> bool:
        """Tell whether the one before, or the new one, still does what it is for."""


class Steps:
    """The audit hook: counts the steps below a folder, and does the blow at one of them."""

    def __init__(self, folder: Path, step: int, blow: str) -> None:
        self.folder, self.step, self.blow = str(folder), step, blow
        self.fell = False
        self._count = itertools.count(1)

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        if not self._is_step(event, details):
            return
        if self.fell:
            self._last(event)
        elif next(self._count) == self.step:
            self.fell = True
            self._strike(event)

    def _strike(self, event: str) -> None:
        if self.blow == KILL:
            os._exit(_FELL)
        if self.blow == INTERRUPT:
            raise KeyboardInterrupt
        if self.blow == END:
            raise Ended(143)
        self._last(event)

    def _last(self, event: str) -> None:
        number = _LASTING.get(self.blow)
        if number and event in _FILES and not (self.blow == FULL and event in _ROOMY):
            raise OSError(number, os.strerror(number))

    def _is_step(self, event: str, details: tuple[Any, ...]) -> bool:
        if event == "open":
            flags = details[2]
            return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and self._is_inside(details[0])
        if event in _FILES:
            numbers = [one for one in details[1:] if isinstance(one, int)]
            return self._is_inside(details[0], numbers[-1] if numbers else -1)
        if event == "http.client.send":
            return isinstance(details[1], bytes) and not details[1].startswith((b"GET ", b"HEAD "))
        if event in ("os.kill", "os.killpg"):
            return bool(details[1])
        return event == "subprocess.Popen"

    def _is_inside(self, path: object, folder_handle: int = -1) -> bool:
        """Tell whether a path, or what a number of an open file stands for, lies below the folder."""
        try:
            if isinstance(path, int):
                path = str(Path(f"/proc/self/fd/{path}").readlink())
            name = os.fsdecode(path)  # type: ignore[arg-type]
            if not name.startswith("/") and folder_handle >= 0:
                name = f"{Path(f'/proc/self/fd/{folder_handle}').readlink()}/{name}"
        except (OSError, TypeError):
            return False
        return name.startswith(self.folder)


def break_off(folder: Path, step: int, blow: str, work: Callable[[], object]) -> bool:
    """Do the work in a process of its own, with the blow at a step; tell whether it came that far."""
    pid = os.fork()
    if pid == 0:
        _do(Steps(folder, step, blow), work)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _FELL


def _do(steps: Steps, work: Callable[[], object]) -> NoReturn:
    null = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(null, number)
    sys.addaudithook(steps)
    try:
        work()
    except BaseException:  # what it says of it is tested elsewhere
        pass
    finally:
        os._exit(_FELL if steps.fell else 0)


class Table:
    """What the rows say, for the table that pytest prints at its end (conftest.py)."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._properties = request.node.user_properties

    def row(self, work: str, fault: str, steps: int, before: str, third: str = "changed=0") -> None:
        """Say that a row holds; C(before): what the one before did meanwhile."""
        self._properties.append(("row", [work, fault, str(steps), "converged", third, before]))


def sweep(
    table: Table,
    work: str,
    make: Callable[[Path], Subject],
    tmp_path: Path,
    blows: Mapping[str, int],
    least: int,
    before: str = "answered",
) -> None:
    """Break the work off step by step; the next run has to end where an unbroken one does, and the third to change nothing.

    Args:
        table: Gets a row for each blow.
        work: What is broken off.
        make: Makes a subject in a folder.
        tmp_path: Where the folders are.
        blows: Which, and at each how manieth step.
        least: How many steps there are at least, so that a sweep that sees none of them fails.
        before: What the one before did meanwhile, for the table.

    """
    whole = make(_folder(tmp_path / "whole"))
    assert whole.run(), "there was nothing to do"
    expected = whole.state()
    assert not whole.run(), "a second run changes something"
    for blow, stride in blows.items():
        for step in itertools.count(1, stride):
            subject = make(_folder(tmp_path / f"{blow}-{step}"))
            fell = break_off(subject.folder, step, blow, subject.run)
            at = f"{work}, {blow} at step {step}"
            assert subject.serves(), f"{at}: neither the one before nor the new one serves"
            subject.run()
            found = subject.state()
            assert found == expected, f"{at}: the next run ends elsewhere: {found} instead of {expected}"
            assert not subject.run(), f"{at}: the third run changes something"
            if not fell:
                break
        assert step > least, f"{work}: it ended before step {step}"
        table.row(work, blow, (step - 1) // stride, before)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def play(module: ModuleType, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a module as Ansible does, and return its result; one that failed is an AssertionError with its sentence."""
    output = io.StringIO()
    with patch_module_args(arguments), redirect_stdout(output), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    assert not result.get("failed"), result.get("msg")
    return result
