# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The controller's side of long work: the module is called in short looks until it is over, and each is shown (decision 0029)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action.normal import ActionModule as Normal

from .outcome import failure_of
from .progress import Look, Pace, format_seconds, number_of, progress_of

# Seconds of the first look, within which small work ends, and of those after it has turned out to be long.
_FIRST_S = 2
_USUAL_S = 5
# A host that takes long to reach is asked less often, but often enough to show life.
_LONGEST_S = 15
# Seconds between tries after a lost connection: a restarted sshd is back in two, a link that dials again within a minute and a half.
_PAUSES_S = (1, 2, 5, 10, 20, 20, 30)
_RECONNECTING = "Connection lost, reconnecting while the work continues"
_HIDDEN = {"message": "Under way (no_log hides what)"}
# What stops the process of its own, and not the work: it is done within the call, where nobody asked to see how far it is.
_WITHOUT_JOB = ("job_not_started", "home_refused")
# Seconds by which work may seem older than the task that began it: what a host says is rounded.
_TOLERANCE_S = 2


def next_wait(wait: int, took: float) -> int:
    """Return how many seconds the next look waits on the host, after one that waited C(wait) and took C(took) in all.

    At most half of the time goes into reaching the host, unless that takes longer than anybody waits for a sign of life.
    """
    return max(min(2 * wait, _USUAL_S), min(_LONGEST_S, math.ceil(took - wait)))


def wait_of(args: Mapping[str, Any]) -> int | None:
    """Return the option C(wait), None where it is not given, and 0 for what the module has to refuse."""
    given = args.get("wait")
    try:
        return None if given is None else max(0, int(given))
    except (TypeError, ValueError):
        return 0


class Watch(NamedTuple):
    """How one task looks at its work.

    Attributes:
        host: Name of the host in the inventory.
        label: The same for people: where the task is delegated, with where to.
        call: Calls the module; the argument is its option C(wait), None for the end of the work.
        show: Shows a line, mostly a Look; the second argument tells whether a log is due for one.
        reset: Gives up what is left of a lost connection.
        is_secret: Whether nothing that the module says may be shown.

    """

    host: str
    label: str
    call: Callable[[int | None], dict[str, Any]]
    show: Callable[[str, bool], None]
    reset: Callable[[], None]
    is_secret: bool = False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, given: int | None) -> dict[str, Any]:
        """Return the result that the work ended with, as if one call had been made.

        Args:
            given: Seconds of each look, None to choose them.

        """
        pace, wait, began = Pace(), given or _FIRST_S, self.clock()
        # Nothing is lost yet where the first look does not reach the host: it is unreachable as with any other task.
        result = self.call(wait)
        if given is None and (result.get("failure") or {}).get("code") in _WITHOUT_JOB:
            return self.call(None)
        took, is_first = self.clock() - began, True
        while (progress := progress_of(result)) is not None:
            if is_first:
                self._show_if_older(progress, took)
            self._show(_HIDDEN | {"elapsed": progress.get("elapsed")} if self.is_secret else progress, pace)
            wait, is_first = given or next_wait(wait, took), False
            began = self.clock()
            result = self._look(wait, pace)
            took = self.clock() - began
        return result

    def _look(self, wait: int, pace: Pace) -> dict[str, Any]:
        """Look once, and once more after a connection that was lost, which the work does not notice."""
        began = self.clock()
        for pause in _PAUSES_S:
            try:
                return self.call(wait)
            except AnsibleConnectionFailure:
                self._show({"message": _RECONNECTING, "elapsed": self.clock() - began}, pace)
                self.sleep(pause)
                self.reset()
        return self.call(wait)

    def _show_if_older(self, progress: Mapping[str, Any], took: float) -> None:
        """Tell that the work was begun by an earlier run, which was interrupted."""
        elapsed = number_of(progress, "elapsed")
        if elapsed is not None and elapsed > took + _TOLERANCE_S:
            self.show(
                f"progress: [{self.label}] => It has been under way for {format_seconds(elapsed)} and continues.",
                True,
            )

    def _show(self, progress: Mapping[str, Any], pace: Pace) -> None:
        look = Look.of(self.host, self.label, progress)
        self.show(look, pace.is_due(look.progress, self.clock()))


def with_failure(result: dict[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result with a C(failure), also where a module died without one: C(failed_when) of a task replaces its message."""
    if result.get("failed") and "failure" not in result:
        return {**result, "failure": failure_of(result, task)}
    return result


class LongWork(Normal):
    """Calls the module of the task, and waits for its work. Otherwise it is what Ansible does for modules without an action plugin."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        given = wait_of(self._task.args)
        # With async the module runs apart from the task anyway, which Ansible itself polls for its end.
        if self._task.check_mode or self._task.async_val or given == 0:
            return super().run(tmp, task_vars)
        super(Normal, self).run(tmp, task_vars)
        variables = dict(task_vars or {})

        def call(wait: int | None) -> dict[str, Any]:
            args = {name: value for name, value in self._task.args.items() if name != "wait"}
            if wait is not None:
                args["wait"] = wait
            return self._execute_module(module_args=args, task_vars=variables)

        host = str(variables.get("inventory_hostname", ""))
        label = f"{host} -> {self._task.delegate_to}" if self._task.delegate_to else host
        result = Watch(host, label, call, self._show, self._reset, bool(self._task.no_log)).run(given)
        return with_failure(result, {"name": self._task.name, "no_log": self._task.no_log})

    def _show(self, look: str, is_due: bool) -> None:
        # On the standard error, as Ansible's warnings: the standard output belongs to the callback, which may write JSON there, and a pipe
        # would hold it back until the task is over. What is not due goes neither to the screen nor to the log: it is for a callback that
        # stands before Display.display, as ours does to draw bars.
        self._display.display(look, stderr=True, screen_only=not is_due, log_only=not is_due)

    def _reset(self) -> None:
        # What multiplexes the connection may be dead and still be there.
        with contextlib.suppress(AnsibleError):
            self._connection.reset()
