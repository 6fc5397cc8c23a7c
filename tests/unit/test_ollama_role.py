# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ollama makes of a host's facts, by the expressions of the role itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[2] / "roles" / "ollama"

# A process of its own, as in test_contracts.py.
_RESOLVER = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

init_plugin_loader()
loader = DataLoader()
variables = {}
for part in ("defaults", "vars"):
    variables.update(loader.load_from_file(f"{sys.argv[1]}/{part}/main.yml", trusted_as_template=True))
case = json.load(sys.stdin)
templar = Templar(loader=loader, variables={**variables, **case["known"]})
print(json.dumps({name: templar.template(variables[name]) for name in case["asked"]}))
"""

HOST: dict[str, Any] = {
    "platform": "linux",
    "platform_evidence": "the test says so",
    "problems": {},
    "wsl": None,
    "systemd": True,
    "docker": {"kind": "native", "reachable": True, "code": None, "reason": ""},
    "user": {"name": "me", "home": "/home/me"},
    "route": None,
    "ollama": {
        "path": "/usr/local/bin/ollama",
        "client_version": "0.32.9",
        "daemon_version": "0.32.9",
        "problem": None,
        "recorded_version": None,
        "kept_version": None,
        "damage": None,
        "checksum": "sha256:00",
        "windows": None,
        "both_running": False,
    },
}


def resolve(*names: str, ollama: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **known: Any) -> Any:
    facts = {**HOST, **(host or {}), "ollama": {**HOST["ollama"], **(ollama or {})}}
    known = {"ansible_check_mode": False, "ansible_facts": {"nemoclaw_host": facts}, **known}
    answer = subprocess.run(
        [sys.executable, "-c", _RESOLVER, str(ROLE)],
        input=json.dumps({"known": known, "asked": names}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    return found[names[0]] if len(names) == 1 else [found[name] for name in names]


@pytest.mark.parametrize(
    ("ollama", "settings", "wanted"),
    [
        ({}, {}, False),
        ({"client_version": None, "daemon_version": None}, {}, True),
        ({"daemon_version": "0.31.1"}, {}, True),
        ({"client_version": "0.33.0", "daemon_version": "0.33.0"}, {}, False),
        ({"kept_version": "0.31.1"}, {}, True),  # nobody has proved what replaced it
        ({"damage": "/usr/local/lib/ollama/libggml-base.so is missing"}, {}, True),
        ({}, {"ollama_reinstall": True}, True),
        ({}, {"ollama_install_checksum": "sha256:00"}, False),
        ({}, {"ollama_install_checksum": "sha256:11"}, True),
        ({"checksum": None}, {"ollama_install_checksum": "sha256:11"}, False),
        ({"client_version": "0.33.0"}, {"ollama_install_checksum": "sha256:11"}, False),
    ],
)
def test_what_has_ollama_installed(ollama: dict[str, Any], settings: dict[str, Any], wanted: bool) -> None:
    assert resolve("__ollama_wants_install", ollama=ollama, **settings) is wanted


@pytest.mark.parametrize(
    ("recorded", "changed", "before", "origin"),
    [
        (None, True, None, "managed"),
        ("0.32.9", False, None, "managed"),  # the first installation was broken off before the route was recorded
        (None, False, None, "external"),
        (None, False, "managed", "managed"),
        ("0.32.9", False, "external", "managed"),
    ],
)
def test_whose_installation_is_recorded(recorded: str | None, changed: bool, before: str | None, origin: str) -> None:
    route = {"provider_name": "ollama-local", "model": "m", "origin": before} if before else None
    known = {
        "__ollama_installed": {"changed": changed},
        "__ollama_on_windows": {},
        "__ollama_loaded": {"model": "m", "loaded": None},
        "ollama_timeout": 180,
    }
    found = resolve("__ollama_route", ollama={"recorded_version": recorded}, host={"route": route}, **known)
    assert found["origin"] == origin
