# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the controller waits for long work: when it looks, what it prints, what becomes of a lost connection, and when it keeps out."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.long_work import (
    LongWork,
    Watch,
    next_wait,
    wait_of,
    with_failure,
)
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.progress import Look

CANARY = "canary-5d0e7c21"
PULL = {"phase": "download", "message": "Pulling qwen3.5:9b", "unit": "bytes", "percent": 58.2, "elapsed": 2}
END = {"changed": True, "finished": True, "model": "qwen3.5:9b", "warnings": ["of the end"]}
LOST = AnsibleConnectionFailure("Failed to connect to the host via ssh")


def under_way(**progress: Any) -> dict[str, Any]:
    return {"changed": True, "finished": False, "progress": {**PULL, **progress}, "warnings": ["of a look"]}


class Host:
    """A host that answers from a script, on a clock of its own; reaching it takes C(overhead) seconds. It refuses a look too many."""

    def __init__(self, *script: Any, overhead: float = 0.5) -> None:
        self.script = list(script)
        self.overhead = overhead
        self.now = 0.0
        self.waits: list[int | None] = []
        self.shown: list[tuple[float, str]] = []
        self.drawn: list[dict[str, Any]] = []
        self.resets = 0

    def call(self, wait: int | None) -> dict[str, Any]:
        self.waits.append(wait)
        answer = self.script.pop(0)
        self.now += self.overhead
        if isinstance(answer, Exception):
            raise answer
        self.now += (wait or 0) if answer.get("finished") is False else 0
        return answer

    def watch(self, given: int | None = None, is_secret: bool = False) -> dict[str, Any]:
        def show(line: str, is_due: bool) -> None:
            if isinstance(line, Look):
                self.drawn.append(line.progress)
            if is_due:
                self.shown.append((self.now, line))

        def reset() -> None:
            self.resets += 1

        def sleep(seconds: float) -> None:
            self.now += seconds

        watch = Watch("spark-1", "spark-1", self.call, show, reset, is_secret, clock=lambda: self.now, sleep=sleep)
        return watch.run(given)

    @property
    def lines(self) -> list[str]:
        return [line for _when, line in self.shown]


@pytest.mark.parametrize(
    ("wait", "took", "following"),
    [
        (2, 2.5, 4),
        (4, 4.5, 5),
        (5, 5.5, 5),
        (2, 9.0, 7),  # a slow line: as long on the host as on the way to it
        (5, 60.0, 15),
        (15, 15.5, 5),  # the line is good again
    ],
)
def test_how_long_the_next_look_waits(wait: int, took: float, following: int) -> None:
    assert next_wait(wait, took) == following


@pytest.mark.parametrize(
    ("args", "wait"),
    [
        ({}, None),
        ({"wait": None}, None),
        ({"wait": 4}, 4),
        ({"wait": "4"}, 4),
        ({"wait": 0}, 0),
        ({"wait": "0"}, 0),
        ({"wait": -1}, 0),
        ({"wait": "soon"}, 0),  # the module refuses it in its own words
        ({"wait": [4]}, 0),
    ],
)
def test_the_option_wait(args: dict[str, Any], wait: int | None) -> None:
    assert wait_of(args) == wait


def test_where_nothing_is_to_be_done_there_is_one_look_and_no_line() -> None:
    result = {"changed": False, "finished": True}
    host = Host(result)
    assert host.watch() == result
    assert host.waits == [2]
    assert host.shown == []


def test_the_result_is_that_of_the_end_alone() -> None:
    host = Host(under_way(), under_way(percent=70), under_way(percent=80), END)
    assert host.watch() == END
    assert host.waits == [2, 4, 5, 5]
    assert [look["percent"] for look in host.drawn] == [58.2, 70, 80]
    assert host.lines[0] == "progress: [spark-1] => Pulling qwen3.5:9b: 58 %, 2 s so far"


def test_an_hour_is_shown_at_once_then_rarely_and_never_too_rarely() -> None:
    looks = [under_way(elapsed=2 + 5 * number, percent=number / 8) for number in range(700)]
    host = Host(*looks, END)
    host.watch()
    times = [0.0, *(when for when, _line in host.shown), host.now]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert max(gaps) <= 30
    assert max(gap for gap, when in zip(gaps, times) if when < 60) <= 10
    assert len(host.shown) < 200
    assert len(host.drawn) == 700, "a callback that draws gets every look"


def test_whoever_says_how_long_a_look_waits_is_taken_at_their_word() -> None:
    host = Host(under_way(), under_way(), END, overhead=30)
    host.watch(given=1)
    assert host.waits == [1, 1, 1]


def test_another_phase_is_shown_at_once() -> None:
    host = Host(under_way(), under_way(phase="load", message="Loading qwen3.5:9b"), END)
    host.watch()
    assert [line.split(" => ")[1].split(":")[0] for line in host.lines] == ["Pulling qwen3.5", "Loading qwen3.5"]


def test_work_of_an_earlier_run_is_named() -> None:
    host = Host(under_way(elapsed=95), under_way(elapsed=99), END)
    host.watch()
    assert host.lines[0] == "progress: [spark-1] => It has been under way for 1 min 35 s and continues."
    assert sum("has been under way" in line for line in host.lines) == 1


def test_a_failure_is_final() -> None:
    failure = {"failed": True, "msg": "It stalled.", "failure": {"code": "pull_stalled"}}
    host = Host(under_way(), failure)
    assert host.watch() == failure


