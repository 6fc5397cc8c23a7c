# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a server that is open to the network, and why it is: by what it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import (
    exposed,
    open_listeners,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import dropin
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import write_drop_in
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.service import kept_environment
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch.look import find_engines

LOOPBACK, ANY, BRIDGE = ({"scope": scope} for scope in ("loopback", "any", "address"))


@pytest.mark.parametrize(
    ("listeners", "has_gate", "found"),
    [
        ([LOOPBACK], True, []),
        ([LOOPBACK, ANY], True, [ANY]),
        ([LOOPBACK, BRIDGE], True, [BRIDGE]),
        ([LOOPBACK, BRIDGE], False, []),
        ([LOOPBACK, ANY], False, [ANY]),
    ],
)
def test_who_is_open_to_the_network(listeners: list[Any], has_gate: bool, found: list[Any]) -> None:
    assert open_listeners(listeners, has_gate) == found


HEXADECIMAL = {
    "127.0.0.1": "0100007F",
    "0.0.0.0": "00000000",
    "10.0.0.5": "0500000A",
    "::1": "00000000000000000000000001000000",
    "::": "0" * 32,
}
ROOT, OLLAMA, LAB, MALLORY = 0, 998, 1000, 1001


@pytest.mark.parametrize(
    ("listeners", "engines"),
    [
        # Any user may have the other addresses of the engine's port.
        ([("127.0.0.1", OLLAMA), ("10.0.0.5", MALLORY)], []),
        ([("127.0.0.1", OLLAMA), ("10.0.0.5", ROOT)], []),
        ([("127.0.0.1", OLLAMA), ("::", MALLORY)], []),
        ([("10.0.0.5", MALLORY)], []),
        # The engine itself, which nobody is with who has the other loopback.
        ([("0.0.0.0", OLLAMA)], ["0.0.0.0"]),
        ([("::1", MALLORY), ("0.0.0.0", OLLAMA)], ["0.0.0.0"]),
        ([("127.0.0.1", OLLAMA), ("10.0.0.5", OLLAMA), ("::", MALLORY)], ["10.0.0.5"]),
        # Docker publishes as root; who set all of it up runs it by hand; or somebody runs what answers.
        ([("127.0.0.1", ROOT), ("10.0.0.5", ROOT)], ["10.0.0.5"]),
        ([("0.0.0.0", LAB)], ["0.0.0.0"]),
        ([("127.0.0.1", MALLORY), ("10.0.0.5", MALLORY)], ["10.0.0.5"]),
    ],
)
def test_which_listener_is_the_engine(tmp_path: Path, listeners: list[tuple[str, int]], engines: list[str]) -> None:
    (tmp_path / "proc" / "net").mkdir(parents=True)
    for name, is_long in (("tcp", False), ("tcp6", True)):
        lines = [
            f" 0: {HEXADECIMAL[address]}:2CAA 0:0000 0A 0:0 0:0 0 {uid} 0 0"
            for address, uid in listeners
            if (":" in address) is is_long
        ]
        (tmp_path / "proc" / "net" / name).write_text("\n".join(["head", *lines, ""]))
    found = find_engines(Machine(root=tmp_path), 11434, "127.0.0.1", LAB)
    assert [one["address"] for one in found] == engines


@pytest.mark.parametrize(
    ("process", "arguments", "environment", "cgroup", "says"),
    [
        ("ollama", "ollama|serve", "OLLAMA_HOST=0.0.0.0", "0::/system.slice/ollama.service", "in ollama.service"),
        ("ollama", "ollama|serve", "OLLAMA_HOST=0.0.0.0", "0::/", "was started with OLLAMA_HOST=0.0.0.0"),
        ("python3", "vllm|serve|m|--host|0.0.0.0", "A=b", "0::/", "started with --host 0.0.0.0"),
        (
            "python3",
            "vllm|serve|--host=::",
            "A=b",
            "0::/user.slice/x.scope",
            "no service and was started with --host=::",
        ),
        ("vllm", "vllm|serve|m", "A=b", "0::/", "no address of its own"),
        ("docker-proxy", "docker-proxy|-proto|tcp|-container-ip|172.17.0.2", "", "0::/", "container at 172.17.0.2"),
    ],
)
def test_the_reason_is_in_what_it_was_started_with(
    tmp_path: Path, process: str, arguments: str, environment: str, cgroup: str, says: str
) -> None:
    proc = tmp_path / "proc" / "7"
    proc.mkdir(parents=True)
    (proc / "cmdline").write_text(arguments.replace("|", "\0") + "\0")
    (proc / "environ").write_text(environment + "\0")
    (proc / "cgroup").write_text(cgroup + "\n")
    row = {"address": "0.0.0.0", "port": 8000, "user": "lab", "uid": 1000, "pid": 7, "process": process}
    failure = exposed(Machine(root=tmp_path), 8000, [row])
    assert failure.code == "engine_exposed"
    assert says in failure.message
    assert f"{process} (process 7) of the user lab listens on 0.0.0.0" in failure.message


def test_what_is_not_to_be_seen_is_said() -> None:
    row = {"address": "::", "port": 1, "user": None, "uid": 1000, "pid": None, "process": None}
    assert "a process of the user 1000 listens on ::. This user cannot see why" in exposed(Machine(), 1, [row]).message


def test_the_variables_of_our_drop_in_are_kept(tmp_path: Path) -> None:
    machine = Machine(root=tmp_path)
    set_before = {"OLLAMA_HOST": "127.0.0.1:1", "OLLAMA_MODELS": '/a "b" 10%\\', "OLLAMA_CONTEXT_LENGTH": "16384"}
    assert kept_environment(machine) == {}
    write_drop_in(machine, dropin.path_for("ollama.service"), dropin.render(set_before))
    assert kept_environment(machine) == {name: value for name, value in set_before.items() if name != "OLLAMA_HOST"}
    # What was taken over from a daemon started by hand stays by its mark, and is not turned into a setting.
    write_drop_in(machine, dropin.path_for("ollama.service"), dropin.render(set_before, {"OLLAMA_DEBUG": "1"}))
    assert "OLLAMA_DEBUG" not in kept_environment(machine)
