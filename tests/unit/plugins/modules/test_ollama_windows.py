# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module with a stand-in for powershell.exe on PATH, and what it refuses before it asks Windows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_windows

sys.path.insert(0, str(Path(__file__).parents[3] / "servers"))
import powershell_double

RunModule = Callable[[ModuleType, "dict[str, Any]"], "tuple[int, dict[str, Any]]"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the state of a Windows machine with Ollama, which this host believes to be around it."""
    laptop = powershell_double.laptop("installed")
    path = powershell_double.install(tmp_path, laptop, python=sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("WSL_DISTRO_NAME", "Ubuntu")
    yield path


def test_detected(run_module: RunModule, state: Path) -> None:
    code, result = run_module(ollama_windows, {})
    assert code == 0
    assert (result["changed"], result["actions"], result["restarted"]) == (False, [], False)
    assert (result["installed"], result["running"], result["bind"], result["reachable"]) == (True, False, None, False)
    assert (result["found_by"], result["windows_user"]) == ("command", "LAPTOP\\J\u00f6rg M\u00fcller")
    assert result["app"].endswith("\\ollama app.exe")
    assert result["variable"] == {"before": None, "after": None}
    assert json.loads(state.read_text())["calls"] == ["look"]


def test_check_mode_plans_and_changes_nothing(run_module: RunModule, state: Path) -> None:
    arguments = {"state": "installed", "_ansible_check_mode": True, "_ansible_diff": True}
    code, result = run_module(ollama_windows, arguments)
    assert (code, result["changed"]) == (0, True)
    assert [action.split()[0] for action in result["actions"]] == ["set", "start"]
    assert result["diff"]["before"]["bind"] is None
    assert result["diff"]["after"] == {"installed": True, "bind": "all", "OLLAMA_HOST": "0.0.0.0:11434"}
    assert set(json.loads(state.read_text())["calls"]) == {"look"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"port": 0}, "port_invalid"),
        ({"host": "a b"}, "ollama_host_invalid"),
        ({"tries": 0}, "windows_limit_invalid"),
        ({"timeout": 1}, "windows_limit_invalid"),
        ({"url": "ftp://mirror/install.ps1"}, "url_invalid"),
        ({"url": "http://mirror.lan/install.ps1"}, "checksum_missing"),
        ({"checksum": "md5:1"}, "checksum_invalid"),
        ({"version": "newest"}, "version_invalid"),
        ({"user": "nobody-of-that-name"}, "user_unknown"),
    ],
)
def test_bad_options_never_reach_windows(
    run_module: RunModule, state: Path, options: dict[str, Any], code: str
) -> None:
    status, result = run_module(ollama_windows, {"state": "installed", **options})
    assert (status, result["failure"]["code"]) == (1, code)
    assert result["msg"] == result["failure"]["message"]
    assert json.loads(state.read_text())["calls"] == []


def test_a_failure_brings_commands_for_a_person(run_module: RunModule, state: Path) -> None:
    laptop = json.loads(state.read_text())
    stranger = {"address": "0.0.0.0", "port": 11434, "pid": 4, "process": "svchost"}
    state.write_text(json.dumps({**laptop, "listeners": [stranger]}))
    status, result = run_module(ollama_windows, {"state": "running"})
    assert (status, result["failure"]["code"]) == (1, "windows_port_taken")
    assert result["failure"]["listeners"] == [stranger]
    assert any(command.startswith("Get-NetTCPConnection") for command in result["failure"]["diagnosis"])
