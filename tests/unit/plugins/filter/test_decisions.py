# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.filter import decisions

SERVER: dict[str, Any] = {
    "role": "vllm",
    "provider": "install-vllm",
    "providers": ["vllm", "install-vllm"],
    "managed": True,
    "name": "nemoclaw-vllm",
    "model": "served",
    "docker_host": "",
    "gate_port": 0,
    "make_room": True,
    "sandbox_host": "host.openshell.internal",
    "timeout": 180,
}
ENGINE = {"code": None, "reachable": True}
STOPPED = {"code": "daemon_stopped", "reachable": False}
NO_ENGINE = {"code": "absent", "reachable": False}
OURS = {"provider": "install-vllm", "container": "nemoclaw-vllm"}
FAILED = {"failed": True, "msg": "It hangs."}
# On a host with an engine and its library, without a route, at the beginning.
USUAL: dict[str, Any] = {
    "is_gated": False,
    "publish": [],
    "names_before": [],
    "is_recorded": False,
    "was_gated": False,
    "instead_of": "",
    "is_served": True,
    "way": "use",
    "actions": ["look at the engine, once its Python library is installed"],
    "can_answer": False,
    "model": "",
    "is_removable": True,
    "is_out_of_sight": False,
    "is_not_removed": False,
    "name_to_remove": "nemoclaw-vllm",
    "is_freed": True,
    "route": {},
}


def decide(
    server: dict[str, Any], host: dict[str, Any], results: dict[str, Any], check_mode: bool = False
) -> dict[str, Any]:
    library = host.pop("library", "7.1.0")
    facts = {"route": None, "docker": ENGINE, "python": {"libraries": {"docker": library}}, **host}
    nothing: dict[str, Any] = {"server": {}, "done": {}, "proof": {}}
    return decisions.container_decision({**SERVER, **server}, facts, {**nothing, **results}, check_mode)


@pytest.mark.parametrize(
    ("server", "host", "results", "changed"),
    [
        ({}, {}, {}, {}),
        ({"gate_port": "8001"}, {}, {}, {"is_gated": True, "publish": ["127.0.0.1"]}),
        (
            {"managed": False},
            {},
            {"server": {"model": "x"}},
            {"is_served": False, "can_answer": True, "model": "served"},
        ),
        # What the server says
        ({}, {}, {"server": {"phase": "loading", "actions": ["create x"]}}, {"actions": ["create x"]}),
        ({}, {}, {"server": {"phase": "ready", "model": "x"}}, {"can_answer": True, "model": "x"}),
        ({}, {}, {"server": {"phase": "ready", "provisional": True}}, {"can_answer": True, "way": "replace"}),
        # What is recorded
        (
            {},
            {"route": OURS},
            {},
            {"is_recorded": True, "names_before": ["nemoclaw-vllm"], "instead_of": "nemoclaw-vllm"},
        ),
        ({"make_room": False}, {"route": OURS}, {}, {"is_recorded": True, "names_before": ["nemoclaw-vllm"]}),
        ({"make_room": "false"}, {"route": OURS}, {}, {"is_recorded": True, "names_before": ["nemoclaw-vllm"]}),
        ({}, {"route": {"provider": "nim", "container": "a"}}, {}, {"instead_of": "a"}),
        ({}, {"route": {"provider": "vllm", "container": None}}, {}, {"is_recorded": True}),
        (
            {},
            {
                "route": {
                    "provider": "custom",
                    "to_free": [{"provider": "nim", "container": "n"}, {**OURS, "container": "b"}],
                }
            },
            {},
            {"names_before": ["b"], "name_to_remove": "b"},
        ),
        (
            {},
            {"route": {**OURS, "base_url_host": "http://127.0.0.1:8000/v1", "base_url_sandbox": "http://h:8001/v1"}},
            {},
            {"is_recorded": True, "was_gated": True, "names_before": ["nemoclaw-vllm"], "instead_of": "nemoclaw-vllm"},
        ),
        (
            {},
            {
                "route": {
                    "provider": "nim",
                    "base_url_host": "http://127.0.0.1:1/v1",
                    "base_url_sandbox": "http://h:2/v1",
                }
            },
            {},
            {},
        ),
        # What can be removed
        ({}, {"docker": NO_ENGINE}, {}, {"is_removable": False}),
        ({"docker_host": "tcp://h:1"}, {"docker": NO_ENGINE}, {}, {}),
        ({}, {"docker": STOPPED}, {}, {"is_removable": False, "is_out_of_sight": True}),
        ({}, {"library": None}, {}, {"is_removable": False, "is_out_of_sight": True}),
        # An engine that is only stopped would start what is recorded again, so that is tried, and is an error.
        (
            {},
            {"docker": STOPPED, "route": OURS},
            {"done": FAILED},
            {
                "is_recorded": True,
                "names_before": ["nemoclaw-vllm"],
                "instead_of": "nemoclaw-vllm",
                "is_not_removed": True,
                "is_freed": False,
            },
        ),
        ({}, {"docker": NO_ENGINE}, {"done": FAILED}, {"is_removable": False}),
        ({}, {}, {"done": {"failed": False}}, {}),
    ],
)
def test_the_container(
    server: dict[str, Any], host: dict[str, Any], results: dict[str, Any], changed: dict[str, Any]
) -> None:
    found = decide(server, host, results)
    del found["left_in_words"]
    assert found == {**USUAL, **changed}


