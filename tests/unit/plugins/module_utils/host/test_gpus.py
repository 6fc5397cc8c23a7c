# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a host has, on recorded answers of many machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.gpus import (
    Memory,
    ask_nvidia_smi,
    describe_gpus,
    find_gpus,
    parse_meminfo,
    parse_rows,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import read_platform

WriteCommand = Callable[[Path, str], Path]
RTX = "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 23621, 8.9, 550.144.03"


def look(machine: Machine) -> dict[str, Any]:
    return find_gpus(machine, read_platform(machine).name, parse_meminfo(machine.read("/proc/meminfo")))


@pytest.mark.parametrize(
    ("name", "count", "total", "available", "unified", "summary"),
    [
        ("dgx-spark", 1, 122572, 114033, True, "NVIDIA GB10, 122572 MiB, shared with the host"),
        ("spark-partner", 1, 122572, 100000, True, "NVIDIA GB10, 122572 MiB, shared with the host"),
        (
            "dgx-station",
            2,
            354590,
            353150,
            False,
            "2 GPUs, 354590 MiB in total: NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition (97887 MiB), "
            "NVIDIA GB300 (256703 MiB)",
        ),
        ("rtx4090", 1, 24564, 23621, False, "NVIDIA GeForce RTX 4090, 24564 MiB"),
        (
            "mixed-models",
            3,
            122856,
            121140,
            False,
            "3 GPUs, 122856 MiB in total: 2 x NVIDIA RTX A6000 (98280 MiB), "
            "NVIDIA GeForce RTX 3090, Founders Edition (24576 MiB)",
        ),
        ("h100x8", 8, 652472, 648032, False, "8 x NVIDIA H100 80GB HBM3, 652472 MiB in total"),
        ("h200-recorded", 1, 143771, 81190, False, "NVIDIA H200, 143771 MiB"),
        ("jetson-orin", 1, 30697, 26000, True, "NVIDIA Jetson AGX Orin Developer Kit, 30697 MiB, shared with the host"),
        ("jetson-jetpack6", 1, 15656, 12000, True, "Orin (nvgpu), 15656 MiB, shared with the host"),
        ("wsl-rtx-laptop", 1, 8188, 7948, False, "NVIDIA GeForce RTX 4070 Laptop GPU, 8188 MiB"),
        ("wsl-arm-shim", 0, 0, None, False, "no NVIDIA GPU"),
        ("mig-and-lost", 2, 163840, 80994, False, "2 x NVIDIA A100-SXM4-80GB, 163840 MiB in total"),
        ("driver-broken", 0, 0, None, False, "no NVIDIA GPU"),
        ("old-driver", 1, 11178, 11165, False, "NVIDIA GeForce GTX 1080 Ti, 11178 MiB"),
        ("cpu-recorded", 0, 0, None, False, "no NVIDIA GPU"),
    ],
)
def test_machines(
    machine_named: Callable[[str], Machine],
    name: str,
    count: int,
    total: int,
    available: int | None,
    unified: bool,
    summary: str,
) -> None:
    gpus = look(machine_named(name))
    assert (gpus["count"], gpus["memory_total_mib"], gpus["memory_available_mib"]) == (count, total, available)
    assert gpus["unified_memory"] is unified
    assert gpus["summary"] == summary
    assert gpus["vendor"] == ("nvidia" if count else None)
    assert sum(group["count"] for group in gpus["groups"]) == count


def test_all_that_a_driver_says_about_one_gpu(machine_named: Callable[[str], Machine]) -> None:
    gpus = look(machine_named("dgx-station"))
    assert gpus["devices"][1] == {
        "index": 1,
        "uuid": "GPU-00000000-0000-4000-8000-000000000002",
        "name": "NVIDIA GB300",
        "trusted": True,
        "memory_total_mib": 256703,
        "memory_free_mib": 255900,
        "compute_capability": "10.3",
        "driver_version": "610.43.03",
        "unified_memory": False,
    }
    assert gpus["problem"] is None


def test_old_driver_is_asked_again_without_what_it_refuses(machine_named: Callable[[str], Machine]) -> None:
    gpus = look(machine_named("old-driver"))
    (device,) = gpus["devices"]
    assert device["compute_capability"] is None
    assert (device["driver_version"], device["memory_total_mib"]) == ("470.182.03", 11178)
    assert gpus["problem"] is None


