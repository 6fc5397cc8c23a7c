# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens: the kernel's tables of a real machine, and real sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import (
    find_listeners,
    find_owners,
    parse_table,
)


def test_recorded_listeners(machine_named: Callable[[str], Machine]) -> None:
    ports = [11434, 11435, 8000, 8080, 8081, 8082, 8083, 8084]
    found = find_listeners(machine_named("cpu-recorded"), ports)
    assert [(one["port"], one["address"], one["family"], one["scope"], one["uid"]) for one in found] == [
        (8000, "::ffff:127.0.0.1", "v4-mapped", "loopback", 0),
        (8080, "::", "ipv6", "any", 0),
        (8081, "::1", "ipv6", "loopback", 0),
        (8082, "::ffff:0.0.0.0", "v4-mapped", "any", 0),
        (8083, "172.17.0.1", "ipv4", "address", 0),
        (8084, "127.0.0.1", "ipv4", "loopback", 65534),
        (11434, "127.0.0.1", "ipv4", "loopback", 0),
        (11435, "0.0.0.0", "ipv4", "any", 0),
    ]


def test_only_the_ports_asked_for(machine_named: Callable[[str], Machine]) -> None:
    found = find_listeners(machine_named("cpu-recorded"), [11435])
    assert [one["port"] for one in found] == [11435]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        "0: 0100007F 00000000:0000 0A 0:0 0:0 0 0 0 1",
        "0: 0100007F:2CAA 00000000:0000 01 0:0 0:0 0 0 0 18143",
        "0: 01007F:2CAA 00000000:0000 0A 0:0 0:0 0 0 0 18143",
        "0: ZZ00007F:2CAA 00000000:0000 0A 0:0 0:0 0 0 0 18143",
        "0: 0100007F:2CAA 00000000:0000 0A 0:0 0:0 0 root 0 18143",
    ],
)
def test_lines_that_are_no_listener(line: str) -> None:
    assert parse_table(line) == []


def test_absent_tables_mean_no_listeners(tmp_path: Path) -> None:
    assert find_listeners(Machine(root=tmp_path, environ={}), [11434]) == []


def test_real_listener_and_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = find_listeners(Machine(), [port])
    assert (found["address"], found["scope"], found["pid"]) == ("127.0.0.1", "loopback", os.getpid())
    assert found["uid"] == os.geteuid()
    assert found["process"] == Path("/proc/self/comm").read_text().strip()
    assert find_listeners(Machine(), [port]) == []


def test_owners_in_a_made_up_proc(tmp_path: Path) -> None:
    for pid, target in ((7, "socket:[100]"), (30, "socket:[100]"), (31, "/dev/null"), (32, "socket:[200]")):
        descriptors = tmp_path / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        (descriptors / "3").symlink_to(target)
        if pid != 32:
            (tmp_path / str(pid) / "comm").write_text(f"program{pid}\n")
    (tmp_path / "self").mkdir()
    assert find_owners(tmp_path, [100, 200, 300]) == {100: (7, "program7"), 200: (32, None)}


def test_no_search_without_a_wanted_socket(tmp_path: Path) -> None:
    assert find_owners(tmp_path / "absent", [0]) == {}
