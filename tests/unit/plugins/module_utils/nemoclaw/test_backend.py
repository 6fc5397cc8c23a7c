# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NemoClaw is told when a route is restored. The rest is in tests/real/test_sandbox_route_nemoclaw.py, with its double."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw import inference
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.backend import NemoClawRoute
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import NemoClaw, Recorded
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell, Release
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route

ROUTE = build_route(
    provider="custom", base_url="http://127.0.0.1:1/v1", model="new", api="openai-completions", timeout=90
)


@pytest.mark.parametrize(
    ("can_return", "provider", "key"),
    [(True, "compatible-endpoint", "key"), (False, "compatible-endpoint", ""), (True, "another", "")],
)
def test_the_previous_server_is_told_with_its_key_where_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_return: bool, provider: str, key: str
) -> None:
    """Releases that are given the key with the address would take the placeholder for it. No server gets the key of another."""
    account, machine = find_account()._replace(home=str(tmp_path)), Machine()
    nemoclaw = NemoClaw(machine, account, "/nowhere")
    backend = NemoClawRoute(machine, account, Desired(ROUTE, "key", ROUTE), nemoclaw)
    backend._cli_seen = OpenShell(machine, account, "/nowhere", Release((0, 0, 111)))
    backend._told, backend._can_return = (
        Recorded("lab", provider, "old", ROUTE["api"], "http://127.0.0.1:2/v1"),
        can_return,
    )
    told: list[Any] = []
    monkeypatch.setattr(inference, "have", lambda _nemoclaw, _cli, desired, _check_mode: told.append(desired))
    assert backend._tell_again(None) == [f"NemoClaw was told of old by {provider} again."]
    assert [(one.provider, one.model, one.base_url, one.credential) for one in told] == [
        (provider, "old", "http://127.0.0.1:2/v1", key)
    ]
