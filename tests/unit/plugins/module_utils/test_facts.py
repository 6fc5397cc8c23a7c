# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facts of a host together."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import facts
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.facts import gather
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import check_ports
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import render

PORTS = [11434, 11435, 8000, 8080]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return find_account()._replace(home=str(tmp_path))


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("name", "platform", "profile", "architecture", "distribution", "docker"),
    [
        ("dgx-spark", "dgx-spark", "dgx-spark", "arm64", "ubuntu", "native"),
        ("spark-partner", "dgx-spark", "dgx-spark", "arm64", "ubuntu", "none"),
        ("dgx-station", "dgx-station", "dgx-station", "arm64", "ubuntu", "native"),
        ("rtx4090", "linux", "linux-nvidia", "amd64", "ubuntu", "none"),
        ("mixed-models", "linux", "linux-nvidia", "amd64", "ubuntu", "none"),
        ("h100x8", "linux", "linux-nvidia", "amd64", "ubuntu", "none"),
        ("h200-recorded", "linux", "linux-nvidia", "amd64", "ubuntu", "none"),
        ("jetson-orin", "jetson", "linux-nvidia", "arm64", "ubuntu", "none"),
        ("jetson-jetpack6", "jetson", "linux-nvidia", "arm64", "ubuntu", "none"),
        ("wsl-rtx-laptop", "wsl", "linux-nvidia", "amd64", "ubuntu", "desktop"),
        ("wsl-arm-shim", "wsl", "none", "arm64", "ubuntu", "none"),
        ("mig-and-lost", "linux", "linux-nvidia", "amd64", "rocky", "none"),
        ("driver-broken", "linux", "none", "amd64", "ubuntu", "none"),
        ("old-driver", "linux", "linux-nvidia", "amd64", "ubuntu", "none"),
        ("podman", "linux", "none", "amd64", "fedora", "podman"),
        ("cpu-recorded", "linux", "none", "amd64", "debian", "native"),
    ],
)
def test_machines(
    machine_named: Callable[[str], Machine],
    account: Account,
    closed_port: int,
    name: str,
    platform: str,
    profile: str,
    architecture: str,
    distribution: str,
    docker: str,
) -> None:
    host = gather(machine_named(name), account, PORTS, closed_port)
    assert (host["platform"], host["profile"], host["architecture"]) == (platform, profile, architecture)
    assert (host["distribution"]["id"], host["docker"]["kind"]) == (distribution, docker)
    assert host["problems"] == {}
    assert host["memory"]["total_mib"] > 0
    assert (host["wsl"] is not None) == (platform == "wsl")
    assert (host["route"], host["route_problem"]) == (None, None)
    assert json.loads(json.dumps(host)) == host


def test_recorded_machine(machine_named: Callable[[str], Machine], account: Account, closed_port: int) -> None:
    host = gather(machine_named("cpu-recorded"), account, PORTS, closed_port)
    assert host["kernel"] == "6.18.44-fc-v669"
    assert host["distribution"] == {
        "id": "debian",
        "version": "12",
        "pretty_name": "Debian GNU/Linux 12 (bookworm)",
    }
    assert [one["port"] for one in host["listeners"]] == [8000, 8080, 11434, 11435]
    assert host["platform_evidence"] == "the firmware names no product"
    assert (host["package_manager"], host["systemd"]) == (None, False)


def test_evidence_names_the_gpu_of_a_partner_machine(
    machine_named: Callable[[str], Machine], account: Account, closed_port: int
) -> None:
    host = gather(machine_named("spark-partner"), account, PORTS, closed_port)
    assert "'NVIDIA GB10'" in host["platform_evidence"]


def test_stored_route(machine_named: Callable[[str], Machine], account: Account, closed_port: int) -> None:
    record = Path(account.home) / ".nemoclaw" / "local-inference.json"
    record.parent.mkdir()
    route = build_route(
        provider="custom", base_url="http://localhost:1/v1", model="tiny", api="openai-completions", timeout=1
    )
    record.write_text(render(route))
    host = gather(machine_named("rtx4090"), account, PORTS, closed_port)
    assert host["route"] == route
    assert host["route_problem"] is None
    elsewhere = gather(machine_named("rtx4090"), account, PORTS, closed_port, str(record.parent / "other.json"))
    assert elsewhere["route"] is None


def test_unreadable_route_is_a_sentence(
    machine_named: Callable[[str], Machine], account: Account, closed_port: int
) -> None:
    record = Path(account.home) / ".nemoclaw" / "local-inference.json"
    record.parent.mkdir()
    record.write_text("{")
    host = gather(machine_named("rtx4090"), account, PORTS, closed_port)
    assert host["route"] is None
    assert str(record) in host["route_problem"]


def test_other_systems_are_refused(account: Account) -> None:
    with pytest.raises(Failure) as raised:
        gather(dataclasses.replace(Machine(), system="Darwin"), account, PORTS, 11434)
    assert raised.value.code == "platform_unsupported"
    assert "Darwin" in raised.value.message


def test_empty_machine_has_every_key(
    machine_named: Callable[[str], Machine], account: Account, closed_port: int, short_path: Path
) -> None:
    full = gather(machine_named("wsl-rtx-laptop"), account, PORTS, closed_port)
    (short_path / "empty").mkdir()
    empty = gather(
        Machine(root=short_path / "empty", environ={}, system="Linux", architecture="riscv64"),
        account,
        PORTS,
        closed_port,
    )
    assert list(empty) == list(full)
    assert (empty["kernel"], empty["memory"]) == (None, {"total_mib": None, "available_mib": None})
    assert empty["architecture"] == "riscv64"


def test_failed_probes_keep_the_shape(
    monkeypatch: pytest.MonkeyPatch, machine_named: Callable[[str], Machine], account: Account, closed_port: int
) -> None:
    machine = machine_named("dgx-spark")
    healthy = gather(machine, account, PORTS, closed_port)

    def broken(*arguments: object) -> None:
        raise RuntimeError("unforeseen")

    for probe in ("find_gpus", "find_engine", "find_listeners", "find_ollama", "find_tool", "_read_route"):
        monkeypatch.setattr(facts, probe, broken)
    host = gather(machine, account, PORTS, closed_port)
    assert set(host["problems"]) == {"gpus", "docker", "listeners", "ollama", "openshell", "nemoclaw", "route"}
    for key in ("gpus", "docker", "ollama", "openshell", "nemoclaw"):
        assert list(host[key]) == list(healthy[key])
    assert "unforeseen" in host["docker"]["reason"]
    assert "unforeseen" in host["route_problem"]
    assert host["listeners"] is None
    assert host["platform"] == "dgx-spark"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_impossible_ports(port: int) -> None:
    with pytest.raises(Failure) as raised:
        check_ports([1, 65535, port])
    assert (raised.value.code, raised.value.details) == ("port_invalid", {"port": port})


def test_a_wsl_that_says_nothing_is_still_wsl(
    monkeypatch: pytest.MonkeyPatch, machine_named: Callable[[str], Machine], account: Account, closed_port: int
) -> None:
    def broken(machine: Machine) -> None:
        raise RuntimeError("no answer")

    monkeypatch.setattr(facts, "read_wsl", broken)
    host = gather(machine_named("wsl-rtx-laptop"), account, PORTS, closed_port)
    assert host["wsl"] == {"version": None, "distro": None, "networking_mode": None, "interop": None}
    assert host["ollama"]["windows"]["daemon_version"] is None
    assert "no answer" in host["ollama"]["windows"]["problem"]
    assert host["ollama"]["both_running"] is False
