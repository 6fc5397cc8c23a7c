# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible shows of the module's arguments. What it does is in tests/real, with OpenShell's own program."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.nemoclaw.local_inference.plugins.modules import openshell_provider

RunModule = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.parametrize(
    "address", ["http://lab:canary-1@server/v1", "http://server/v1?key=canary-1", "http://server/v1#canary-1"]
)
def test_a_secret_in_an_address_is_not_shown(run_module: RunModule, address: str) -> None:
    args = {"name": "lab", "credential": "canary-2", "config": {"OPENAI_BASE_URL": address, "OTHER": "kept"}}
    # ansible-core 2.21 sends the arguments back only on request, 2.19 always.
    asked = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}
    code, result = run_module(openshell_provider, {**args, **asked, "executable": "/nowhere/openshell"})
    assert (code, result["failure"]["code"]) == (1, "openshell_missing")
    assert result["invocation"]["module_args"]["config"]["OTHER"] == "kept"
    assert "canary" not in json.dumps(result)
