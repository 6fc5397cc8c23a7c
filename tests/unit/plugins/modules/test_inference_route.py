# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, on a record in a home of its own."""

from __future__ import annotations

import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import FIELDS
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_route

RunModule = Callable[..., "tuple[int, dict[str, Any]]"]
ROUTE = {"provider": "Custom", "base_url": "http://127.0.0.1:8080/v1/", "model": "m", "context_window": 32768}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".nemoclaw" / "local-inference.json"


@pytest.fixture
def recorded(run_module: RunModule, path: Path) -> Path:
    """Return the path of a record that is there."""
    code, result = run_module(inference_route, {**ROUTE, "path": str(path)})
    assert (code, result["changed"]) == (0, True)
    return path


def modes(path: Path) -> tuple[int, int]:
    return stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)


def test_a_first_record(run_module: RunModule, path: Path) -> None:
    code, result = run_module(inference_route, {**ROUTE, "path": str(path), "_ansible_diff": True})
    assert (code, result["changed"], result["path"]) == (0, True, str(path))
    assert tuple(result["route"]) == FIELDS
    assert result["ansible_facts"] == {"nemoclaw_route": result["route"]}
    assert json.loads(path.read_text(encoding="utf-8")) == {"schema": 1, **result["route"]}
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == path.read_text(encoding="utf-8")
    assert modes(path) == (0o600, 0o700)


def test_the_same_again_changes_nothing(run_module: RunModule, recorded: Path) -> None:
    before = recorded.stat()
    code, result = run_module(inference_route, {**ROUTE, "path": str(recorded), "_ansible_diff": True})
    assert (code, result["changed"]) == (0, False)
    assert result["diff"]["before"] == result["diff"]["after"]
    after = recorded.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "it was written all the same"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model", "another"),
        ("base_url", "http://127.0.0.1:8081/v1"),
        ("base_url_sandbox", "http://10.0.0.1:8080/v1"),
        ("sandbox_host", "host.docker.internal"),
        ("api", "openai-responses"),
        ("timeout", 300),
        ("context_window", 65536),
        ("container", "nemoclaw-vllm"),
        ("origin", "managed"),
        ("gateway", "nemoclaw"),
        ("sandbox", "my-assistant"),
        ("provider", "vllm"),
    ],
)
def test_each_option_changes_the_record(run_module: RunModule, recorded: Path, option: str, value: Any) -> None:
    args = {**ROUTE, "path": str(recorded), option: value}
    before = recorded.read_text(encoding="utf-8")
    _code, checked = run_module(inference_route, {**args, "_ansible_check_mode": True})
    assert checked["changed"]
    assert recorded.read_text(encoding="utf-8") == before, "check mode wrote"
    code, result = run_module(inference_route, args)
    assert (code, result["changed"], result["route"]) == (0, True, checked["route"])
    assert result["diff"] == checked["diff"]
    assert result["diff"]["before"] == before
    assert not run_module(inference_route, args)[1]["changed"]


def test_check_mode_makes_no_directory(run_module: RunModule, path: Path) -> None:
    code, result = run_module(inference_route, {**ROUTE, "path": str(path), "_ansible_check_mode": True})
    assert (code, result["changed"]) == (0, True)
    assert not path.parent.exists()


@pytest.mark.parametrize(("file", "directory"), [(0o644, 0o700), (0o600, 0o755), (0o666, 0o777)])
def test_permissions_are_repaired(run_module: RunModule, recorded: Path, file: int, directory: int) -> None:
    recorded.chmod(file)
    recorded.parent.chmod(directory)
    args = {**ROUTE, "path": str(recorded)}
    assert run_module(inference_route, {**args, "_ansible_check_mode": True})[1]["changed"]
    assert modes(recorded) == (file, directory)
    assert run_module(inference_route, args)[1]["changed"]
    assert modes(recorded) == (0o600, 0o700)
    assert not run_module(inference_route, args)[1]["changed"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 99, "provider": "x", "model": "y"}', "\x00"]
)
def test_a_record_that_cannot_be_read_is_replaced(run_module: RunModule, recorded: Path, content: str) -> None:
    recorded.write_text(content, encoding="utf-8")
    code, result = run_module(inference_route, {**ROUTE, "path": str(recorded), "_ansible_diff": True})
    assert (code, result["changed"]) == (0, True)
    assert "cannot be read" in result["diff"]["before"]
    assert not run_module(inference_route, {**ROUTE, "path": str(recorded)})[1]["changed"]


