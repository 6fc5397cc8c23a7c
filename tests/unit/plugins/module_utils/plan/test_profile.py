# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nemoclaw_profile changes, each with page and later, and what it leaves alone: whatever is set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import catalogue as ollama
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import gate
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.choice import choose
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.consulted import foresee_managed
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.refusals import foresee
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.steps import Context
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.profiles import BY_NAME
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm import catalogue as vllm

Make = Callable[..., Any]
PROFILES = ["page", "later"]
LATER = {"nemoclaw_profile": "later"}


@pytest.mark.parametrize(
    ("name", "page", "later"),
    [
        ("proxy_listen", ["0.0.0.0"], ["127.0.0.1", "bridge"]),
        ("ollama_windows_bind", "all", "loopback"),
        ("ollama_profile", "page", "later"),
        ("vllm_profile", "page", "later"),
    ],
)
def test_what_follows_from_it(name: str, page: Any, later: Any, make_settings: Make) -> None:
    assert make_settings()[name] == page
    assert make_settings(nemoclaw_profile="page")[name] == page
    assert make_settings(nemoclaw_profile=" Later ")[name] == later
    assert make_settings({"NEMOCLAW_PROFILE": "later"})[name] == later
    assert make_settings({"NEMOCLAW_PROFILE": "later"}, nemoclaw_profile="page")[name] == page


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy_listen", ["0.0.0.0"]),
        ("ollama_windows_bind", "all"),
        ("vllm_profile", "page"),
        ("ollama_profile", "page"),
    ],
)
def test_what_is_set_wins(name: str, value: Any, make_settings: Make) -> None:
    assert make_settings(**LATER, **{name: value})[name] == value


def test_a_wrong_value_is_refused_once_and_nothing_follows_from_it(make_settings: Make) -> None:
    settings = make_settings({"NEMOCLAW_PROFILE": "latest"})
    (failure,) = settings.problems
    assert failure.code == "setting_invalid"
    assert failure.message == (
        "NEMOCLAW_PROFILE is 'latest', and there is no such value. Did you mean later? Use one of: page, later."
    )
    assert settings["proxy_listen"] == ["0.0.0.0"]


@pytest.mark.parametrize(
    ("profile", "host", "slug"),
    [
        ("page", "dgx-spark", "qwen3.6-27b"),
        ("later", "dgx-spark", "qwen3.6-35b-a3b-nvfp4"),
        ("page", "dgx-station", "qwen3.6-27b"),
        ("later", "dgx-station", "qwen3.6-27b"),
        ("page", "linux-nvidia", "nemotron-3-nano-4b"),
        ("later", "linux-nvidia", "nemotron-3-nano-4b"),
    ],
)
def test_the_model_of_vllm(profile: str, host: str, slug: str) -> None:
    assert vllm.default_model(host, vllm.build_catalogue(), BY_NAME[profile]).slug == slug


@pytest.mark.parametrize("profile", PROFILES)
def test_the_plan_says_whose_default_it_is(profile: str, make_host: Make, make_settings: Make) -> None:
    settings = make_settings(nemoclaw_profile=profile, nemoclaw_provider="install-vllm", nemoclaw_experimental=True)
    spark = {"devices": [{"index": 0, "uuid": "GPU-1", "name": "NVIDIA GB10", "trusted": True}], "count": 1}
    host = make_host(profile="dgx-spark", architecture="arm64", gpus=spark)
    choice = choose(host, settings)
    assert choice.model_reason == f"the default of the host's profile (nemoclaw_profile {profile})"
    assert foresee_managed(host, settings, choice) == []


@pytest.mark.parametrize(
    ("profile", "total", "name"),
    [
        ("page", 8_192, "qwen2.5:7b"),
        ("later", 8_192, "qwen3.5:9b"),
        ("later", 0, "qwen3.5:9b"),
        ("page", 49_140, "qwen3.6:35b"),
        ("later", 49_140, "qwen3.6:35b"),
    ],
)
def test_the_starter_model(profile: str, total: int, name: str) -> None:
    memory = {"memory_total_mib": total, "memory_available_mib": None}
    assert ollama.choose([], [], memory, True, BY_NAME[profile]).name == name


@pytest.mark.parametrize(("profile", "other"), [("page", "qwen3.5:9b"), ("later", "qwen2.5:7b")])
def test_an_installed_starter_of_the_other_profile_is_taken(profile: str, other: str) -> None:
    """It is there, and counts as any installed model."""
    memory = {"memory_total_mib": 8_192, "memory_available_mib": 8_000}
    installed = [{"name": other, "size": 5 * 10**9, "capabilities": ["completion", "tools"]}]
    assert ollama.choose(installed, [], memory, True, BY_NAME[profile]).name == other


@pytest.mark.parametrize(
    ("profile", "mirrored", "bind", "code"),
    [
        ("page", False, None, None),
        ("later", False, None, "windows_loopback"),
        ("later", True, None, None),
        ("later", False, "all", None),
        ("page", False, "loopback", "windows_loopback"),
    ],
)
def test_windows_on_loopback(
    profile: str, mirrored: bool, bind: str | None, code: str | None, make_host: Make, make_settings: Make
) -> None:
    wsl = {"version": 2, "distro": "Ubuntu", "networking_mode": "mirrored" if mirrored else "nat", "interop": True}
    seen = {"daemon_version": "1", "host": "h:11434"}
    host = make_host(platform="wsl", wsl=wsl, docker={"kind": "desktop"}, ollama={"windows": seen})
    more = {} if bind is None else {"ollama_windows_bind": bind}
    settings = make_settings(nemoclaw_profile=profile, nemoclaw_provider="start-windows-ollama", **more)
    found = foresee(host, settings, choose(host, settings))
    assert [one.code for one in found] == ([code] if code else [])
    if code:
        assert ("as nemoclaw_profile later has it" in found[0].message) == (bind is None)


@pytest.mark.parametrize(("profile", "code"), [("page", None), ("later", "proxy_bridge_unknown")])
def test_the_plan_foresees_a_bridge_that_docker_does_not_tell(
    profile: str,
    code: str | None,
    make_host: Make,
    make_settings: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n", encoding="utf-8")
    docker.chmod(0o755)
    monkeypatch.setattr(gate, "os", SimpleNamespace(geteuid=lambda: 0))
    host, settings = make_host(), make_settings(nemoclaw_profile=profile, nemoclaw_provider="ollama")
    machine = Machine(root=tmp_path, environ={"PATH": "/bin", "HOME": "/"})
    at = Context(machine, find_account(), host, settings, choose(host, settings))
    gate.compare_proxy(at)
    assert [one.code for one in at.refusals] == ([code] if code else [])
    if code:
        assert "Cannot connect to the Docker daemon" in at.refusals[0].message
