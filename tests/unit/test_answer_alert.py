# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An alert starts a playbook for the host that it names, and a host that names another thing starts none.

The label is of the host's own making. ansible-rulebook hands it to --limit, for which nothing means every host.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]


def load(path: str) -> Any:
    return yaml.safe_load((REPO / path).read_text(encoding="utf-8"))[0]


@pytest.mark.parametrize(
    ("label", "is_name"),
    [
        ("gpu-1", True),
        ("gpu_1.lab.example", True),
        ("10.0.0.7", True),
        # The playbook refuses these: the rulebook knows no inventory.
        ("all", True),
        ("", False),
        ("*", False),
        ("~.*", False),
        ("!gpu-1", False),
        ("gpu-1,gpu-2", False),
        ("gpu-1:&lab", False),
        ("lab[0]", False),
        ("@/etc/hosts", False),
        ("-vvv", False),
        ("gpu-1 -e nemoclaw_yes=true", False),
        ("gpu-1; reboot", False),
        ("{{ 1 }}", False),
    ],
)
def test_the_rule_takes_names_alone(label: str, is_name: bool) -> None:
    condition = load("extensions/eda/rulebooks/answer_alert.yml")["rules"][0]["condition"]
    found = re.search(r'labels\.host is match\("([^"]+)"\)', condition)
    assert found is not None
    assert bool(re.match(found[1], label)) is is_name


@pytest.mark.parametrize(
    ("limit", "is_host"),
    [("gpu-1", True), ("all", False), ("lab", False), ("gpu-1,gpu-2", False), ("nobody", False), (None, False)],
)
def test_the_playbook_takes_hosts_of_the_inventory_alone(limit: str | None, is_host: bool) -> None:
    play = load("playbooks/answer_alert.yml")
    assert (play["hosts"], play["any_errors_fatal"], play["tags"]) == ("all", True, "always")
    that = jinja2.Environment(autoescape=True).compile_expression(play["tasks"][0]["ansible.builtin.assert"]["that"])
    given = {} if limit is None else {"ansible_limit": limit}
    hosts = ["gpu-1", "gpu-2"]
    assert bool(that(groups={"all": hosts, "lab": hosts}, **given)) is is_host
