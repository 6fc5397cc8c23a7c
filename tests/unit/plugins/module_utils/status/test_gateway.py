# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which gateway a status asks, and what it says of a host that has none; with the real CLI in tests/real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.look import (
    Wanted,
    check_gateway,
    choose_gateway,
)

RECORD = {"provider_name": "ollama-local", "model": "m", "timeout": 180, "api": "openai-completions"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with nothing on it."""
    return Machine(root=tmp_path, environ={"PATH": "/usr/bin"})


def put(machine: Machine, program: str) -> None:
    path = machine.path(f"/usr/bin/{program}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("wanted", "with_nemoclaw", "gateway"),
    [
        (Wanted(), False, None),
        (Wanted(), True, "nemoclaw"),
        (Wanted("openshell"), True, None),
        (Wanted("nemoclaw"), False, "nemoclaw"),
        (Wanted("nemoclaw", "second"), True, "second"),
        (Wanted(gateway="second"), False, "second"),
    ],
)
def test_the_gateway_is_that_of_the_role(
    machine: Machine, wanted: Wanted, with_nemoclaw: bool, gateway: str | None
) -> None:
    if with_nemoclaw:
        put(machine, "nemoclaw")
    assert choose_gateway(machine, find_account(), wanted) == gateway


@pytest.mark.parametrize(
    ("wanted", "recorded", "state"),
    [
        (Wanted(), {}, "not probed"),
        (Wanted(), {"gateway": None, "sandbox": ""}, "not probed"),
        (Wanted("openshell"), {}, "unhealthy"),
        (Wanted("nemoclaw"), {}, "unhealthy"),
        (Wanted(gateway="nemoclaw"), {}, "unhealthy"),
        (Wanted(sandbox="my-assistant"), {}, "unhealthy"),
        (Wanted(), {"gateway": "nemoclaw"}, "unhealthy"),
        (Wanted(), {"sandbox": "my-assistant"}, "unhealthy"),
    ],
)
def test_a_host_without_openshell_is_in_order_where_nobody_named_any_of_it(
    machine: Machine, wanted: Wanted, recorded: dict[str, Any], state: str
) -> None:
    (check,) = check_gateway(machine, find_account(), {**RECORD, **recorded}, wanted, 5)
    assert (check.name, check.state, check.code) == ("gateway", state, "openshell_missing")
    assert find_account().name in check.detail
