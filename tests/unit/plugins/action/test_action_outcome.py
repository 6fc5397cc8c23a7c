# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task said is kept without the secrets of the host's settings, and told where Ansible told something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleAction
from ansible_collections.nemoclaw.local_inference.plugins.action.inference_outcome import ActionModule


def test_a_secret_in_what_a_task_said_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of Ansible's own may quote a command line or an answer."""
    monkeypatch.setenv("HF_TOKEN", "canary-of-the-environment")
    action = ActionModule.__new__(ActionModule)
    action._task_vars = {"compatible_api_key": "canary-of-the-inventory"}
    action._templar = SimpleNamespace(template=lambda raw: raw)
    said = action._masked("curl: canary-of-the-inventory, canary-of-the-environment, and a word")
    assert "canary" not in said
    assert "and a word" in said


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        (
            {"msg": "It leaks.", "failure": {"code": "tool_calls_leaked", "message": "It leaks."}},
            "tool_calls_leaked",
            "It leaks. The previous server serves again.",
        ),
        (
            {"msg": "no room for canary"},
            "task_failed",
            "Start it: no room for ********. The previous server serves again.",
        ),
    ],
)
def test_a_failure_that_is_raised_again_keeps_its_code(result: Any, code: str, message: str) -> None:
    action = ActionModule.__new__(ActionModule)
    action._task_vars = {
        "ansible_failed_result": result,
        "ansible_failed_task": {"name": "Start it"},
        "compatible_api_key": "canary",
    }
    action._templar = SimpleNamespace(template=lambda raw: raw)
    action._options = {"reason": "The previous server\n  serves again."}
    with pytest.raises(AnsibleAction) as raised:
        action._raise()
    found: Any = raised.value.result
    assert (found["failure"]["code"], found["failure"]["message"], found["msg"]) == (code, message, message)
    assert str(raised.value) == "The previous server serves again."


def test_what_sudo_said_is_told_with_what_to_give() -> None:
    """Ansible prints that it could not parse an answer; the table has room for the beginning of a remedy."""
    lines: list[str] = []
    action = ActionModule.__new__(ActionModule)
    action._options = {"state": "failed", "playbook": "rotate_token", "path": None, "status": False, "changed": False}
    action._task = SimpleNamespace(check_mode=True)
    action._display = SimpleNamespace(display=lines.append)
    action._templar = SimpleNamespace(template=lambda raw: raw)
    refused = {"module_stderr": "sudo: sorry, you must have a tty to run sudo\n", "msg": "No start of json char found"}
    action._task_vars = {
        "inventory_hostname": "a",
        "ansible_failed_result": refused,
        "ansible_failed_task": {"name": "Rotate the token"},
    }
    assert action._end()["outcome"]["code"] == "become_failed"
    assert len(lines) == 1
    assert lines[0].startswith("[a] Failed: Rotate the token: sudo: sorry, you must have a tty to run sudo. Set -e ")
    action._task_vars["ansible_failed_result"] = {"msg": "It was printed already."}
    action._end()
    assert len(lines) == 1
