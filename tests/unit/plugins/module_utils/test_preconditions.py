# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the file systems, and GPUs: what is refused before anything is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.gpus import find_gpus, parse_meminfo
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import read_platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions import (
    HOST_RESERVE_MIB,
    Gpus,
    Need,
    Space,
    bounded_share,
    check_capability,
    check_free,
    check_host_room,
    check_memory,
    check_space,
    choose_gpus,
    find_holders,
    find_space,
    image_need,
    of_one_kind,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.catalogue import build_catalogue

GB = 1_000_000_000
UUID = "GPU-00000000-0000-4000-8000-00000000000"
Named = Callable[[str], Machine]
WriteCommand = Callable[[Path, str], Path]


def look(machine: Machine) -> dict[str, Any]:
    return find_gpus(machine, read_platform(machine).name, parse_meminfo(machine.read("/proc/meminfo")))


def disks(path: str) -> Space:
    """Return one of two file systems: the engine's and the homes'."""
    return Space("/var", 1, 40 * GB) if path.startswith("/var") else Space("/home", 2, 100 * GB)


def test_needs_on_one_file_system_are_added_up() -> None:
    weights = Need("the weights of M", "/home/u/.cache", 60 * GB)
    rows = check_space([image_need("I", 9 * GB, "/var/lib/docker"), weights], disks)
    assert [(row["mount"], row["needed"]) for row in rows] == [("/var", int(31.5 * GB)), ("/home", 60 * GB)]
    with pytest.raises(Failure) as failed:
        check_space([image_need("I", 9 * GB, "/home/docker"), weights, Need("more", "/home", 10 * GB)], disks)
    assert failed.value.code == "disk_too_small"
    assert (failed.value.details["mount"], failed.value.details["needed"]) == ("/home", int(101.5 * GB))
    for words in (
        "the image I (29.34 GiB in /home/docker)",
        "the weights of M",
        "93.13 GiB free",
        "94.53 GiB is needed",
    ):
        assert words in failed.value.message


def test_a_folder_that_does_not_exist_yet_lies_where_it_will(tmp_path: Path) -> None:
    there, later = find_space(str(tmp_path)), find_space(str(tmp_path / "a" / "b"))
    assert there[:2] == later[:2]
    assert Path(there.mount).is_mount()
    assert there.free > 0
    assert check_space([]) == []


@pytest.mark.parametrize(
    ("machine", "wanted", "names", "ids", "count"),
    [
        ("rtx4090", "auto", None, ["all"], 1),
        ("dgx-spark", "auto", None, ["all"], 1),
        ("dgx-station", "auto", "GB300", [UUID + "2"], 1),
        ("dgx-station", "auto", None, ["all"], 2),
        ("dgx-station", "all", "GB300", ["all"], 2),
        ("dgx-station", "gb300", None, [UUID + "2"], 1),
        ("dgx-station", "0", "GB300", [UUID + "1"], 1),
        ("dgx-station", UUID + "1", "GB300", [UUID + "1"], 1),
        ("dgx-station", UUID.lower() + "2", "GB300", [UUID + "2"], 1),
        ("dgx-station", "00", None, [UUID + "1"], 1),
        ("dgx-station", "1, 0", "GB300", [UUID + "2", UUID + "1"], 2),
        ("mixed-models", "A6000", None, [UUID + "1", UUID + "3"], 2),
        ("mixed-models", "A6000,0", None, [UUID + "1", UUID + "3"], 2),
        ("mixed-models", "auto", "GB300", ["all"], 3),
        ("h100x8", "", None, ["all"], 8),
    ],
)
def test_which_gpus(
    machine_named: Named, machine: str, wanted: str, names: str | None, ids: list[str], count: int
) -> None:
    found = choose_gpus(wanted, look(machine_named(machine)), names)
    assert (found.ids, len(found.devices)) == (ids, count)


@pytest.mark.parametrize(
    ("machine", "preferred", "ids"),
    [
        ("rtx4090", None, ["all"]),
        ("h100x8", "GB300", ["all"]),
        ("dgx-station", "GB300", [UUID + "2"]),
        ("dgx-station", "rtx", [UUID + "1"]),
        # Without a name, the kind with the most memory.
        ("dgx-station", None, [UUID + "2"]),
        ("mixed-models", "GB300", [UUID + "1", UUID + "3"]),
    ],
)
def test_gpus_of_one_kind(machine_named: Named, machine: str, preferred: str | None, ids: list[str]) -> None:
    found = of_one_kind(choose_gpus("auto", look(machine_named(machine))), preferred)
    assert found.ids == ids
    assert len({device["name"] for device in found.devices}) == 1


@pytest.mark.parametrize("wanted", ["2", "GPU-1", "Tesla", "0,9", "0,,1", "\u00b2", "9" * 5000, "-1", "MIG-1"])
def test_a_gpu_that_is_not_there(machine_named: Named, wanted: str) -> None:
    with pytest.raises(Failure) as failed:
        choose_gpus(wanted, look(machine_named("dgx-station")))
    assert failed.value.code == "gpu_unknown"
    assert "1: NVIDIA GB300, " + UUID + "2" in failed.value.message
    assert ("name the whole GPU" in failed.value.message) is wanted.startswith("MIG")


@pytest.mark.parametrize("machine", ["cpu-recorded", "driver-broken", "wsl-arm-shim"])
def test_hosts_without_a_gpu_to_trust(machine_named: Named, machine: str) -> None:
    with pytest.raises(Failure) as failed:
        choose_gpus("auto", look(machine_named(machine)))
    assert failed.value.code == "gpu_missing"


def test_mixed_gpus_are_summed_and_shown(machine_named: Named) -> None:
    found = choose_gpus("auto", look(machine_named("mixed-models")))
    assert found.summary == (
        "3 GPUs, 122856 MiB in total: 2 x NVIDIA RTX A6000 (98280 MiB), NVIDIA GeForce RTX 3090, Founders Edition (24576 MiB)"
    )
    assert check_memory(found, "M", 122_856) == 122_856
    with pytest.raises(Failure) as failed:
        check_memory(found, "M", 122_857)
    assert failed.value.code == "gpu_too_small"
    assert found.summary in failed.value.message


@pytest.mark.parametrize(
    ("machine", "slug", "code"),
    [
        ("dgx-spark", "qwen3.6-27b", None),
        ("dgx-spark", "qwen3.6-35b-a3b-nvfp4", None),
        ("h100x8", "qwen3.6-35b-a3b-nvfp4", "gpu_too_old"),
        ("dgx-spark", "deepseek-r1-distill-70b", "gpu_too_small"),
        ("dgx-station", "deepseek-r1-distill-70b", None),
        ("rtx4090", "nemotron-3-nano-4b", None),
        ("rtx4090", "qwen3.6-27b", "gpu_too_small"),
        # Eight GPUs do not help a model that runs on one.
        ("h100x8", "deepseek-r1-distill-70b", "gpu_too_small"),
        ("mixed-models", "nemotron-3-nano-4b", "gpu_too_old"),
        ("old-driver", "nemotron-3-nano-4b", None),
    ],
)
def test_models_on_machines(machine_named: Named, machine: str, slug: str, code: str | None) -> None:
    model = build_catalogue()[slug]
    found = choose_gpus("auto", look(machine_named(machine)), "GB300")
    try:
        check_capability(found, model.model, model.compute_capability)
        check_memory(found, model.model, model.needed_memory_mib, model.tensor_parallel_size)
        outcome = None
    except Failure as failure:
        assert model.model in failure.message
        outcome = failure.code
    assert outcome == code


def test_a_model_spread_over_gpus(machine_named: Named) -> None:
    found = choose_gpus("all", look(machine_named("h100x8")))
    assert check_memory(found, "M", 160_000, 2) == 2 * 81_559
    with pytest.raises(Failure, match="spread over 9"):
        check_memory(found, "M", None, 9)


@pytest.mark.parametrize(
    ("needed", "count", "says"),
    [
        (230_000, 1, r"Spread it over 4 GPUs"),
        (160_000, 1, r"over 2 GPUs"),
        (700_000, 1, r"\. Choose a smaller"),
        (700_000, None, "Choose"),
    ],
)
def test_more_gpus_are_named_where_they_would_do(
    machine_named: Named, needed: int, count: int | None, says: str
) -> None:
    found = choose_gpus("all", look(machine_named("h100x8")))
    with pytest.raises(Failure, match=says):
        check_memory(found, "M", needed, count)


def test_two_engines_on_one_gpu(machine_named: Named, write_command: WriteCommand) -> None:
    machine = machine_named("rtx4090")
    found = choose_gpus("auto", look(machine))
    check_free(found, 0.7, [])
    busy = Gpus(found.ids, [{**found.devices[0], "memory_free_mib": 9000}])
    # As nvidia-smi prints it: without a header and units, names with commas, and [N/A] where WSL hides the size.
    listing = "4711, /usr/local/bin/ollama, 14000\\n4712, python3, x, [N/A]\\nNo devices"
    machine = Machine(root=machine.root, environ=machine.environ)
    write_command(
        machine.root / "usr/bin/nvidia-smi",
        '[ "$*" = "--query-compute-apps=pid,process_name,used_memory --format=csv,noheader,nounits" ] || exit 64\n'
        f"printf '{listing}'",
    )
    holders = find_holders(machine)
    assert holders == ["/usr/local/bin/ollama (pid 4711, 14000 MiB)", "python3, x (pid 4712)"]
    with pytest.raises(Failure) as failed:
        check_free(busy, 0.7, holders)
    assert failed.value.code == "gpu_busy"
    assert failed.value.details["holders"] == holders
    assert "9000 of 24564 MiB are free, but the server takes 17194 MiB" in failed.value.message
    assert "ollama (pid 4711" in failed.value.message


def unified(total: int, unified_memory: bool = True) -> Gpus:
    return Gpus(["all"], [{"name": "NVIDIA GB10", "memory_total_mib": total, "unified_memory": unified_memory}])


@pytest.mark.parametrize(
    ("total", "wanted", "share"),
    [
        (122_571, 0.7, 0.7),
        (122_571, 0.9, 0.86),
        (62_800, 0.7, 0.7),
        (30_697, 0.7, 0.46),
        (15_000, 0.7, 0.0),
    ],
)
def test_unified_memory_is_left_to_the_host(total: int, wanted: float, share: float) -> None:
    """A Spark of which more is taken freezes."""
    assert bounded_share(unified(total), wanted) == share
    assert total * (1 - share) >= min(total, HOST_RESERVE_MIB)
    assert bounded_share(unified(total, False), wanted) == wanted


@pytest.mark.parametrize(("total", "share"), [(122_571, 0.9), (122_571, 1.0), (30_697, 0.7), (15_000, 0.7)])
def test_a_plan_that_takes_more_is_refused_with_the_numbers(total: int, share: float) -> None:
    with pytest.raises(Failure) as failed:
        check_host_room(unified(total), "M", share, "the setting")
    assert failed.value.code == "host_memory_short"
    assert f"{share:g} of {total} MiB leave {int(total * (1 - share))} MiB" in failed.value.message
    assert ("the setting" in failed.value.message) is (total > 16_384)
    check_host_room(unified(total, False), "M", share, "the setting")


def test_a_plan_that_leaves_enough_is_let_through() -> None:
    check_host_room(unified(122_571), "M", 0.86, "the setting")
