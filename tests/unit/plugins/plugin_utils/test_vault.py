# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own vault without a password, as a play meets it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultLib, VaultSecret
from ansible.template import Templar, trust_as_template
from ansible_collections.nemoclaw.local_inference.plugins.action import inference_outcome, inference_plan
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import vault

_SECRET = VaultSecret(b"password")
_LOCKED = EncryptedString(ciphertext=VaultLib([("default", _SECRET)]).encrypt(b"canary", _SECRET).decode())
VARIABLES = {"compatible_api_key": trust_as_template("{{ of_group }}"), "of_group": _LOCKED, "hf_token": _LOCKED}


@pytest.mark.parametrize("name", ["compatible_api_key", "hf_token"])
def test_a_value_that_cannot_be_decrypted(name: str) -> None:
    with pytest.raises(AnsibleError) as raised:
        Templar(DataLoader(), VARIABLES).template(VARIABLES[name])
    # Outside of a play there is no list of passwords either, and the words are others.
    assert "VaultSecretsContext" in vault.why_locked(raised.value)


def test_what_another_task_tells_is_not_encrypted() -> None:
    with pytest.raises(AnsibleError) as raised:
        Templar(DataLoader(), {}).template(trust_as_template("{{ nobody }}"))
    assert vault.why_locked(raised.value) == ""
    assert vault.refuse_locked({}) == []


def action_of(plugin: Any, playbook: str) -> Any:
    action = plugin.ActionModule.__new__(plugin.ActionModule)
    action._task_vars = VARIABLES
    action._templar = Templar(DataLoader(), VARIABLES)
    action._task = SimpleNamespace(check_mode=False)
    action._options = {"playbook": playbook, "path": None}
    return action


def test_the_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_plan, "refuse_other_tags", lambda *_words, **_more: ([], False))
    monkeypatch.setattr(os, "environ", {})
    plan = action_of(inference_plan, "rollout")._plan(
        {"settings": {}, "default_provider": "auto", "keep_route": False, "proof": None, "collect": False}
    )
    assert [one["code"] for one in plan["refusals"]] == ["vault_locked"]
    message = plan["refusals"][0]["message"]
    assert message.startswith("compatible_api_key, hf_token are encrypted by Ansible Vault and cannot be decrypted: ")
    assert "--vault-password-file" in message


@pytest.mark.parametrize(("playbook", "locked"), [("rotate_token", True), ("status", True), ("uninstall", False)])
def test_what_asks_the_route_is_refused_before_it_changes_anything(playbook: str, locked: bool) -> None:
    assert [one.code for one in action_of(inference_outcome, playbook)._refuse_locked()] == ["vault_locked"] * locked