@pytest.mark.parametrize(
    ("library", "check_mode", "expected"), [(None, True, False), (None, False, True), ("7.1.0", True, True)]
)
def test_a_library_that_is_still_to_come(library: str | None, check_mode: bool, expected: bool) -> None:
    found = decide({}, {"library": library}, {"server": {"phase": "ready"}}, check_mode)
    assert (found["is_served"], found["can_answer"]) == (expected, expected)


@pytest.mark.parametrize(
    ("done", "check_mode", "begins"),
    [
        ({}, False, "is stopped, which frees its GPU."),
        ({}, True, "would be stopped, which frees its GPU."),
        (FAILED, False, "was not stopped, and the next run tries it again: It hangs."),
        ({"failed": True}, True, "was not stopped, and the next run tries it again: no reason was given"),
    ],
)
def test_what_became_of_a_container(done: dict[str, Any], check_mode: bool, begins: str) -> None:
    assert decide({}, {}, {"done": done}, check_mode)["left_in_words"].startswith(begins)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (
            {},
            {
                "base_url_sandbox": "http://host.openshell.internal:8000/v1",
                "container": "nemoclaw-vllm",
                "origin": "managed",
            },
        ),
        (
            {"gate_port": 8001, "managed": False, "provider": "vllm"},
            {"base_url_sandbox": "http://host.openshell.internal:8001/v1", "container": None, "origin": "external"},
        ),
    ],
)
def test_the_route_of_a_container(server: dict[str, Any], expected: dict[str, Any]) -> None:
    proof = {"base_url": "http://127.0.0.1:8000/v1", "model": "m", "context_window": 4096}
    found = decide(server, {}, {"proof": proof})["route"]
    assert {name: found[name] for name in expected} == expected
    assert (found["model"], found["timeout"], found["context_window"]) == ("m", 180, 4096)


@pytest.mark.parametrize(
    ("mode", "user", "expected"),
    [("system", "lab", "root"), ("system", "", "root"), ("user", "lab", "lab"), ("user", "", "")],
)
def test_as_whom_a_program_is_installed(mode: str, user: str, expected: str) -> None:
    assert decisions.installs_as(mode, user) == expected


@pytest.mark.parametrize(
    ("unit", "account", "skip", "has", "rotates"),
    [
        (True, True, False, True, True),
        (True, False, True, True, True),
        (False, True, True, True, False),
        (False, False, True, False, False),
        (False, False, False, False, True),
    ],
)
def test_the_auth_proxy(unit: bool, account: bool, skip: bool, has: bool, rotates: bool) -> None:
    proxy = {"unit": unit, "account": account}
    assert (decisions.has_auth_proxy(proxy), decisions.rotates_token(proxy, skip)) == (has, rotates)


@pytest.mark.parametrize(
    ("path", "backend", "expected"),
    [
        (None, "auto", True),
        ("/usr/bin/nemoclaw", "auto", False),
        ("/usr/bin/nemoclaw", "openshell", True),
        (None, "openshell", True),
    ],
)
def test_whether_openshell_is_installed(path: str | None, backend: str, expected: bool) -> None:
    assert decisions.installs_openshell({"nemoclaw": {"path": path}}, backend) == expected


@pytest.mark.parametrize(
    ("result", "check_mode", "expected"),
    [
        ({}, True, False),
        ({"changed": False}, True, False),
        ({"changed": True}, True, True),
        ({"changed": True}, False, False),
    ],
)
def test_what_check_mode_left_out(result: dict[str, Any], check_mode: bool, expected: bool) -> None:
    assert decisions.is_to_come(result, check_mode) == expected


@pytest.mark.parametrize(
    ("result", "is_wanted", "expected"),
    [
        ({"failure": {"firewall": "ufw"}}, True, True),
        ({"failure": {"firewall": "firewalld"}}, True, True),
        ({"failure": {"firewall": "ufw"}}, False, False),
        ({"failure": {"firewall": "nftables"}}, True, False),
        ({"failure": {"firewall": None}}, True, False),
        ({"failure": {"code": "x"}}, True, False),
        # An option of a wrong type, or a user that cannot be become.
        ({"msg": "x"}, True, False),
    ],
)
def test_whether_the_firewall_is_opened(result: dict[str, Any], is_wanted: bool, expected: bool) -> None:
    assert decisions.opens_firewall(result, is_wanted) == expected
