# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.work import check_options
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure


def check(
    name: str = "served", instead_of: str = "", port: int = 8000, wait_timeout: float = 900, stall_timeout: float = 300
) -> None:
    check_options(name, instead_of, port, wait_timeout, stall_timeout)


def test_what_is_fine() -> None:
    check()
    check(instead_of="other")
    check("a1", "", 65535, 1, 1)


@pytest.mark.parametrize("name", ["", "a", "-a", "a b", "a/b", "a" * 200])
def test_names_that_no_container_can_have(name: str) -> None:
    with pytest.raises(Failure) as failed:
        check(name)
    if not name:
        return
    with pytest.raises(Failure):
        check(instead_of=name)
    assert failed.value.code == "container_name_invalid"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"port": 0}, "port_invalid"),
        ({"port": -1}, "port_invalid"),
        ({"port": 70000}, "port_invalid"),
        ({"wait_timeout": 0}, "timeout_invalid"),
        ({"stall_timeout": -1}, "timeout_invalid"),
        ({"port": 10**400}, "port_invalid"),
        ({"wait_timeout": 10**400}, "timeout_invalid"),
        ({"stall_timeout": 10**12}, "timeout_invalid"),
    ],
)
def test_numbers_that_mean_nothing(options: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as failed:
        check(**options)
    assert failed.value.code == code