def test_words_that_mean_unknown_become_null(machine_named: Callable[[str], Machine]) -> None:
    (device,) = look(machine_named("jetson-jetpack6"))["devices"]
    assert (device["uuid"], device["compute_capability"]) == (None, None)


def test_lost_gpu_is_named_and_not_counted(machine_named: Callable[[str], Machine]) -> None:
    gpus = look(machine_named("mig-and-lost"))
    assert [device["memory_free_mib"] for device in gpus["devices"]] == [None, 80994]
    assert "GPU 2 (NVIDIA A100-SXM4-80GB) reports no memory size ([GPU is lost])" in gpus["problem"]


def test_shim_is_shown_but_not_trusted(machine_named: Callable[[str], Machine]) -> None:
    gpus = look(machine_named("wsl-arm-shim"))
    assert [(device["name"], device["trusted"]) for device in gpus["devices"]] == [("NVIDIA JMJWOA-Generic-GPU", False)]
    assert "JMJWOA-Generic-GPU" in gpus["problem"]


@pytest.mark.parametrize(
    ("platform", "names", "genuine", "expected"),
    [
        ("linux", ["NVIDIA JMJWOA-Generic-GPU"], True, [False]),
        ("dgx-spark", ["NVIDIA JMJWOA-Generic-GPU"], False, [True]),
        # One made-up row makes the whole answer doubtful.
        ("linux", ["NVIDIA JMJWOA-Generic-GPU", "NVIDIA GeForce RTX 4090"], True, [False, False]),
        ("linux", ["Microsoft Basic Render Driver", "NVIDIA L4"], True, [False, True]),
        ("linux", ["GeForce GTX 1080 Ti", "Tesla T4", "Quadro P4000"], True, [True, True, True]),
        ("linux", ["L400 Printer"], True, [False]),
        ("linux", ["NVIDIA L4"], False, [False]),
        ("jetson", ["Anything"], False, [True]),
    ],
)
def test_trust(platform: str, names: list[str], genuine: bool, expected: list[bool]) -> None:
    rows = parse_rows("\n".join(f"{i}, GPU-{i}, {name}, 1000, 900, 8.9, 550.1" for i, name in enumerate(names)))
    gpus = describe_gpus(rows, platform, genuine, Memory(None, None))
    assert [device["trusted"] for device in gpus["devices"]] == expected
    assert gpus["count"] == sum(expected)
    assert gpus["memory_total_mib"] == 1000 * sum(expected)


def test_unified_memory_is_split_but_counted_once() -> None:
    rows = parse_rows(
        "0, GPU-0, NVIDIA GB10, [N/A], [N/A], 12.1, 580.1\n1, GPU-1, NVIDIA GB10, [N/A], [N/A], 12.1, 580.1"
    )
    gpus = describe_gpus(rows, "dgx-spark", True, Memory(1001, 501))
    assert [(device["memory_total_mib"], device["memory_free_mib"]) for device in gpus["devices"]] == [(500, 250)] * 2
    assert (gpus["memory_total_mib"], gpus["memory_available_mib"]) == (1001, 501)


@pytest.mark.parametrize("told", ["[N/A]", "N/A", "Not Supported", "[Not Supported]", "0", ""])
def test_unified_memory_in_the_words_of_many_drivers(told: str) -> None:
    rows = parse_rows(f"0, GPU-0, NVIDIA GB10, {told}, {told}, 12.1, 580.1")
    assert describe_gpus(rows, "dgx-spark", True, Memory(1001, 501))["memory_total_mib"] == 1001


def test_a_size_may_have_its_unit() -> None:
    gpus = describe_gpus(
        parse_rows("0, GPU-1, NVIDIA L4, 23034 MiB, 22000 MiB, 8.9, 550.1"), "linux", True, Memory(1, 1)
    )
    assert (gpus["memory_total_mib"], gpus["memory_available_mib"]) == (23034, 22000)


@pytest.mark.parametrize(
    ("name", "is_part"),
    [
        ("GRID T4-16Q", True),
        ("NVIDIA A10-24Q", True),
        ("NVIDIA RTX6000-Ada-24Q", True),
        ("NVIDIA RTX PRO 6000 Blackwell DC-96Q", True),
        ("GRID A100-4-20C", True),
        ("NVIDIA H100 80GB HBM3", False),
        ("NVIDIA A100-SXM4-80GB", False),
        ("NVIDIA PG506-232", False),
        ("Tesla V100-SXM2-32GB", False),
    ],
)
def test_a_part_of_a_gpu_is_named_as_such(name: str, is_part: bool) -> None:
    rows = parse_rows(f"0, GPU-1, {name}, 16384, 15000, 8.0, 550.1")
    assert ("(vGPU)" in describe_gpus(rows, "linux", True, Memory(1, 1), None, {name})["summary"]) is is_part


