# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends ansible-playbook at a boundary of its tasks."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: break_off
type: aggregate
short_description: Break a play off
description:
  - At the beginning of the task with the number FAULT_STEP, ansible-playbook gets the signal with the number FAULT_BLOW.
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

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A task begins."""
        self._count += 1
        if self._count == int(os.environ["FAULT_STEP"]):
            os.kill(os.getpid(), int(os.environ["FAULT_BLOW"]))
