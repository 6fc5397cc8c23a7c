# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules proxy_token and proxy_gate: what they give back, and what they keep to themselves."""

from __future__ import annotations

import grp
import json
import os
import re
import socket
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.modules import proxy_gate, proxy_token

RunModule = Callable[..., tuple[int, dict[str, Any]]]
TOKEN = "0123456789abcdef" * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o644)
    return path


@pytest.mark.parametrize("state", ["present", "prepared", "rotated", "absent"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_no_result_shows_a_token(run_module: RunModule, file: Path, state: str, check_mode: bool) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    arguments = {"path": str(file), "state": state, "gate_path": f"{file}.gate", "gate_group": group}
    code, result = run_module(
        proxy_token, {**arguments, "_ansible_diff": True, "_ansible_verbosity": 4, "_ansible_check_mode": check_mode}
    )
    assert (code, result["changed"]) == (0, True)
    assert TOKEN not in json.dumps(result)
    assert not file.exists() or file.read_text().strip() not in json.dumps(result)
    assert result["diff"]["before"] != result["diff"]["after"]


def test_the_token_is_returned_to_whoever_asks(run_module: RunModule, file: Path) -> None:
    assert run_module(proxy_token, {"path": str(file), "return_content": True})[1]["token"] == TOKEN


def test_a_failure_of_the_token_has_its_code(run_module: RunModule, file: Path) -> None:
    file.write_text("x")
    code, result = run_module(proxy_token, {"path": str(file)})
    assert (code, result["failure"]["code"], result["msg"]) == (1, "token_invalid", result["failure"]["message"])


def test_a_stranger_on_the_port_is_named(run_module: RunModule, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        gates = [{"name": "ollama", "port": port}]
        code, result = run_module(proxy_gate, {"state": "free", "gates": gates})
    assert (code, result["failure"]["code"], result["failure"]["pid"]) == (1, "port_taken", os.getpid())
    code, result = run_module(proxy_gate, {"state": "free", "gates": gates})
    assert (code, result["changed"], result["stopped"]) == (0, False, [])
    code, result = run_module(proxy_gate, {"gates": gates, "path": str(file), "timeout": 0})
    assert (code, result["failure"]["code"]) == (1, "proxy_refused")
    assert TOKEN not in json.dumps(result)


@pytest.mark.parametrize("state", ["present", "checked", "free", "loopback", "compared", "serving"])
def test_a_state_that_is_about_servers_needs_their_names(run_module: RunModule, state: str) -> None:
    """Without them nothing would be proved, and with V(present) the configuration would lose those that it has."""
    code, result = run_module(proxy_gate, {"state": state})
    assert (code, "gates" in result["msg"]) == (1, True)


@pytest.mark.parametrize(
    ("gates", "says"), [([], "at least one server"), ([{"name": "ollama", "port": 11435}], "not set for ollama")]
)
def test_servers_that_nothing_can_be_put_before_are_refused(
    run_module: RunModule, gates: list[dict[str, Any]], says: str
) -> None:
    code, result = run_module(proxy_gate, {"state": "checked", "gates": gates})
    assert (code, result["failure"]["code"]) == (1, "proxy_settings_invalid")
    assert says in result["msg"]


@pytest.fixture
def keep(run_module: RunModule, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs proxy_token on files of this test, and returns its result, which shows no token but the one asked for."""
    common = {
        "path": str(tmp_path / ".nemoclaw/ollama-proxy-token"),
        "gate_path": str(tmp_path / "gate.tokens"),
        "gate_group": grp.getgrgid(os.getegid()).gr_name,
        "_ansible_diff": True,
    }

    def run(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        _code, result = run_module(proxy_token, {**common, "_ansible_check_mode": check_mode, **options})
        shown = {name: value for name, value in result.items() if name != "token"}
        assert not re.search(r"[0-9a-f]{48}", json.dumps(shown))
        return result

    return run


def test_a_token_from_its_making_to_its_end(keep: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    file, gate = tmp_path / ".nemoclaw/ollama-proxy-token", tmp_path / "gate.tokens"
    planned = keep(check_mode=True)
    assert (planned["changed"], planned["gate_changed"], planned["fingerprint"]) == (True, True, None)
    assert (planned["diff"]["before"], "a new one" in planned["diff"]["after"]) == ("", True)
    assert list(tmp_path.iterdir()) == []
    made, again = keep(), keep(return_content=True)
    assert (made["changed"], again["changed"], again["gate_changed"]) == (True, False, False)
    assert made["fingerprint"] == again["fingerprint"]
    assert [oct(one.stat().st_mode & 0o777) for one in (file, file.parent, gate)] == ["0o600", "0o700", "0o640"]
    assert file.read_text() == again["token"] + "\n"
    assert f'"Bearer {again["token"]}" 1;' in gate.read_text()
    rotated = [keep(state="rotated", check_mode=True), keep(state="rotated"), keep()]
    assert [one["changed"] for one in rotated] == [True, True, False]
    assert [one["previous_fingerprint"] for one in rotated[1:]] == [made["fingerprint"]] * 2
    assert rotated[1]["fingerprint"] != made["fingerprint"]
    assert all(f'"Bearer {one}" 1;' in gate.read_text() for one in (again["token"], file.read_text().strip()))
    dropped = [keep(overlap=0), keep(overlap=0)]
    assert ([one["changed"] for one in dropped], dropped[0]["previous_fingerprint"]) == ([True, False], None)
    assert again["token"] not in gate.read_text()
    gone = [keep(state="absent", check_mode=True), keep(state="absent"), keep(state="absent")]
    assert [one["changed"] for one in gone] == [True, True, False]
    assert list(tmp_path.rglob("*token*")) == []


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("token_invalid", {}),
        ("user_unknown", {"user": "nobody-of-that-name"}),
        ("group_unknown", {"gate_group": "nobody-of-that-name"}),
        ("token_unreadable", {"path": ".nemoclaw"}),
        ("token_unwritable", {"path": "absent/token"}),
        ("gate_unwritable", {"path": "token", "gate_path": "absent/gate"}),
    ],
)
def test_what_stops_a_token(
    keep: Callable[..., dict[str, Any]], tmp_path: Path, code: str, options: dict[str, str]
) -> None:
    file = tmp_path / ".nemoclaw/ollama-proxy-token"
    file.parent.mkdir(0o700)
    file.write_text("half-a-token-canary")
    file.chmod(0o600)
    given = {name: str(tmp_path / value) if name.endswith("path") else value for name, value in options.items()}
    result = keep(**given)
    assert result["failure"]["code"] == code
    assert "token-canary" not in json.dumps(result)
    assert file.read_text() == "half-a-token-canary"
    renewed = keep(state="rotated")
    assert (renewed["changed"], renewed["previous_fingerprint"]) == (True, None)
