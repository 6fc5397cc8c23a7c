# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a managed vLLM says before and after. The engine is a double; the integration targets have a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import plan as plans
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import readiness
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import Credential, Login
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm import lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.context import Desired, Vllm
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.lifecycle import check_before

Named = Callable[[str], Machine]
MODELS = {"mine": {"model": "lab/mine", "max_model_len": 8192}}
# An address that can be bound on every host, which Docker's own can be only where a Docker runs.
BRIDGE = {"IPAM": {"Config": [{"Gateway": "127.0.0.17"}]}}


def container(gpus: str, policy: str = "unless-stopped") -> dict[str, Any]:
    requests = [] if gpus == "none" else [{"Capabilities": [["gpu"]], "DeviceIDs": [], "Count": -1}]
    return {
        "Id": "a",
        "Name": "/nemoclaw-vllm",
        "Config": {"Labels": {"nemoclaw.local_inference.kind": "vllm"}, "Image": "i"},
        "State": {"Status": "running", "Running": True},
        "HostConfig": {"DeviceRequests": requests, "RestartPolicy": {"Name": policy}},
        "NetworkSettings": {"Ports": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}},
    }


def wanted(
    machine: Machine, found: dict[str, Any] | None, networks: dict[str, Any] | None = None, **desired: Any
) -> Vllm:
    engine: Any = SimpleNamespace(
        client=None,
        facts={"kind": "native", "rootless": False, "nvidia_runtime": True, "endpoint": "unix:///x"},
        container=lambda name: found if name == "nemoclaw-vllm" else None,
        containers=lambda: [found] if found else [],
        image=lambda reference: {"Id": "sha256:a"},
        network=(networks or {}).get,
        info=dict,
    )
    account = find_account()._replace(home=str(machine.root))
    return Vllm(engine, machine, account, Desired(models=MODELS, model="mine", image="lab/vllm:1", **desired))


@pytest.mark.parametrize(("gpus", "code"), [("all", None), ("none", "gpu_busy")])
def test_only_what_our_own_has_of_the_gpu_will_be_free(
    machine_named: Named, write_command: Callable[[Path, str], Path], gpus: str, code: str | None
) -> None:
    machine = machine_named("rtx4090")
    write_command(
        machine.root / "usr/bin/nvidia-smi",
        'case "$1" in\n  --query-gpu=*) echo "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 4000, 8.9, 550.144.03";;\n'
        '  --query-compute-apps=*) echo "4711, /usr/local/bin/ollama, 20000";;\n  *) exit 64;;\nesac',
    )
    current = container(gpus)
    vllm = wanted(machine, current)
    step = plans.Plan(vllm.spec, current, None, [], "start")
    if code is None:
        check_before(vllm, vllm.spec, step)
        return
    with pytest.raises(Failure) as raised:
        check_before(vllm, vllm.spec, step)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("policy", "actions"),
    [
        ("unless-stopped", []),
        ("on-failure", ["keep nemoclaw-vllm (restart policy unless-stopped)"]),
    ],
)
def test_check_mode_while_it_loads(
    machine_named: Named, monkeypatch: pytest.MonkeyPatch, policy: str, actions: list[str]
) -> None:
    """After a reboot one that is as wanted loads for minutes, and nothing has to be changed about it."""
    current = container("none", policy)
    vllm = wanted(machine_named("rtx4090"), current, gpus="none")
    monkeypatch.setattr(plans, "differences", lambda *arguments: [])
    loading = readiness.Look(False, "load", None, 1.0, [], "", current)
    monkeypatch.setattr(readiness, "look", lambda *arguments: loading)
    result = lifecycle.predicted(vllm)
    assert (result["changed"], result["actions"], result["phase"]) == (bool(actions), actions, "planned")


@pytest.mark.parametrize(
    ("networks", "desired", "warns"),
    [
        ({"bridge": BRIDGE}, {}, True),
        ({"bridge": BRIDGE, "openshell-docker": BRIDGE}, {}, False),
        ({"bridge": BRIDGE}, {"publish": ["127.0.0.1"]}, False),
    ],
)
def test_it_is_said_where_a_later_run_will_move_it(
    machine_named: Named, networks: dict[str, Any], desired: dict[str, Any], warns: bool
) -> None:
    vllm = wanted(machine_named("rtx4090"), None, networks, gpus="none", port=18999, **desired)
    warnings = lifecycle.predicted(vllm)["warnings"]
    assert bool(warnings) is warns
    assert not warns or "openshell-docker" in warnings[0]


def test_a_loaded_image_for_another_processor(machine_named: Named) -> None:
    """docker load takes any; what it starts ends with an exec format error, after the old server was stopped."""
    vllm = wanted(machine_named("rtx4090"), None, gpus="none", port=18999)
    vllm.engine.image = lambda reference: {"Id": "sha256:a", "Architecture": "arm64"}
    with pytest.raises(Failure) as raised:
        lifecycle.predicted(vllm)
    assert raised.value.code == "image_architecture"


def test_the_users_login_is_in_no_failure(machine_named: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's own words may hold what it was given."""
    vllm = wanted(machine_named("rtx4090"), None, gpus="none", port=18999)
    vllm.engine.image = lambda reference: None
    vllm.access._logins["docker.io"] = Login(Credential("alice", "secret-of-alice"), "config", "")

    vllm.host.machine.environ["HTTPS_PROXY"] = "http://alice:secret-of-proxy@proxy.lab:3128"

    def pull(*arguments: Any) -> None:
        raise Failure("pull_failed", "It said secret-of-alice.", last_logs=["secret-of-alice, secret-of-proxy"])

    monkeypatch.setattr(lifecycle, "pull", pull)
    with pytest.raises(Failure) as raised:
        lifecycle.start(vllm)
    assert "secret-of" not in str(raised.value.as_result())
