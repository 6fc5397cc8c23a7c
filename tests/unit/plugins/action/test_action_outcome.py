# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task said is kept without the secrets of the host's settings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
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
