# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a playbook on a host, and the results of all hosts, as tables of cases."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import outcome as made
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import results

ROUTE = {"provider": "ollama", "model": "recorded"}
LOAD = {"id": "model.load", "action": "load"}
PROVE = {"id": "server.verify", "action": "verify"}
REFUSAL = {"code": "gpu_missing", "message": "A NIM needs a GPU, and none is here. Choose another provider."}
DEAD = {"state": "unhealthy", "code": "server_error", "detail": "It answers 500. Look at its log."}
HEALTHY = {"healthy": True, "checks": [], "route": {"provider": "ollama", "model": "served"}}
SICK = {"healthy": False, "checks": [{"state": "healthy"}, {"state": "not probed"}, DEAD], "route": ROUTE}


def plan_of(*steps: dict[str, str], **more: Any) -> dict[str, Any]:
    choice = {"provider": "ollama", "model": "chosen"}
    return {"choice": choice, "steps": list(steps), "refusals": [], "route": None, "steady": not steps, **more}


@pytest.mark.parametrize(
    ("playbook", "given", "expected"),
    [
        ("site", {"plan": plan_of(), "is_done": False}, ("converged", [], False, None)),
        ("site", {"plan": plan_of(LOAD), "is_done": False}, ("planned", ["model.load"], False, None)),
        ("site", {"plan": plan_of(LOAD), "status": HEALTHY}, ("changed", ["model.load"], True, None)),
        ("site", {"plan": plan_of(PROVE), "status": HEALTHY}, ("converged", ["server.verify"], False, None)),
        ("site", {"plan": plan_of(LOAD), "check_mode": True}, ("checked", ["model.load"], False, None)),
        ("site", {"plan": plan_of(LOAD), "status": SICK}, ("failed", [], False, "server_error")),
        ("site", {"plan": plan_of(LOAD, refusals=[REFUSAL])}, ("refused", [], False, "gpu_missing")),
        ("site", {"plan": plan_of(LOAD), "failure": REFUSAL}, ("failed", [], False, "gpu_missing")),
        ("unload", {"failure": {**REFUSAL, "refused": True}}, ("refused", [], False, "gpu_missing")),
        ("site", {"failure": made.unreachable_failure("no")}, ("unreachable", [], False, "host_unreachable")),
        ("plan", {"plan": plan_of(LOAD), "is_done": False}, ("planned", ["model.load"], False, None)),
        (
            "rotate_token",
            {"status": {"unreachable": True}, "changed": True},
            ("unreachable", [], False, "host_unreachable"),
        ),
        ("status", {"status": HEALTHY}, ("healthy", [], False, None)),
        ("status", {"status": SICK}, ("unhealthy", [], False, "server_error")),
        ("uninstall", {"route": ROUTE}, ("removed", [], True, None)),
        ("uninstall", {"route": ROUTE, "check_mode": True}, ("checked", [], False, None)),
        ("unload", {"route": ROUTE, "changed": True}, ("changed", [], True, None)),
        ("unload", {"route": ROUTE}, ("unchanged", [], False, None)),
    ],
)
def test_outcome(playbook: str, given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = made.outcome(playbook, started=100.0, ended=112.34, **given)
    assert (found["state"], found["steps"], found["changed"], found["code"]) == expected
    assert (found["playbook"], found["seconds"]) == (playbook, 12.3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"plan": plan_of()}, ("ollama", "chosen")),
        ({"plan": plan_of(route={"provider": "ollama", "model": "proved"})}, ("ollama", "proved")),
        # The route that is recorded is still the previous one where another provider failed.
        ({"plan": plan_of(), "route": {"provider": "custom", "model": "previous"}}, ("ollama", "chosen")),
        ({"plan": plan_of(), "status": HEALTHY}, ("ollama", "served")),
        ({"route": ROUTE}, ("ollama", "recorded")),
        ({}, (None, None)),
    ],
)
def test_provider_and_model(given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = made.outcome("unload" if "plan" not in given else "site", started=0.0, ended=0.0, **given)
    assert (found["provider"], found["model"]) == expected


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("It refuses the key. Correct COMPATIBLE_API_KEY.", "Correct COMPATIBLE_API_KEY."),
        ("A port is taken. Stop it, e.g. by systemctl. Nothing was changed.", "Stop it, e.g. by systemctl."),
        ("Set OLLAMA_HOST to 127.0.0.1", "Set OLLAMA_HOST to 127.0.0.1"),
        # Not the second advice, which is for the rarer case.
        (
            "nemoclaw_modle is unknown. Did you mean nemoclaw_model? Where something else reads it, list it in nemoclaw_extra_names.",
            "Did you mean nemoclaw_model?",
        ),
        (
            "Port 1 is taken by x. Have its owner quit it. Where no one may, take another port.",
            "Have its owner quit it.",
        ),
        (
            "Set the route: it was refused. The gateway is old. With a newer one this works.",
            "With a newer one this works.",
        ),
        ("", ""),
    ],
)
def test_remedy(message: str, remedy: str) -> None:
    assert made.remedy_of(message) == remedy


