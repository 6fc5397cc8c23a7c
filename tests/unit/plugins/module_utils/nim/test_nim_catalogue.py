# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIM a host gets, on recorded GPUs."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.gpus import find_gpus, parse_meminfo
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import read_platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim.catalogue import (
    NimModel,
    build_catalogue,
    choose,
    find_model,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions import Gpus, choose_gpus
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import parse_reference

Named = Callable[[str], Machine]
SUPER = "nvidia/nemotron-3-super-120b-a12b"
SEVENTY = "nvidia/llama-3.1-nemotron-70b-instruct"
FORTY_NINE = "nvidia/llama-3.3-nemotron-super-49b-v1"
NANO = "nvidia/nemotron-3-nano-30b-a3b"
EIGHT = "meta/llama-3.1-8b-instruct"


def gpus_of(machine: Machine, wanted: str = "auto") -> Gpus:
    memory = parse_meminfo(machine.read("/proc/meminfo"))
    return choose_gpus(wanted, find_gpus(machine, read_platform(machine).name, memory))


@pytest.mark.parametrize(
    ("machine", "wanted", "model"),
    [
        ("h100x8", "auto", SUPER),
        ("h100x8", "0,1", SUPER),
        # 81559 MiB are not the 81920 that 70B asks for.
        ("h100x8", "0", FORTY_NINE),
        # The memory that a Spark shares with its host is not enough for the 120B, which upstream once offered at 40 GB.
        ("dgx-spark", "auto", SEVENTY),
        ("dgx-station", "auto", SUPER),
        ("dgx-station", "RTX", SEVENTY),
        # 122856 MiB in all, of which 98280 are of one kind.
        ("mixed-models", "auto", SEVENTY),
        ("mixed-models", "RTX 3090", NANO),
        ("rtx4090", "auto", NANO),
        ("jetson-jetpack6", "auto", None),
        ("wsl-rtx-laptop", "auto", None),
    ],
)
def test_the_largest_that_really_fits(machine_named: Named, machine: str, wanted: str, model: str | None) -> None:
    gpus = gpus_of(machine_named(machine), wanted)
    if model is None:
        with pytest.raises(Failure) as failed:
            choose(build_catalogue(), gpus)
        assert failed.value.code == "gpu_too_small"
        assert gpus.summary in failed.value.message
        assert "no cloud is used instead" in failed.value.message
        return
    found = choose(build_catalogue(), gpus)
    assert (found.model.name, found.warning) == (model, None)
    assert gpus.summary in found.reason
    assert found.model.name in found.fitting
    assert found.gpus is not None
    assert len({device["name"] for device in found.gpus.devices}) == 1


def test_mixed_gpus_are_summed_shown_and_warned_of(machine_named: Named) -> None:
    gpus = gpus_of(machine_named("mixed-models"))
    chosen = choose(build_catalogue(), gpus)
    assert "3 GPUs, 122856 MiB in total: 2 x NVIDIA RTX A6000 (98280 MiB)" in chosen.reason
    assert chosen.reason.endswith("the NVIDIA RTX A6000 count)")
    between = build_catalogue({"lab/between": {"image": "lab/between:1", "memory_mib": 100_000}})
    found = choose(between, gpus, "between")
    assert "lab/between" in found.fitting
    assert found.warning is not None
    assert "98280 MiB" in found.warning
    assert (found.gpus, choose(between, gpus).model.name) == (gpus, SEVENTY)
    # One that fits the GPUs of one kind gets those.
    fits = choose(between, gpus, EIGHT)
    assert fits.gpus is not None
    assert [device["name"] for device in fits.gpus.devices] == ["NVIDIA RTX A6000"] * 2
    assert fits.warning is None


@pytest.mark.parametrize(("machine", "wanted"), [("rtx4090", SUPER), ("rtx4090", "NVIDIA/" + FORTY_NINE[7:].upper())])
def test_an_explicit_model_must_fit(machine_named: Named, machine: str, wanted: str) -> None:
    with pytest.raises(Failure) as failed:
        choose(build_catalogue(), gpus_of(machine_named(machine)), wanted)
    assert failed.value.code == "gpu_too_small"
    assert "24564 MiB" in failed.value.message


@pytest.mark.parametrize("wanted", ["", "  ", None])
def test_nothing_asked_for(machine_named: Named, wanted: str | None) -> None:
    assert choose(build_catalogue(), gpus_of(machine_named("rtx4090")), wanted).model.name == NANO


@pytest.mark.parametrize(
    ("name", "found"), [(EIGHT, EIGHT), ("Meta/Llama-3.1-8B-Instruct\n", EIGHT), ("nemotron-3-nano-30b-a3b", NANO)]
)
def test_names(name: str, found: str) -> None:
    assert find_model(name, build_catalogue()).name == found


def test_an_unknown_model_is_answered_by_the_list() -> None:
    with pytest.raises(Failure) as failed:
        find_model("meta/llama-4", build_catalogue())
    assert failed.value.code == "model_unknown"
    assert all(name in failed.value.message for name in (SUPER, SEVENTY, FORTY_NINE, NANO, EIGHT))


def test_images() -> None:
    for model in build_catalogue():
        parsed = parse_reference(model.reference())
        assert (parsed.registry, parsed.repository[:4]) == ("nvcr.io", "nim/")
        assert parse_reference(model.reference("localhost:5000")).registry == "localhost:5000"
    assert NimModel("a", "ghcr.io/a/b:1").reference("localhost:5000") == "ghcr.io/a/b:1"
    assert find_model(NANO, build_catalogue()).served_as == "nvidia/nemotron-3-nano"


def test_the_weights_alone_never_need_more_than_a_fitting_host_has() -> None:
    for model in build_catalogue():
        assert model.needed_memory_mib * 1024 * 1024 > model.weights_bytes


def test_an_inventory_changes_what_it_names() -> None:
    catalogue = build_catalogue({"META/llama-3.1-8b-instruct": {"image": "nim/meta/llama@sha256:" + "0" * 64}})
    found = find_model(EIGHT, catalogue)
    assert (found.image[:15], found.memory_mib) == ("nim/meta/llama@", 16_384)
    assert len(catalogue) == len(build_catalogue())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("lab/own:1", "dictionary"),
        ({}, "lacks an image"),
        ({"image": 1}, "image"),
        ({"image": "a", "memory": 1}, "'memory'"),
        ({"image": "a", "memory_mib": "much"}, "'much'"),
        ({"image": "a", "memory_mib": True}, "True"),
        ({"image": "a", "memory_mib": -1}, "from 0 to"),
        ({"image": "a", "weights_bytes": 10**400}, "from 0 to"),
    ],
)
def test_entries_that_cannot_be_meant(entry: Any, words: str) -> None:
    with pytest.raises(Failure) as failed:
        build_catalogue({"lab/own": entry})
    assert failed.value.code == "catalogue_invalid"
    assert words in failed.value.message


def test_an_entry_without_a_name() -> None:
    with pytest.raises(Failure, match="has no name") as failed:
        build_catalogue({" ": {"image": "a"}})
    assert failed.value.code == "catalogue_invalid"
