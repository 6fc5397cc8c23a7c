# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
version_added: "0.1.0"
short_description: Ansible's default output, and the progress of long tasks
description:
  - This is Ansible's callback C(default) with all of its options. It shows one thing more, the progress of tasks that wait
    for long work on the hosts, such as the download of a model.
  - In a terminal each host has a bar below the output, which changes in place. Elsewhere, with C(-vv) and where E(TERM) is
    C(dumb), there is a line for each host at least every ten seconds, and one whenever another phase begins.
  - A bar or a line takes the place of C(FAILED - RETRYING). Retries of other tasks look as ever.
  - It understands modules that are called with C(until) and return C(finished) and C(progress), for example
    M(nemoclaw.local_inference.ollama_model) with its option O(nemoclaw.local_inference.ollama_model#module:wait).
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
import time
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

from ..plugin_utils.progress import (
    Block,
    Pace,
    format_seconds,
    line,
    number_of,
    progress_of,
)

# Seconds by which work may seem older than the task that began it: what a host says is rounded.
_TOLERANCE_S = 2


class CallbackModule(Default):
    """The default output, and progress instead of retries where there is some."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nemoclaw.local_inference.progress"

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._turn = threading.RLock()
        self._block = Block(sys.stdout, shutil.get_terminal_size)
        self._bars: dict[str, dict[str, Any]] = {}
        self._paces: dict[tuple[str, str], Pace] = {}
        self._starts: dict[tuple[str, str], float] = {}
        atexit.register(self._leave)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._clear()
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._clear()
        super().v2_playbook_on_stats(stats)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._starts[host.get_name(), task._uuid] = time.monotonic()
        super().v2_runner_on_start(host, task)

    def v2_runner_retry(self, result: Any) -> None:
        progress = progress_of(result.result)
        if progress is None:
            super().v2_runner_retry(result)
            return
        host, now = self.host_label(result), time.monotonic()
        key = result.host.get_name(), result.task._uuid
        pace = self._paces.get(key)
        if pace is None:
            pace = self._paces[key] = Pace()
            self._say_if_older(host, progress, now - self._starts.get(key, now))
        due = pace.is_due(progress, now)
        text = f"progress: [{host}] => {line(progress)}"
        if self._has_bars():
            self._show(key[0], progress)
            if due:
                self._display.display(text, log_only=True)
        elif due:
            if self._run_is_verbose(result, verbosity=2):
                text += f" Result was: {self._dump_results(result.result)}"
            self._print_now(text)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result)
        super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end(result)
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result)
        super().v2_runner_on_skipped(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end(result)
        super().v2_runner_on_unreachable(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._end_item(result)
        super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._end_item(result)
        super().v2_runner_item_on_failed(result)

    def _say_if_older(self, host: str, progress: dict[str, Any], since_start: float) -> None:
        """Tell that the work was begun by an earlier run, which was interrupted."""
        elapsed = number_of(progress, "elapsed")
        if elapsed is not None and elapsed > since_start + _TOLERANCE_S:
            self._print_now(
                f"progress: [{host}] => It was under way already, for {format_seconds(elapsed)}, and goes on."
            )

    def _print_now(self, text: str) -> None:
        """Print a line; Ansible leaves it in a buffer, and a log or C(tee) would get it when the task is over."""
        self._display.display(text, color=C.COLOR_DEBUG)
        sys.stdout.flush()

    def _has_bars(self) -> bool:
        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and self._display.verbosity < 2

    def _show(self, host: str, progress: dict[str, Any]) -> None:
        with self._turn:
            if not self._bars:
                # Every output of Ansible goes this way, warnings and those of other plugins too: it is printed above the bars.
                self._print = self._display.display
                self._display.display = self._print_above
            self._bars[host] = progress
            self._block.draw(self._bars)

    def _print_above(self, *args: Any, **kwargs: Any) -> None:
        # A worker of Ansible hands what it has to say to its parent, which comes here again.
        if os.getpid() != self._process or kwargs.get("log_only"):
            self._print(*args, **kwargs)
            return
        with self._turn:
            self._block.erase()
            self._print(*args, **kwargs)
            self._block.draw(self._bars)

    def _end(self, result: Any) -> None:
        """Forget about the host's task, which is over."""
        self._starts.pop((result.host.get_name(), result.task._uuid), None)
        self._end_item(result)

    def _end_item(self, result: Any) -> None:
        """Forget how far the host was."""
        host = result.host.get_name()
        self._paces.pop((host, result.task._uuid), None)
        self._take_away(host)

    def _clear(self) -> None:
        """Forget the hosts whose tasks ended without a result, too."""
        for host in list(self._bars):
            self._take_away(host)

    def _take_away(self, host: str) -> None:
        with self._turn:
            if self._bars.pop(host, None) is not None:
                self._block.draw(self._bars)
                if not self._bars:
                    self._display.display = self._print

    def _leave(self) -> None:
        # After Ctrl-C the bars would stay above the shell's prompt.
        if os.getpid() == self._process:
            self._block.erase()
