# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules proxy_token and proxy_gate: what they give back, and what they keep to themselves."""

from __future__ import annotations

import grp
import json
import os
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