def test_unified_memory_beside_a_card_with_its_own() -> None:
    rows = parse_rows(
        "0, GPU-0, NVIDIA GB10, [N/A], [N/A], 12.1, 580.1\n1, GPU-1, NVIDIA RTX A6000, 49140, 48000, 8.6, 580.1"
    )
    gpus = describe_gpus(rows, "linux", True, Memory(120000, 100000))
    assert (gpus["memory_total_mib"], gpus["memory_available_mib"]) == (169140, 148000)
    assert [device["unified_memory"] for device in gpus["devices"]] == [True, False]


def test_unified_memory_of_an_unknown_size() -> None:
    rows = parse_rows("0, GPU-0, NVIDIA GB10, [N/A], [N/A], 12.1, 580.1")
    gpus = describe_gpus(rows, "dgx-spark", True, Memory(None, None))
    assert (gpus["count"], gpus["memory_total_mib"], gpus["memory_available_mib"]) == (1, 0, None)
    assert gpus["summary"] == "NVIDIA GB10, memory unknown, shared with the host"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (RTX, ["NVIDIA GeForce RTX 4090"]),
        (f"WARNING: infoROM is corrupted at gpu 0000:01:00.0\n{RTX}\n\n", ["NVIDIA GeForce RTX 4090"]),
        ("0, GPU-1, A, B, and C, 1, 1, 8.9, 550.1", ["A, B, and C"]),
        ("0, GPU-1, Evil\x1b[2JName, 1, 1, 8.9, 550.1", ["Evil?[2JName"]),
        ("0, GPU-1, , 1, 1, 8.9, 550.1", []),
        ("0, GPU-1, NVIDIA L4, 23034 MiB, 22000 MiB, 8.9, 550.1", ["NVIDIA L4"]),
        ("a, few, words, with, many, commas, in, them", []),
        ("0, GPU-1, NVIDIA L4, 1", []),
        (",,,,,,", []),
        ("", []),
    ],
)
def test_rows(text: str, names: list[str]) -> None:
    assert [row.name for row in parse_rows(text)] == names


@pytest.mark.parametrize(
    ("said", "code", "advice"),
    [
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9, "modprobe nvidia"),
        ("Failed to initialize NVML: Driver/library version mismatch", 18, "reboot"),
        ("No devices were found", 6, "Xid"),
        ("Segmentation fault", 139, "repair the driver"),
        ("", 1, "said: nothing"),
    ],
)
def test_broken_driver_is_explained(
    tmp_path: Path, write_command: WriteCommand, said: str, code: int, advice: str
) -> None:
    write_command(tmp_path / "nvidia-smi", f'echo "{said}"; exit {code}')
    answer = ask_nvidia_smi(Machine(root=tmp_path, environ={}), "/nvidia-smi")
    assert answer.rows == []
    assert answer.problem is not None
    assert f"exit code {code}" in answer.problem
    assert said in answer.problem
    assert advice in answer.problem


def test_rows_of_a_failed_answer_are_kept(tmp_path: Path, write_command: WriteCommand) -> None:
    write_command(tmp_path / "nvidia-smi", f'echo "{RTX}"; echo "Unable to determine the device handle"; exit 15')
    answer = ask_nvidia_smi(Machine(root=tmp_path, environ={}), "/nvidia-smi")
    assert [row.name for row in answer.rows] == ["NVIDIA GeForce RTX 4090"]
    assert answer.problem is not None
    assert "device handle" in answer.problem


def test_silent_success_is_a_problem(tmp_path: Path, write_command: WriteCommand) -> None:
    write_command(tmp_path / "nvidia-smi", "exit 0")
    assert (
        ask_nvidia_smi(Machine(root=tmp_path, environ={}), "/nvidia-smi").problem == "nvidia-smi ran and listed no GPU."
    )


