# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate's configuration must never have, and the names that the role shares with the modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import names

ROLE = Path(__file__).resolve().parents[2] / "roles" / "proxy"
DIRECTIVES = [
    line.strip()
    for line in (ROLE / "templates" / "nginx.conf.j2").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.strip().startswith(("#", "{%"))
]


@pytest.mark.parametrize("name", ["rewrite", "set", "auth_basic", "sub_filter", "alias", "root", "satisfy"])
def test_the_directives_that_were_broken_into_are_not_used(name: str) -> None:
    """Rewrite followed by set, and map with a regular expression, were the grave faults of 2026 (upstream-facts P10)."""
    assert [line for line in DIRECTIVES if re.match(rf"{name}\b", line)] == []


def test_no_regular_expression_is_used() -> None:
    assert [line for line in DIRECTIVES if re.search(r"(^|[\s{'\"])~", line.replace("^~", ""))] == []


def test_there_is_one_condition_and_it_comes_before_any_location() -> None:
    conditions = [number for number, line in enumerate(DIRECTIVES) if line.startswith("if ")]
    locations = [number for number, line in enumerate(DIRECTIVES) if line.startswith("location ")]
    assert len(conditions) == 1
    assert conditions[0] < locations[0]
    assert DIRECTIVES[conditions[0] : conditions[0] + 2] == ["if ($nemoclaw_token_is_valid = 0) {", "return 401;"]


def test_the_role_and_the_modules_use_the_same_names() -> None:
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert variables["__proxy_account"] == names.GATE_USER
    assert variables["__proxy_unit"] == names.UNIT
    assert variables["__proxy_unit_path"].endswith(f"/{names.UNIT}")
    assert variables["__proxy_realm"] == names.REALM
    assert variables["__proxy_config"] == names.CONFIG
