# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a rollout claims, whose claim it replaces, and what it gives up."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.nemoclaw.local_inference.plugins.action.rollout_claim import ActionModule
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import rollout_state

ALIVE = rollout_state.myself(os.getpid())
GONE = {**ALIVE, "process_started": "1"}
ELSEWHERE = {**ALIVE, "host": "laptop"}
TODO = {"inventory_hostname": "h1", "inference_plan": {"proceed": True, "started": 1.0}}
MINE = {"inventory_hostname": "h1", "rollout_claimed": {"claimed": True}}
LEFT = {"inventory_hostname": "h1", "rollout_claimed": {"claimed": False}, "rollout_started": {"interrupted": ["h1"]}}


def play(
    monkeypatch: pytest.MonkeyPatch, variables: Any, *answers: Any, check_mode: bool = False, **options: Any
) -> Any:
    """Return what the task says, and what the host was asked meanwhile."""
    asked: list[tuple[str, Any]] = []
    left = list(answers)

    def execute(_self: Any, module_name: str, module_args: Any, task_vars: Any) -> Any:
        asked.append((module_args["state"], (module_args.get("instead_of") or {}).get("process_started")))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
    monkeypatch.setattr(ActionModule, "_execute_module", execute)
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(check_mode=check_mode)
    given = {"state": "taken", "playbook": "rollout", "path": None, "take_over": False, **options}
    monkeypatch.setattr(ActionModule, "validate_argument_spec", lambda self, spec: (None, given))
    found = action.run(None, variables)
    assert not left
    assert "failed" not in found
    return found, asked


TAKEN = {"claimed": True, "by": None}


@pytest.mark.parametrize(
    ("variables", "options", "answers", "asked", "claimed", "by"),
    [
        (TODO, {}, [TAKEN], [("taken", None)], True, None),
        (TODO, {}, [{"claimed": False, "by": ALIVE}], [("taken", None)], False, ALIVE),
        (TODO, {}, [{"claimed": False, "by": ELSEWHERE}], [("taken", None)], False, ELSEWHERE),
        (TODO, {}, [{"claimed": False, "by": GONE}, TAKEN], [("taken", None), ("taken", "1")], True, None),
        # Somebody was faster.
        (TODO, {}, [{"claimed": False, "by": GONE}, {"claimed": False, "by": ALIVE}], [("taken", None), ("taken", "1")], False, ALIVE),
        (
            TODO,
            {"take_over": True},
            [{"claimed": False, "by": ELSEWHERE}, TAKEN],
            [("taken", None), ("taken", ELSEWHERE["process_started"])],
            True,
            None,
        ),
        # A host whose disk is full, and one that a stand-in answers for.
        (TODO, {}, [{"failed": True, "failure": {"code": "rollout_claim_unwritable"}}], [("taken", None)], False, None),
        (TODO, {}, [{"steps": []}], [("taken", None)], False, None),
        # In order, refused, down, or passed over.
        ({"inference_plan": {"proceed": False}}, {}, [], [], False, None),
        ({}, {}, [], [], False, None),
        (TODO, {"check_mode": True}, [], [], False, None),
        # It gives up what it has, and what a run that was killed has left.
        (MINE, {"state": "released"}, [TAKEN], [("released", None)], True, None),
        (TODO, {"state": "released"}, [], [], False, None),
        (
            LEFT,
            {"state": "released"},
            [{"claimed": False, "by": GONE}, TAKEN, TAKEN],
            [("taken", None), ("taken", "1"), ("released", None)],
            True,
            None,
        ),
        (LEFT, {"state": "released"}, [{"claimed": False, "by": ELSEWHERE}], [("taken", None)], False, ELSEWHERE),
    ],
)  # fmt: skip
def test_whose_the_host_is(
    monkeypatch: pytest.MonkeyPatch, variables: Any, options: Any, answers: Any, asked: Any, claimed: bool, by: Any
) -> None:
    found, seen = play(monkeypatch, variables, *answers, **options)
    assert (seen, found["claimed"], found["by"], found["changed"]) == (asked, claimed, by, False)


def test_a_host_that_is_gone_is_no_failure_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _asked = play(monkeypatch, TODO, AnsibleConnectionFailure("No route to host"))
    assert found["lost"]["code"] == "host_unreachable"
    assert not found["claimed"]