def test_needed_field_is_not_dropped_for_ever(tmp_path: Path, write_command: WriteCommand) -> None:
    write_command(tmp_path / "nvidia-smi", "echo 'Field \"name\" is not a valid field to query.'; exit 2")
    answer = ask_nvidia_smi(Machine(root=tmp_path, environ={}), "/nvidia-smi")
    assert answer.problem is not None
    assert "exit code 2" in answer.problem


def test_hanging_driver_ends_with_the_limit(tmp_path: Path, write_command: WriteCommand) -> None:
    write_command(tmp_path / "nvidia-smi", "exec sleep 30")
    answer = ask_nvidia_smi(Machine(root=tmp_path, environ={"PATH": "/usr/bin:/bin"}), "/nvidia-smi", limit_s=0.2)
    assert answer.rows == []
    assert answer.problem is not None
    assert "did not end within" in answer.problem
    assert "Xid" in answer.problem


def test_card_without_a_driver_is_noticed(tmp_path: Path) -> None:
    for slot, vendor, device_class in (("00:02.0", "0x8086", "0x030000"), ("01:00.0", "0x10de", "0x030200")):
        folder = tmp_path / "sys/bus/pci/devices" / f"0000:{slot}"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "class").write_text(device_class + "\n")
    gpus = find_gpus(Machine(root=tmp_path, environ={}), "linux", Memory(1, 1))
    assert "0000:01:00.0" in gpus["problem"]
    assert "install the NVIDIA driver" in gpus["problem"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   24306508 kB\n", Memory(24105, 23736)),
        ("MemTotal: 2047 kB\n", Memory(1, None)),
        ("MemTotal: lots kB\n", Memory(None, None)),
        (None, Memory(None, None)),
    ],
)
def test_meminfo(text: str | None, expected: Memory) -> None:
    assert parse_meminfo(text) == expected


def virtual_machine(
    tmp_path: Path,
    write_command: Callable[[Path, str], Path],
    mig: str = "[N/A]",
    divided: str = "NVIDIA A100-SXM4-80GB",
) -> Machine:
    """A host whose nvidia-smi answers for one GPU, and whose driver tells it as well."""
    name = "GRID V100D-32C" if mig == "[N/A]" else divided
    size = 32768 if mig == "[N/A]" else 81920
    write_command(
        tmp_path / "usr/bin/nvidia-smi",
        f'case "$1" in\n  *mig.mode.current) echo "0, {mig}";;\n'
        f'  *) echo "0, GPU-1, {name}, {size}, {size}, 7.0, 535.183.01";;\nesac',
    )
    information = tmp_path / "proc/driver/nvidia/gpus/0000:02:00.0/information"
    information.parent.mkdir(parents=True)
    information.write_text(f"Model: \t\t {name}\nIRQ:   \t\t 33\nGPU UUID: \t GPU-1\n")
    return Machine(root=tmp_path, environ={"PATH": "/usr/bin"}, system="Linux", architecture="x86_64")


def test_a_virtual_gpu_is_known_to_the_driver(tmp_path: Path, write_command: Callable[[Path, str], Path]) -> None:
    """No list of names has it: 0.1.0 said that it was no NVIDIA hardware."""
    machine = virtual_machine(tmp_path, write_command)
    found = find_gpus(machine, "linux", Memory(1, 1))
    assert (found["count"], found["problem"]) == (1, None)
    assert found["summary"] == "GRID V100D-32C (vGPU), 32768 MiB"
    (tmp_path / "proc/driver/nvidia/gpus/0000:02:00.0/information").unlink()
    assert find_gpus(machine, "linux", Memory(1, 1))["count"] == 0


@pytest.mark.parametrize(
    ("mode", "name", "count"),
    [
        ("Enabled", "NVIDIA A100-SXM4-80GB", 0),
        ("Disabled", "NVIDIA A100-SXM4-80GB", 1),
        ("Enabled", "NVIDIA H800", 0),
        ("Enabled", "NVIDIA GH200 480GB", 0),
        ("Enabled", "NVIDIA RTX PRO 5000 Blackwell", 0),
        ("Enabled", "NVIDIA R100", 0),
    ],
)
def test_a_gpu_that_mig_divides_is_not_counted_as_one(
    tmp_path: Path, write_command: Callable[[Path, str], Path], mode: str, name: str, count: int
) -> None:
    found = find_gpus(virtual_machine(tmp_path, write_command, mode, name), "linux", Memory(1, 1))
    assert found["count"] == count
    assert ("divided by MIG: its 81920 MiB belong to its instances" in (found["problem"] or "")) is (count == 0)