def test_absent(run_module: RunModule, recorded: Path) -> None:
    args = {"state": "absent", "path": str(recorded)}
    _code, checked = run_module(inference_route, {**args, "_ansible_check_mode": True})
    assert (checked["changed"], recorded.exists()) == (True, True)
    code, result = run_module(inference_route, {**args, "_ansible_diff": True})
    assert (code, result["changed"], result["route"]) == (0, True, None)
    assert (recorded.exists(), result["diff"]["after"]) == (False, "")
    assert '"model": "m"' in result["diff"]["before"]
    assert not run_module(inference_route, args)[1]["changed"]


def test_freed(run_module: RunModule, recorded: Path, path: Path) -> None:
    ollama = {"provider": "ollama", "base_url": "http://127.0.0.1:11434/v1", "model": "o", "path": str(recorded)}
    args = {"state": "freed", "path": str(recorded)}
    others = {**args, "container": "nemoclaw-vllm"}
    assert not run_module(inference_route, args)[1]["changed"]
    run_module(inference_route, ollama)
    result = run_module(inference_route, {**ROUTE, "path": str(recorded)})[1]
    assert ("to_free" in result["route"], '"model": "o"' in recorded.read_text(encoding="utf-8")) == (False, True)
    assert not run_module(inference_route, others)[1]["changed"], "another server"
    _code, checked = run_module(inference_route, {**args, "_ansible_check_mode": True})
    assert (checked["changed"], '"model": "o"' in recorded.read_text(encoding="utf-8")) == (True, True)
    code, done = run_module(inference_route, args)
    assert (code, done["changed"], done["route"]) == (0, True, result["route"])
    assert json.loads(recorded.read_text(encoding="utf-8")) == {"schema": 1, **result["route"]}
    assert not run_module(inference_route, args)[1]["changed"]


def test_freed_without_a_record(run_module: RunModule, path: Path) -> None:
    code, result = run_module(inference_route, {"state": "freed", "path": str(path)})
    assert (code, result["changed"], result["route"]) == (0, False, None)
    path.parent.mkdir()
    path.write_text("{", encoding="utf-8")
    code, result = run_module(inference_route, {"state": "freed", "path": str(path)})
    assert (code, result["failure"]["code"], path.read_text(encoding="utf-8")) == (1, "route_record_unreadable", "{")


def test_absent_removes_what_cannot_be_read(run_module: RunModule, recorded: Path) -> None:
    recorded.write_text("{", encoding="utf-8")
    assert run_module(inference_route, {"state": "absent", "path": str(recorded)})[1]["changed"]
    assert not recorded.exists()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"provider": "openai"}, "provider_unknown"),
        ({"api": "anthropic-messages"}, "api_unsupported"),
        ({"base_url": "127.0.0.1:8080"}, "url_invalid"),
        ({"base_url": "http://user:s3cret@h/v1"}, "url_credentials"),
        ({"base_url_sandbox": "http://user:s3cret@h/v1"}, "url_credentials"),
        ({"user": "no-such-user"}, "user_unknown"),
    ],
)
def test_a_failure_leaves_the_record(run_module: RunModule, recorded: Path, args: dict[str, Any], code: str) -> None:
    before = recorded.read_bytes()
    exit_code, result = run_module(inference_route, {**ROUTE, "path": str(recorded), **args})
    assert (exit_code, result["failure"]["code"]) == (1, code)
    assert recorded.read_bytes() == before
    assert "s3cret" not in json.dumps(result)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"provider": "custom"}, "base_url, model"),
        ({**ROUTE, "state": "here"}, "state"),
        ({**ROUTE, "origin": "mine"}, "origin"),
        ({**ROUTE, "timeout": "soon"}, "timeout"),
    ],
)
def test_arguments_that_are_wrong(run_module: RunModule, path: Path, args: dict[str, Any], said: str) -> None:
    code, result = run_module(inference_route, {**args, "path": str(path)})
    assert (code, said in result["msg"]) == (1, True)
    assert not path.parent.exists()


def test_the_home_comes_from_the_passwd_database(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _code, result = run_module(inference_route, {**ROUTE, "_ansible_check_mode": True})
    assert result["path"] == f"{pwd.getpwuid(os.geteuid()).pw_dir}/.nemoclaw/local-inference.json"


def test_a_file_among_others_leaves_their_directory_open(run_module: RunModule, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    args = {**ROUTE, "path": str(tmp_path / "route.json")}
    assert run_module(inference_route, args)[1]["changed"]
    assert modes(tmp_path / "route.json") == (0o600, 0o755)
    assert not run_module(inference_route, args)[1]["changed"]
