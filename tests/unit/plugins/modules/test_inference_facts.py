# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, on the machine that runs the tests."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_facts

RunModule = Callable[..., "tuple[int, dict[str, Any]]"]


def test_facts_of_this_host(run_module: RunModule) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, result = run_module(inference_facts, {"ports": [port], "ollama_port": port})
    host = result["ansible_facts"]["nemoclaw_host"]
    assert (code, result["changed"]) == (0, False)
    assert [(one["port"], one["address"], one["pid"]) for one in host["listeners"]] == [
        (port, "127.0.0.1", os.getpid())
    ]
    assert host["user"]["uid"] == os.geteuid()
    assert host["kernel"] == os.uname().release
    assert host["ollama"]["daemon_version"] is None
    assert "timed out" in host["ollama"]["problem"]


def test_check_mode_tells_the_same(run_module: RunModule) -> None:
    def steady(result: dict[str, Any]) -> dict[str, Any]:
        host = result["ansible_facts"]["nemoclaw_host"]
        return {key: host[key] for key in ("platform", "profile", "architecture", "user", "docker", "python", "route")}

    _code, real = run_module(inference_facts, {})
    code, checked = run_module(inference_facts, {"_ansible_check_mode": True})
    assert (code, checked["changed"]) == (0, False)
    assert steady(checked) == steady(real)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"user": "no-such-user-anywhere"}, "user_unknown"),
        ({"ports": [11434, 0]}, "port_invalid"),
        ({"ports": [65536]}, "port_invalid"),
        ({"ollama_port": -1}, "port_invalid"),
    ],
)
def test_refusals(run_module: RunModule, args: dict[str, Any], code: str) -> None:
    exit_code, result = run_module(inference_facts, args)
    assert (exit_code, result["failed"], result["failure"]["code"]) == (1, True, code)
    assert result["msg"] == result["failure"]["message"]


def test_refuses_macos(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_facts, "Machine", lambda: Machine(system="Darwin"))
    exit_code, result = run_module(inference_facts, {})
    assert (exit_code, result["failure"]["code"]) == (1, "platform_unsupported")


def test_every_fact_is_documented(run_module: RunModule) -> None:
    _code, result = run_module(inference_facts, {})
    beside = Path(inference_facts.__file__).with_suffix(".yml").read_text(encoding="utf-8")
    documented = yaml.safe_load(beside)["RETURN"]["ansible_facts"]["contains"]["nemoclaw_host"]
    assert documented_keys(documented) == fact_keys(result["ansible_facts"]["nemoclaw_host"], documented)


def documented_keys(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: documented_keys(child) for name, child in entry.get("contains", {}).items()}


def fact_keys(value: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a fact as deep as the documentation goes; what is absent on this host counts as documented."""
    children = entry.get("contains", {})
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or not children:
        return documented_keys(entry)
    return {name: fact_keys(value[name], children.get(name, {})) for name in value}


def test_domain_code_knows_nothing_of_ansible_modules() -> None:
    package = Path(inference_facts.__file__).parents[1] / "module_utils" / "host"
    sources = list(package.glob("*.py"))
    assert sources
    imports = re.compile(r"^\s*(?:from|import) ansible\.", re.MULTILINE)
    assert [path.name for path in sources if imports.search(path.read_text())] == []
