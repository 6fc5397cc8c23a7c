# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends ansible-playbook at a boundary of its tasks, starts a program there that ends something, or notes which tasks changed the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: break_off
type: aggregate
short_description: Break a play off
description:
  - At the beginning of the task that FAULT_STEP is the number or the name of, ansible-playbook gets the signal with the number FAULT_BLOW.
    Where FAULT_PROGRAM has the words of a command, as JSON, that is started instead, with the number of the process as its last word.
  - Where FAULT_HOST has the words that run a command on the host, as JSON, the program is to look for what it ends as long as there is
    /run/armed. That goes with the task, and where the program has ended nothing, it is started again at the next task of this name.
  - Where FAULT_NOTES names a file, each task that changed something adds a line with its name and its seconds, as JSON.
"""

# What a person does whose first Ctrl-C is not heard. Ansible then ends its workers at once; one that has just told its result, and has
# not given the lock of the queue back, leaves it locked for good, and StrategyBase.cleanup() waits for that (2.21.5, seen with tasks that
# are nothing but ping). The second one ends it: by then its handler of the signal is gone.
_IMPATIENCE = """
comm=$(cat /proc/$1/comm)
for signal in INT INT KILL; do sleep 10; test "$(cat /proc/$1/comm)" = "$comm" && kill -$signal $1; done
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Counts the tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "break_off"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._count = 0
        self._fell = False
        self._program: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._count += 1
        self._began = time.monotonic()
        if self._program and self._is_over(self._program):
            self._fell = True
        self._program = None
        if os.environ.get("FAULT_STEP", "") not in (str(self._count), task.name) or self._fell:
            return
        if program := os.environ.get("FAULT_PROGRAM"):
            _on_host("touch", "/run/armed")
            self._program = _start(*json.loads(program), str(os.getpid()))
            return
        self._fell = True
        blow = int(os.environ["FAULT_BLOW"])
        if blow == signal.SIGINT:
            _start("sh", "-c", _IMPATIENCE, "sh", str(os.getpid()))
        os.kill(os.getpid(), blow)

    @staticmethod
    def _is_over(program: subprocess.Popen[bytes]) -> bool:
        """Have the program look no longer for what it is to end, and tell whether it did; a task that was skipped may come again."""
        return not _on_host("rm", "-f", "/run/armed") or program.wait() == 0

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task is done on a host."""
        path = os.environ.get("FAULT_NOTES")
        if path and result.result.get("changed"):
            line = json.dumps([result.task.name, time.monotonic() - self._began])
            with Path(path).open("a", encoding="utf-8") as notes:
                notes.write(f"{line}\n")


def _on_host(*words: str) -> bool:
    """Run a command on the host, where it is known how."""
    if way := os.environ.get("FAULT_HOST"):
        subprocess.run([*json.loads(way), *words], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    return bool(way)


def _start(*words: str) -> subprocess.Popen[bytes]:
    """Start a program that outlives this one."""
    nothing = subprocess.DEVNULL
    return subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