@pytest.mark.parametrize(
    ("result", "task", "code", "message"),
    [
        ({"failure": {"code": "auth_failed", "message": "No."}, "msg": "x"}, {"name": "t"}, "auth_failed", "No."),
        ({"msg": "two\nlines"}, {"name": "Install nginx"}, "task_failed", "Install nginx: two lines"),
        ({"unreachable": True, "msg": "gone"}, {"name": "t"}, "host_unreachable", "t: gone"),
        (
            {"msg": "Task failed: Missing sudo password"},
            {"name": "t"},
            "become_failed",
            "t: Task failed: Missing sudo password. ",
        ),
        (
            {"msg": "No start of json char found", "module_stderr": "sudo: sorry, you must have a tty to run sudo\n"},
            {"name": "t"},
            "become_failed",
            "t: sudo: sorry, you must have a tty to run sudo. Set -e ansible_pipelining=false: ",
        ),
        ({"stderr": "canary"}, {"name": "t", "no_log": True}, "task_failed", "t: its result is not shown"),
    ],
)
def test_what_a_task_failed_with(result: dict[str, Any], task: dict[str, Any], code: str, message: str) -> None:
    found = made.failure_of(result, task)
    assert found["code"] == code
    assert found["message"].startswith(message)
    assert "canary" not in found["message"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ssh: connect to host gpu-1 port 22: No route to host", "correct its address"),
        ("Timeout (12s) waiting for privilege escalation prompt: ", "raise ANSIBLE_TIMEOUT"),
    ],
)
def test_a_host_that_is_slow_is_told_from_one_that_is_away(said: str, remedy: str) -> None:
    message = made.unreachable_failure(said)["message"]
    assert f"got: {said.rstrip(': ')}. " in message
    assert remedy in message


def _ended(playbook: str = "site", started: float = 1.0, **given: Any) -> dict[str, Any]:
    return {"outcome": made.outcome(playbook, started=started, ended=started + 1, **given)}


@pytest.mark.parametrize(
    ("begin", "end", "is_there", "state"),
    [
        ({"started": 1.0, **_ended(plan=plan_of(), is_done=False)}, {}, True, "converged"),
        ({"started": 1.0, **_ended(plan=plan_of(LOAD), is_done=False)}, _ended(plan=plan_of(LOAD)), True, "changed"),
        # With --tags plan, and where the host went away before it was done.
        ({"started": 1.0, **_ended(plan=plan_of(LOAD), is_done=False)}, {}, True, "planned"),
        ({"started": 1.0, **_ended(plan=plan_of(LOAD), is_done=False)}, {}, False, "unreachable"),
        # What a playbook before this one left, in the same run.
        (
            {"started": 5.0, **_ended(started=5.0, plan=plan_of(), is_done=False)},
            _ended(plan=plan_of(LOAD)),
            True,
            "converged",
        ),
        (
            {"started": 1.0, **_ended(plan=plan_of(), is_done=False)},
            _ended("switch_model", plan=plan_of(LOAD)),
            True,
            "converged",
        ),
        # A look that failed has no time, and what the host ended with is of this run.
        ({"failed": True, "msg": "broken"}, _ended(failure=REFUSAL), True, "failed"),
        ({"failed": True, "msg": "broken"}, {}, False, "failed"),
        ({}, {}, False, "unreachable"),
    ],
)
def test_which_outcome_is_that_of_the_host(
    begin: dict[str, Any], end: dict[str, Any], is_there: bool, state: str
) -> None:
    found = made.pick("site", begin, end, is_there)
    assert found["state"] == state
    # One that an earlier play lost never answered.
    assert ("did not start on this host" in str(found["message"])) is (begin == {})


