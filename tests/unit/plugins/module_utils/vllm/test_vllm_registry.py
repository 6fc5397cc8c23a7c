# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a managed vLLM shows to the registry of its image. nvcr.io is out of reach, so its answers are a double's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import plan as plans
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm import lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.context import Desired, Vllm

KEY = "nvapi-0123456789abcdef"
Named = Callable[[str], Machine]


class Registry:
    """NVIDIA's, as far as it is asked before a pull."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.shown: list[str] = []

    def login(self, username: str, password: str, registry: str, reauth: bool, dockercfg_path: str) -> None:
        assert (username, registry, reauth, dockercfg_path) == ("$oauthtoken", "nvcr.io", True, "/dev/null")
        if self.refuses:
            raise RuntimeError(f"unauthorized: {password}")

    def inspect_distribution(self, image: str, auth_config: Any) -> Any:
        self.shown.append(auth_config.get("password", ""))
        return {"Platforms": [{"os": "linux", "architecture": "arm64"}]}


def wanted(machine: Machine, registry: Registry, **desired: Any) -> Vllm:
    engine: Any = SimpleNamespace(
        client=registry,
        facts={"kind": "native", "rootless": False, "nvidia_runtime": True, "endpoint": "unix:///x"},
        container=lambda name: None,
        containers=list,
        image=lambda reference: None,
        network=lambda name: None,
        info=dict,
    )
    account = find_account()._replace(home=str(machine.root))
    return Vllm(engine, machine, account, Desired(port=0, **desired))


@pytest.mark.parametrize(("key", "shown"), [(KEY, [KEY]), (f" {KEY}\n", [KEY]), ("", [""])])
def test_what_the_registry_is_shown(machine_named: Named, key: str, shown: list[str]) -> None:
    registry = Registry()
    vllm = wanted(machine_named("dgx-spark"), registry, ngc_api_key=key, allow_download=False)
    with pytest.raises(Failure) as stopped:
        lifecycle.check_before(vllm, vllm.spec, plans.make_plan(vllm.engine, vllm.spec))
    assert stopped.value.code == "download_not_allowed"
    assert registry.shown == shown
    assert KEY not in repr(vllm.desired)


@pytest.mark.parametrize(
    ("desired", "model", "share"),
    [
        ({}, "Qwen/Qwen3.6-27B-FP8", 0.7),
        ({"nemoclaw_profile": "later"}, "nvidia/Qwen3.6-35B-A3B-NVFP4", 0.4),
        ({"nemoclaw_profile": "later", "model": "qwen3.6-27b"}, "Qwen/Qwen3.6-27B-FP8", 0.7),
    ],
)
def test_the_model_of_a_spark_by_profile(machine_named: Named, desired: Any, model: str, share: float) -> None:
    vllm = wanted(machine_named("dgx-spark"), Registry(), **desired)
    assert (vllm.model.model, vllm.model.gpu_memory_utilization) == (model, share)
    assert model in vllm.spec.command


def test_a_key_that_is_refused_costs_no_bandwidth(machine_named: Named) -> None:
    registry = Registry(refuses=True)
    vllm = wanted(machine_named("dgx-spark"), registry, ngc_api_key=KEY)
    with pytest.raises(Failure) as refused:
        lifecycle.check_before(vllm, vllm.spec, plans.make_plan(vllm.engine, vllm.spec))
    assert refused.value.code == "registry_unauthorized"
    assert "ngc_api_key" in refused.value.message
    assert KEY not in str(refused.value.as_result())
    assert registry.shown == []


def test_the_pull_shows_it_too(machine_named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[Any] = []

    def pull(*arguments: Any) -> None:
        pulled.append(arguments[-1])
        raise Failure("pull_failed", f"The registry said {KEY}.")

    monkeypatch.setattr(lifecycle, "pull", pull)
    vllm = wanted(machine_named("dgx-spark"), Registry(), ngc_api_key=KEY)
    with pytest.raises(Failure) as failed:
        lifecycle.start(vllm)
    assert pulled == [{"username": "$oauthtoken", "password": KEY, "serveraddress": "nvcr.io"}]
    assert KEY not in failed.value.message


@pytest.mark.parametrize(
    "desired",
    [
        {"extra_args": ["--max-num-seqs", "4", "--api-key", KEY]},
        {"extra_args": [f"--api_key={KEY}"]},
        {"environment": {"VLLM_API_KEY": KEY}},
        {"models": {"mine": {"model": "lab/mine", "max_model_len": 8, "flags": ["--api-key", KEY]}}, "model": "mine"},
        {"models": {"qwen3.6-27b": {"environment": {"VLLM_API_KEY": KEY}}}},
    ],
)
def test_a_key_of_the_servers_own_is_refused(machine_named: Named, desired: dict[str, Any]) -> None:
    with pytest.raises(Failure) as refused:
        wanted(machine_named("dgx-spark"), Registry(), **desired)
    assert refused.value.code == "server_key_refused"
    assert "vllm_gate_port" in refused.value.message
    assert KEY not in refused.value.message
