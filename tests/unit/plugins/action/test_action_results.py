# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts the table of results has, where a playbook of somebody's own imports ours with a condition."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.action.inference_results import ActionModule
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import outcome as made
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.results import bad_hosts, exit_code

DONE = {"outcome": {**made.outcome("status", started=5.0, ended=6.0), "state": "healthy"}}
OLD = {"outcome": made.outcome("site", started=1.0, ended=2.0)}
SKIPPED = {"skipped": True, "changed": False}


@pytest.mark.parametrize(
    ("hosts", "states"),
    [
        ({"a": (SKIPPED, {}), "b": ({"started": 5.0}, DONE)}, {"a": "skipped", "b": "healthy"}),
        # What an earlier playbook of the same run did is not this one's.
        ({"a": (SKIPPED, OLD), "b": ({"started": 5.0}, DONE)}, {"a": "skipped", "b": "healthy"}),
        ({"a": (SKIPPED, {}), "b": (SKIPPED, OLD)}, {}),
    ],
)
def test_every_host_of_the_pattern_has_its_line(hosts: Any, states: dict[str, str]) -> None:
    of_host = {host: {"nemoclaw_begun": begun, "nemoclaw_ended": ended} for host, (begun, ended) in hosts.items()}
    action = ActionModule.__new__(ActionModule)
    action._task_vars = {
        "ansible_play_hosts": [*hosts],
        "ansible_play_hosts_all": [*hosts],
        "hostvars": SimpleNamespace(raw_get=of_host.get),
    }
    _begun, outcomes = action._gather("status")
    assert {host: one["state"] for host, one in outcomes.items()} == states
    assert (bad_hosts(outcomes), exit_code(outcomes, [])) == ([], 0)
