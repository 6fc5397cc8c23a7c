# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends ansible-playbook at a boundary of its tasks, or starts a program there that ends something else."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: break_off
type: aggregate
short_description: Break a play off
description:
  - At the beginning of the task that FAULT_STEP is the number or the name of, ansible-playbook gets the signal with the number FAULT_BLOW.
    Where FAULT_PROGRAM has the words of a command, as JSON, that is started instead, once.
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

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._count += 1
        if os.environ["FAULT_STEP"] not in (str(self._count), task.name) or self._fell:
            return
        self._fell = True
        if program := os.environ.get("FAULT_PROGRAM"):
            subprocess.Popen(json.loads(program), stdin=subprocess.DEVNULL)
        else:
            os.kill(os.getpid(), int(os.environ["FAULT_BLOW"]))