def test_a_module_that_died_has_a_failure_as_well() -> None:
    """C(failed_when) replaces the message of a task that failed, and leaves the failure."""
    task = {"name": "Set the route"}
    died = {"failed": True, "msg": "No such file: payload.zip"}
    wanted = {"code": "task_failed", "message": "Set the route: No such file: payload.zip"}
    assert with_failure(died, task)["failure"] == wanted
    refused = {"failed": True, "module_stderr": "sudo: a password is required\n", "msg": "MODULE FAILURE"}
    assert with_failure(refused, task)["failure"]["code"] == "become_failed"
    secret = with_failure({"failed": True, "msg": CANARY}, {**task, "no_log": True})
    assert CANARY not in secret["failure"]["message"]
    known = {"failed": True, "msg": "It stalled.", "failure": {"code": "pull_stalled"}}
    assert (with_failure(known, task), with_failure({"changed": True}, task)) == (known, {"changed": True})


def test_a_host_that_is_not_reached_at_first_is_unreachable_at_once() -> None:
    host = Host(LOST)
    with pytest.raises(AnsibleConnectionFailure):
        host.watch()
    assert (host.waits, host.resets, host.shown) == ([2], 0, [])


def test_a_lost_connection_comes_back() -> None:
    host = Host(under_way(), LOST, LOST, LOST, under_way(percent=90), LOST, END)
    assert host.watch() == END
    assert host.resets == 4
    assert any("Connection lost, reconnecting while the work continues" in line for line in host.lines)


def test_a_connection_that_stays_lost_makes_the_host_unreachable() -> None:
    host = Host(under_way(), *[LOST] * 8, overhead=10)
    with pytest.raises(AnsibleConnectionFailure):
        host.watch()
    assert host.script == []
    assert 60 < host.now < 240


@pytest.mark.parametrize("code", ["job_not_started", "home_refused"])
def test_where_no_process_of_its_own_can_be_started_the_work_is_done_within_the_call(code: str) -> None:
    host = Host({"failed": True, "failure": {"code": code}}, END)
    assert host.watch() == END
    assert host.waits == [2, None]


def test_whoever_asked_to_see_it_is_told_that_no_process_can_be_started() -> None:
    failure = {"failed": True, "failure": {"code": "job_not_started"}}
    assert Host(failure).watch(given=4) == failure


def test_nothing_of_a_secret_task_is_shown() -> None:
    host = Host(under_way(message=CANARY, phase=CANARY, unit=CANARY), LOST, under_way(message=CANARY, elapsed=90), END)
    host.watch(is_secret=True)
    assert CANARY not in repr(host.lines) + repr(host.drawn)
    assert "progress: [spark-1] => Under way (no_log hides what): 2 s so far" in host.lines


def test_a_line_reaches_the_callback_whole_and_plain() -> None:
    """Ansible's worker pickles it for its parent."""
    look = Look.of(
        "spark-1", "spark-1 -> spark-2", {**PULL, "message": "\033[2J", "total": "no number", "other": CANARY}
    )
    arrived = pickle.loads(pickle.dumps(look))
    assert (arrived, arrived.host, arrived.progress) == (look, "spark-1", look.progress)
    assert arrived.isprintable()
    assert CANARY not in repr(arrived.progress)
    assert set(map(type, arrived.progress.values())) <= {str, float, type(None)}


class Action(LongWork):
    """The action of a task, with a module that ends at its third look."""

    def __init__(self, args: dict[str, Any], **task: Any) -> None:
        fields = {"check_mode": False, "async_val": 0, "no_log": False, "delegate_to": None, "action": "x", **task}
        shell = SimpleNamespace(tmpdir=None)
        connection = SimpleNamespace(_shell=shell, has_native_async=False, reset=lambda: None)
        super().__init__(SimpleNamespace(name="Work", args=args, **fields), connection, None, None, None, None)
        self.calls: list[dict[str, Any]] = []
        self.printed: list[tuple[str, dict[str, bool]]] = []
        self._display = SimpleNamespace(display=lambda text, **how: self.printed.append((text, how)))

    def _execute_module(self, **call: Any) -> dict[str, Any]:
        self.calls.append(call)
        return dict(END) if len(self.calls) == 3 else under_way()


VARIABLES = {"inventory_hostname": "spark-1"}


def test_a_task_waits_for_its_work_with_its_own_arguments() -> None:
    args = {"name": "qwen3.5:9b", "unknown": CANARY}
    action = Action(args, delegate_to="spark-2")
    assert action.run(task_vars=VARIABLES) == END
    assert [call["module_args"] for call in action.calls] == [{**args, "wait": wait} for wait in (2, 4, 5)]
    assert args == {"name": "qwen3.5:9b", "unknown": CANARY}
    assert [text.split(" => ")[0] for text, _how in action.printed] == ["progress: [spark-1 -> spark-2]"] * 2
    # The second is for a callback that draws, and for no other.
    assert [how["screen_only"] and how["log_only"] for _text, how in action.printed] == [False, True]
    assert all(how["stderr"] for _text, how in action.printed)


@pytest.mark.parametrize(
    ("args", "task"),
    [
        ({}, {"check_mode": True}),
        ({"wait": 4}, {"check_mode": True}),
        ({}, {"async_val": 600}),
        ({"wait": 0}, {}),
        ({"wait": "x"}, {}),
    ],
)
def test_what_is_one_call_as_for_any_module(args: dict[str, Any], task: dict[str, Any]) -> None:
    action = Action(args, **task)
    result = action.run(task_vars=VARIABLES)
    assert (len(action.calls), action.printed) == (1, [])
    assert "module_args" not in action.calls[0], "the task's own"
    assert bool(action.calls[0]["wrap_async"]) == bool(task.get("async_val"))
    assert result["finished"] is False


def test_a_secret_task_prints_nothing_of_it() -> None:
    action = Action({}, no_log=True)
    action.run(task_vars=VARIABLES)
    assert "qwen" not in repr(action.printed)
