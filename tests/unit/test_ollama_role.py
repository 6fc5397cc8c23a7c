# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ollama makes of a host's facts, by the expressions of the role itself."""

from __future__ import annotations

import functools
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
for line in sys.stdin:
    case = json.loads(line)
    templar = Templar(loader=loader, variables={**variables, **case["known"]})
    print(json.dumps({name: templar.template(variables[name]) for name in case["asked"]}), flush=True)
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


@functools.lru_cache(maxsize=1)
def _resolver() -> subprocess.Popen[str]:
    """Start the process that resolves for all tests; it ends with its standard input."""
    command = [sys.executable, "-c", _RESOLVER, str(ROLE)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def resolve(*names: str, ollama: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **known: Any) -> Any:
    facts = {**HOST, **(host or {}), "ollama": {**HOST["ollama"], **(ollama or {})}}
    known = {"ansible_check_mode": False, "ansible_facts": {"nemoclaw_host": facts}, **known}
    process = _resolver()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"known": known, "asked": names}) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        _resolver.cache_clear()
        pytest.fail("the expressions cannot be resolved; see the standard error of the process above")
    found = json.loads(line)
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


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [16384, {}]),
        ({"ollama_context_length": 8192}, [0, {"OLLAMA_CONTEXT_LENGTH": 8192}]),
        ({"ollama_context_length": -1}, [0, {}]),
    ],
)
def test_what_the_service_is_asked_for_about_the_context(settings: dict[str, Any], wanted: list[Any]) -> None:
    assert resolve("__ollama_wanted_context", "__ollama_variables", **settings) == wanted


@pytest.mark.parametrize(
    ("settings", "served", "wanted"),
    [
        ({}, None, "15m"),
        ({}, "-1", "-1"),  # the owner's OLLAMA_KEEP_ALIVE
        ({"ollama_keep_alive": "5m"}, "-1", "5m"),
    ],
)
def test_how_long_the_model_stays(settings: dict[str, Any], served: str | None, wanted: str) -> None:
    assert resolve("__ollama_keep_alive", __ollama_served={"keep_alive": served}, **settings) == wanted


@pytest.mark.parametrize(
    ("plan", "model", "wanted"),
    [
        ({"model": "qwen2.5:7b", "size": 4_683_073_184}, "auto", {"model": "qwen2.5:7b", "size": 4_683_073_184}),
        ({"skipped": True}, "a:1b", {"model": "a:1b", "size": 0}),
        ({"model": "a:1b", "size": None}, "a:1b", {"model": "a:1b", "size": 0}),
        ({}, "auto", {"model": "", "size": 0}),
    ],
)
def test_the_model_that_memory_is_estimated_for(plan: dict[str, Any], model: str, wanted: dict[str, Any]) -> None:
    assert resolve("__ollama_expected", __ollama_plan=plan, ollama_model=model) == wanted


@pytest.mark.parametrize(
    ("loaded", "left"),
    [
        ({"model": "new:1b", "loaded": {"name": "new:1b"}}, True),
        ({"model": "old:1b", "loaded": {"name": "old:1b"}}, False),
        (
            {"model": "new:1b", "loaded": {"name": "old:1b"}},
            False,
        ),  # they share a runner: unloading the one ends the other
        ({"model": "new:1b", "loaded": None}, True),
    ],
)
def test_whether_the_model_before_is_unloaded(loaded: dict[str, Any], left: bool) -> None:
    route = {"provider_name": "ollama-local", "model": "old:1b", "base_url_host": "http://127.0.0.1:11434/v1"}
    assert resolve("__ollama_is_left", host={"route": route}, __ollama_loaded=loaded) is left


@pytest.mark.parametrize(
    ("changed", "before", "check", "tried"),
    [
        (True, None, False, True),
        (True, "other:1b", False, True),
        (True, "bad:1b", False, False),  # the route that still holds uses it
        (False, None, False, False),  # it was in memory before
        (True, None, True, False),
    ],
)
def test_which_refused_model_is_taken_out_of_memory(
    changed: bool, before: str | None, check: bool, tried: bool
) -> None:
    route = {"provider_name": "ollama-local", "model": before} if before else None
    loaded = {"changed": changed, "model": "bad:1b", "loaded": {"name": "bad:1b"}, "progress": None}
    known = {"__ollama_loaded": loaded, "ansible_check_mode": check}
    assert resolve("__ollama_is_tried_only", host={"route": route}, **known) is tried


@pytest.mark.parametrize(
    ("progress", "unloaded", "deleted", "said"),
    [
        (None, {"changed": True}, {"skipped": True}, "bad:1b was taken out of memory and stays on the disk (4.36 GB). 'ollama rm bad:1b'"),
        ({"phase": "done"}, {"changed": True}, {"skipped": True}, "with ollama_remove_refused: true a run deletes what it has downloaded"),
        ({"phase": "done"}, {"changed": True}, {"changed": True}, "What was downloaded of bad:1b is deleted again."),
        ({"phase": "done"}, {"changed": True}, {"failure": {"code": "model_not_deleted"}}, "stays on the disk"),
        (None, {"skipped": True}, {"skipped": True}, "bad:1b stays on the disk"),
        (None, {"failure": {"code": "unload_failed"}}, {"skipped": True}, "bad:1b stays on the disk"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_refused_model(progress: Any, unloaded: Any, deleted: Any, said: str) -> None:
    loaded = {"changed": True, "model": "bad:1b", "size": 4_683_087_332, "progress": progress}
    known = {"__ollama_loaded": loaded, "__ollama_unloaded": unloaded, "__ollama_deleted": deleted}
    assert said in resolve("__ollama_what_stays", **known)
