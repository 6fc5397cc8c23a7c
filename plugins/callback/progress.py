# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
version_added: "0.1.0"
short_description: Ansible's default output, and bars for long tasks
description:
  - This is Ansible's callback C(default) with all of its options. In a terminal it also shows a bar for each host that a task waits for,
    for example while a model is downloaded. The bars are below the output and change in place.
  - Modules with long work print progress lines with every callback. Here the bars replace them; Ansible's log file still gets the lines.
  - A module that fails has its sentence as C(msg) and as C(failure.message), and Ansible prints it a third time as its own error. This
    callback leaves C(failure.message) out below C(-vvv). The result that a play reads has both.
  - Outside a terminal, with C(-vv), or if E(TERM) is C(dumb), it prints the lines, as every callback does.
requirements:
  - set as stdout in configuration
extends_documentation_fragment:
  - default_callback
  - result_format_callback
author:
  - nemoclaw.local_inference contributors (@nemoclaw)
"""

import atexit
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

from ..plugin_utils.progress import Block, Look

# From -vvv on, Ansible's own callback shows all of a result, its invocation too.
_ALL = 3


def said_once(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the result of a module of ours without the sentence of its failure where C(msg) has it as well."""
    failure = result.get("failure")
    if not isinstance(failure, Mapping) or "message" not in failure or failure["message"] != result.get("msg"):
        return result
    return {**result, "failure": {name: value for name, value in failure.items() if name != "message"}}


class CallbackModule(Default):
    """The default output, and bars for what long tasks tell."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nemoclaw.local_inference.progress"

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._turn = threading.RLock()
        self._block = Block(sys.stdout, shutil.get_terminal_size)
        self._bars: dict[str, dict[str, Any]] = {}
        self._print = self._display.display
        atexit.register(self._leave)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and self._display.verbosity < 2:
            # Every output of Ansible goes this way, warnings and those of other plugins too: it is printed above the bars.
            self._display.display = self._print_above
        super().v2_playbook_on_start(playbook)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._clear()
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._clear()
        self._display.display = self._print
        super().v2_playbook_on_stats(stats)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_on_skipped(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_on_unreachable(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._take_away(result.host.get_name())
        super().v2_runner_item_on_failed(result)

    def _dump_results(self, result: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        if self._display.verbosity < _ALL:
            result = said_once(result)
        return super()._dump_results(result, *args, **kwargs)

    def _print_above(self, msg: str, *args: Any, **kwargs: Any) -> None:
        # A worker of Ansible hands what it has to say to its parent, which comes here again.
        if os.getpid() != self._process:
            self._print(msg, *args, **kwargs)
        elif isinstance(msg, Look):
            self._draw(msg.host, msg.progress)
            if not kwargs.get("log_only"):
                self._print(msg, log_only=True)
        elif kwargs.get("log_only"):
            self._print(msg, *args, **kwargs)
        else:
            with self._turn:
                self._block.erase()
                self._print(msg, *args, **kwargs)
                self._block.draw(self._bars)

    def _draw(self, host: str, progress: dict[str, Any]) -> None:
        with self._turn:
            self._bars[host] = progress
            self._block.draw(self._bars)

    def _clear(self) -> None:
        """Forget the hosts whose tasks ended without a result, too."""
        for host in list(self._bars):
            self._take_away(host)

    def _take_away(self, host: str) -> None:
        with self._turn:
            if self._bars.pop(host, None) is not None:
                self._block.draw(self._bars)

    def _leave(self) -> None:
        # After Ctrl-C the bars would stay above the shell's prompt.
        if os.getpid() == self._process:
            self._block.erase()