@pytest.mark.parametrize(
    ("playbook", "given", "last", "asked"),
    [
        ("site", {"failure": REFUSAL}, None, "failed"),
        ("site", {"plan": plan_of(refusals=[REFUSAL])}, None, "failed"),
        ("site", {"plan": plan_of()}, None, None),
        ("site", {"plan": plan_of()}, {"playbook": "unload"}, "done"),
        ("unload", {}, {"playbook": "site"}, None),
        ("unload", {}, {"playbook": "unload"}, "done"),
        ("uninstall", {}, {"playbook": "site"}, "done"),
        # They only look.
        ("plan", {"plan": plan_of(refusals=[REFUSAL])}, None, None),
        ("status", {"status": SICK}, {"playbook": "site"}, None),
        ("status", {"status": HEALTHY}, {"playbook": "site"}, None),
        ("site", {"failure": made.gone_failure()}, None, None),
    ],
)
def test_what_a_host_remembers(
    playbook: str, given: dict[str, Any], last: dict[str, Any] | None, asked: str | None
) -> None:
    calls: list[dict[str, Any]] = []

    def ask(words: dict[str, Any]) -> dict[str, Any]:
        calls.append(words)
        return {}

    assert made.remember(made.outcome(playbook, started=0.0, ended=0.0, **given), last, ask) is None
    assert [one["state"] for one in calls] == ([asked] if asked else [])


def test_a_host_that_cannot_keep_its_failure_hides_nothing() -> None:
    failed = made.outcome("site", started=0.0, ended=0.0, failure=REFUSAL)

    def gone(_words: dict[str, Any]) -> dict[str, Any]:
        raise AnsibleConnectionFailure("no route")

    assert "no route" in str(made.remember(failed, None, gone))
    assert "no room" in str(made.remember(failed, None, lambda _words: {"failed": True, "msg": "no room"}))


def test_the_table_leaves_out_what_no_host_has() -> None:
    good = made.outcome("site", started=0.0, ended=1.0, plan=plan_of(), is_done=False)
    long = "It is wrong. Look " + "at this and " * 20
    bad = made.outcome("site", started=0.0, ended=1.0, failure={"code": "a_code", "message": long})
    done = made.outcome("site", started=0.0, ended=1.0, plan=plan_of(LOAD, PROVE, LOAD))
    assert results.results_rows({"a": good}) == [
        ("host", "provider", "model", "state", "seconds"),
        ("a", "ollama", "chosen", "converged", "1.0"),
    ]
    rows = results.results_rows({"a": good, "b": bad, "c": done})
    assert rows[0] == ("host", "provider", "model", "state", "steps", "seconds", "code", "remedy")
    assert rows[2][:7] == ("b", "-", "-", "failed", "-", "1.0", "a_code")
    assert rows[2][7].endswith(" ...")
    assert rows[3][4] == "3 steps"
    assert results.results_table({"a": good, "b": good, "c": bad})[-1] == "2 converged, 1 failed"


@pytest.mark.parametrize(
    ("playbook", "given", "fail_on_change", "code"),
    [
        ("site", {"plan": plan_of()}, False, 0),
        ("site", {"plan": plan_of(refusals=[REFUSAL])}, False, 2),
        ("site", {"failure": made.gone_failure()}, False, 4),
        ("status", {"status": SICK}, False, 2),
        ("plan", {"plan": plan_of(LOAD), "is_done": False}, False, 0),
        ("plan", {"plan": plan_of(LOAD), "is_done": False}, True, 2),
        ("plan", {"plan": plan_of(LOAD, steady=True), "is_done": False}, True, 0),
        ("plan", {"plan": plan_of(refusals=[REFUSAL], steady=False)}, False, 0),
        ("plan", {"plan": plan_of(refusals=[REFUSAL], steady=False)}, True, 2),
        ("plan", {"failure": REFUSAL}, False, 2),
    ],
)
def test_exit_code(playbook: str, given: dict[str, Any], fail_on_change: bool, code: int) -> None:
    outcomes = {"a": made.outcome(playbook, started=0.0, ended=0.0, **given)}
    bad = results.bad_hosts(outcomes, fail_on_change)
    assert results.exit_code(outcomes, bad) == code
    assert results.document(playbook, outcomes, bad, False, "now")["hosts"][0]["host"] == "a"


def test_a_rollout_that_ended_early_without_a_failure_ends_with_an_error() -> None:
    """Another run took it over, or its file could not be written."""
    done, failed = made.outcome("rollout", started=0.0, ended=0.0, plan=plan_of()), {"state": "failed"}
    left = {**done, "state": made.UNTOUCHED}
    assert results.bad_hosts({"a": done, "b": left}) == ["b"]
    assert results.bad_hosts({"a": {**done, **failed}, "b": left}) == ["a"]
