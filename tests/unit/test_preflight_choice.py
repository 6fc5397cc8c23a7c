# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the provider C(auto) means on a host, by the expression of the role itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VARIABLES = Path(__file__).resolve().parents[2] / "roles" / "preflight" / "vars" / "main.yml"

# A process of its own, as in test_contracts.py.
_RESOLVER = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

init_plugin_loader()
loader = DataLoader()
variables = loader.load_from_file(sys.argv[1], trusted_as_template=True)
hosts = json.load(sys.stdin)
known = {"__preflight_provider": "auto", "preflight_keep_route": False}
print(json.dumps([
    Templar(loader=loader, variables={**variables, **known, "ansible_facts": {"nemoclaw_host": host}})
    .template(variables["__preflight_choice"])
    for host in hosts
]))
"""

OURS = {"provider": "install-vllm", "container": "nemoclaw-vllm", "base_url_host": "http://127.0.0.1:8000/v1"}


def host(vllm: bool = False, ollama: str | None = None, path: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "wsl": None,
        "docker": {"kind": "native"},
        "ollama": {"windows": None, "both_running": False, "daemon_version": ollama, "path": path},
        "vllm": {"running": vllm},
        "route": None,
        "listeners": [{"port": 8000}] if vllm else [],
        **more,
    }


@pytest.fixture(scope="module")
def chosen() -> list[dict[str, str]]:
    hosts = [given for given, _provider in CASES]
    done = subprocess.run(
        [sys.executable, "-c", _RESOLVER, str(VARIABLES)],
        input=json.dumps(hosts),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


CASES = [
    (host(), "install-ollama"),
    (host(path="/usr/local/bin/ollama"), "ollama"),
    (host(ollama="0.32.9", vllm=True), "ollama"),
    (host(vllm=True), "vllm"),
    (host(vllm=True, route={**OURS, "provider": "vllm", "container": None}), "vllm"),
    # Ours, and running: it stays ours. A NIM does not say that it is a vLLM.
    (host(vllm=True, route=OURS), "install-vllm"),
    (host(route={**OURS, "provider": "nim"}, listeners=[{"port": 8000}]), "nim"),
    # Ours, and stopped, or on another port than the one that runs.
    (host(route=OURS), "install-ollama"),
    (host(vllm=True, route={**OURS, "base_url_host": "http://127.0.0.1:8009/v1"}), "vllm"),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_auto(chosen: list[dict[str, str]], number: int) -> None:
    assert chosen[number]["provider"] == CASES[number][1]
    assert chosen[number]["reason"].startswith("because ")
