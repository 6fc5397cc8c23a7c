# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host returned to the plan, where the plan is to make something of it."""

from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.nemoclaw.local_inference.plugins.action.inference_plan import ActionModule


def test_a_host_does_not_write_the_document_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report takes the document of each host from what this returns."""
    monkeypatch.setattr(ActionBase, "run", lambda *_words: {})
    options = {"collect": True, "playbook": None}
    action = ActionModule.__new__(ActionModule)
    monkeypatch.setattr(action, "validate_argument_spec", lambda _spec: ({}, options), raising=False)
    monkeypatch.setattr(action, "_plan", lambda _options: {"msg": "x", "document": {"host": "other"}}, raising=False)
    assert action.run(task_vars={}) == {"msg": "x"}
