# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host and its settings, for the tables of the plan."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.settings import Settings, read
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.sources import collect
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_plan

MakeHost = Callable[..., "dict[str, Any]"]
MakeSettings = Callable[..., Settings]


def _host(**more: Any) -> dict[str, Any]:
    ollama = {"windows": None, "both_running": False, "daemon_version": None, "client_version": None, "path": None}
    found: dict[str, Any] = {
        "platform": "linux",
        "platform_evidence": "its DMI product name is nothing special",
        "profile": "none",
        "architecture": "amd64",
        "user": {"name": "lab", "uid": 1000, "gid": 1000, "home": "/home/lab"},
        "gpus": {"devices": [], "count": 0, "problem": None, "memory_total_mib": None, "memory_available_mib": None},
        "memory": {"total_mib": 16_000, "available_mib": 12_000},
        "package_manager": "apt",
        "systemd": True,
        "wsl": None,
        "docker": {"kind": "native", "reachable": True, "code": None, "reason": None},
        "listeners": [],
        "ollama": ollama,
        "vllm": {"running": False, "port": 8000, "models": [], "model": None, "problem": None},
        "openshell": {"path": None},
        "nemoclaw": {"path": None},
        "proxy": {"nginx": None, "account": False, "unit": False, "gates": []},
        "python": {"executable": "/usr/bin/python3", "libraries": {"docker": None, "jmespath": None}},
        "route": None,
        "route_problem": None,
        "problems": {},
    }
    for name, value in more.items():
        found[name] = {**found[name], **value} if isinstance(value, dict) and isinstance(found[name], dict) else value
    return found


def _settings(_environment: dict[str, str] | None = None, **variables: Any) -> Settings:
    return read(*collect(variables, _environment or {}, lambda _name, value: value))


@pytest.fixture(scope="session")
def make_host() -> MakeHost:
    """Return a function that gives C(nemoclaw_host) of a bare host, with what differs."""
    return _host


@pytest.fixture(scope="session")
def make_settings() -> MakeSettings:
    """Return a function that gives the settings of an inventory, and of an environment as the first argument."""
    return _settings


@pytest.fixture
def run_plan(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Return a function that runs the module as Ansible does, and gives exit code and result."""

    def run(args: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        with patch_module_args(args), pytest.raises(SystemExit) as ended:
            inference_plan.main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, json.loads(capsys.readouterr().out)

    return run
