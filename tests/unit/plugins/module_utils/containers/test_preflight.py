# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose names, ports and GPUs are: what is looked at before anything is pulled."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import plan as plans
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine

OPENSHELL = {"IPAM": {"Config": [{"Gateway": "fd00::1"}, {"Gateway": "172.18.0.1"}]}}
BRIDGE = {"IPAM": {"Config": [{"Gateway": "172.17.0.1"}]}}


def container(
    name: str, gpus: str = "none", port: int = 0, kind: str | None = None, identity: str = "x"
) -> dict[str, Any]:
    ids = [] if gpus in ("all", "none") else gpus.split(",")
    requests = [] if gpus == "none" else [{"Capabilities": [["gpu"]], "DeviceIDs": ids, "Count": 0 if ids else -1}]
    return {
        "Id": identity,
        "Name": f"/{name}",
        "Config": {"Image": "i", "Labels": {"nemoclaw.local_inference.kind": kind} if kind else None},
        "HostConfig": {"DeviceRequests": requests},
        "NetworkSettings": {"Ports": {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}] if port else None}},
    }


@pytest.mark.parametrize(
    ("facts", "networks", "addresses"),
    [
        ({}, {"openshell-docker": OPENSHELL, "bridge": BRIDGE}, ["127.0.0.1", "172.18.0.1"]),
        ({}, {"bridge": BRIDGE}, ["127.0.0.1", "172.17.0.1"]),
        ({}, {"bridge": {"IPAM": {"Config": []}}}, ["127.0.0.1"]),
        # Docker 20.10 tells the gateway of its own bridge only after it was started anew; this host has the address.
        ({}, {"bridge": {"IPAM": {"Config": [{"Subnet": "127.5.0.0/16"}]}}}, ["127.0.0.1", "127.5.0.1"]),
        ({}, {"bridge": {"IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}, {"Subnet": "x"}]}}}, ["127.0.0.1"]),
        ({}, {}, ["127.0.0.1"]),
        ({"kind": "desktop"}, {"bridge": BRIDGE}, ["127.0.0.1"]),
        ({"rootless": True}, {"bridge": BRIDGE}, ["127.0.0.1"]),
    ],
)
def test_published_where_sandboxes_come_from(engine: Any, facts: Any, networks: Any, addresses: list[str]) -> None:
    engine.facts.update(facts)
    engine.networks = networks
    assert plans.sandbox_addresses(engine) == addresses
    assert plans.lacks_network(engine) == ("openshell-docker" not in networks and len(addresses) > 1)


@pytest.mark.parametrize(
    ("wanted", "addresses"),
    [
        ([], ["127.0.0.1", "172.17.0.1"]),
        (["192.168.1.5"], ["127.0.0.1", "192.168.1.5"]),
        (["192.168.1.5", "127.0.0.1"], ["192.168.1.5", "127.0.0.1"]),
        (["0.0.0.0"], ["0.0.0.0"]),
    ],
)
def test_this_host_can_always_ask_it(engine: Any, wanted: list[str], addresses: list[str]) -> None:
    engine.networks = {"bridge": BRIDGE}
    assert plans.publish_addresses(engine, wanted) == addresses


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"endpoint": "tcp://192.0.2.7:2375"}, "another host"),
        ({"endpoint": "tcp://[2001:db8::7]:2375"}, "another host"),
        ({"kind": "podman", "endpoint": "unix:///run/podman/podman.sock"}, "is Podman"),
        ({"endpoint": "tcp://127.0.0.1:2375"}, None),
        ({"endpoint": "tcp://localhost:2375"}, None),
        ({"endpoint": "unix:///var/run/docker.sock"}, None),
    ],
)
def test_engines_that_a_server_cannot_be_had_from(engine: Any, facts: dict[str, Any], says: str | None) -> None:
    engine.facts.update(facts)
    if says is None:
        plans.require_engine(engine)
        return
    with pytest.raises(Failure, match=says) as raised:
        plans.require_engine(engine)
    assert raised.value.code == "docker_endpoint_unsupported"


@pytest.mark.parametrize(
    ("ours", "theirs", "clash"),
    [
        ("all", "all", True),
        ("all", "0", True),
        ("0,1", "1", True),
        ("0", "1", False),
        ("GPU-a", "GPU-a", True),
        ("GPU-a", "GPU-b", False),
        ("GPU-a", "0", True),  # nobody knows, so it is one
        ("none", "all", False),
        ("all", "none", False),
    ],
)
def test_one_engine_on_a_gpu(ours: str, theirs: str, clash: bool) -> None:
    spec = Spec(name="s", kind="vllm", image="i", gpus=ours)
    others = [container("idle"), container("busy", theirs, kind="nim")]
    if not clash:
        plans.require_gpus_free(spec, [], others)
        return
    with pytest.raises(Failure) as raised:
        plans.require_gpus_free(spec, [], others)
    assert raised.value.code == "gpu_in_use"
    assert "'busy' (a nim server of this collection)" in raised.value.message
    plans.require_gpus_free(spec, [others[1]], others[1:])


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def published(port: int) -> Spec:
    return Spec(name="s", kind="vllm", image="i", addresses=("127.0.0.1",), port=port, container_port=8000)


def test_a_port_that_a_process_has(listener: int) -> None:
    with pytest.raises(Failure) as raised:
        plans.require_port(Machine(), published(listener), [], [])
    assert raised.value.code == "port_taken"
    assert "Nothing was pulled" in raised.value.message
    plans.require_port(Machine(), published(listener), [container("s", port=listener)], [])


def test_a_port_that_a_container_has(listener: int) -> None:
    with pytest.raises(Failure) as raised:
        plans.require_port(Machine(), published(listener), [], [container("web", port=listener)])
    assert "the container 'web' listens" in raised.value.message


def test_a_free_port(listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    plans.require_port(Machine(), published(port), [], [container("web", port=listener)])


@pytest.mark.parametrize(
    "files", [[], ["etc/cdi/nvidia.yaml"], ["var/run/cdi/nvidia.json"], ["usr/bin/nvidia-container-runtime-hook"]]
)
def test_the_nvidia_runtime(engine: Any, tmp_path: Any, files: list[str]) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch(mode=0o755)
    machine = Machine(tmp_path, {"PATH": "/usr/bin"})
    plans.require_gpu_runtime(engine, machine, "none")
    if files:
        plans.require_gpu_runtime(engine, machine, "all")
        return
    with pytest.raises(Failure) as raised:
        plans.require_gpu_runtime(engine, machine, "all")
    assert raised.value.code == "nvidia_runtime_missing"
    engine.facts["nvidia_runtime"] = True
    plans.require_gpu_runtime(engine, machine, "all")
