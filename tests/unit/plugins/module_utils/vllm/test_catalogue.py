# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model and image a host gets, how its server is started, and what inventories may change about it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import parse_reference
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.catalogue import (
    PROFILES,
    build_catalogue,
    check_token,
    default_model,
    find_image,
    find_model,
    gpu_names,
    memory_share,
    names_share,
    serve_command,
)

OWN = {"my-model": {"model": "lab/My-Model", "max_model_len": 4096}}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("qwen3.6-27b", "qwen3.6-27b"),
        (" QWEN3.6-27B\n", "qwen3.6-27b"),
        ("Qwen/Qwen3.6-27B-FP8", "qwen3.6-27b"),
        ("qwen/qwen3.6-27b-fp8", "qwen3.6-27b"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-4B-FP8", "nemotron-3-nano-4b"),
        ("DeepSeek-R1-Distill-70B", "deepseek-r1-distill-70b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-r1-distill-70b"),
        ("LAB/my-model", "my-model"),
    ],
)
def test_names_of_models(name: str, slug: str) -> None:
    assert find_model(name, build_catalogue(OWN)).slug == slug


@pytest.mark.parametrize("name", ["qwen", "", "qwen3.6-27b-fp8", "Qwen/Qwen3.6-27B-FP8/", "*"])
def test_an_unknown_model_is_answered_by_the_list(name: str) -> None:
    with pytest.raises(Failure) as failed:
        find_model(name, build_catalogue(OWN))
    assert failed.value.code == "model_unknown"
    for slug in ("qwen3.6-27b", "nemotron-3-nano-4b", "deepseek-r1-distill-70b", "my-model"):
        assert slug in failed.value.message
        assert slug in failed.value.details["known_models"]


@pytest.mark.parametrize(
    ("profile", "model"),
    [
        ("dgx-spark", "Qwen/Qwen3.6-27B-FP8"),
        ("dgx-station", "Qwen/Qwen3.6-27B-FP8"),
        ("linux-nvidia", "nvidia/NVIDIA-Nemotron-3-Nano-4B-FP8"),
    ],
)
def test_the_profiles_of_the_page(profile: str, model: str) -> None:
    assert default_model(profile, build_catalogue()).model == model


def test_every_profile_has_a_model_and_images_by_digest() -> None:
    for profile, content in PROFILES.items():
        assert default_model(profile, build_catalogue())
        for architecture in content["images"]:
            image = find_image(profile, architecture)
            assert parse_reference(image.reference).digest
            assert image.version
            assert image.download_bytes and image.download_bytes > 8_000_000_000


def test_a_host_without_a_profile() -> None:
    for action in (lambda: default_model("none", build_catalogue()), lambda: find_image("none", "amd64")):
        with pytest.raises(Failure) as failed:
            action()
        assert failed.value.code == "no_profile"
        assert "another provider" in failed.value.message


def test_images() -> None:
    assert find_image("dgx-spark", "arm64").version == "26.05.post1-py3"
    assert find_image("linux-nvidia", "arm64").reference != find_image("linux-nvidia", "amd64").reference
    assert find_image("none", "riscv64", "lab/vllm:1") == ("lab/vllm:1", None, None)
    with pytest.raises(Failure, match="riscv64") as failed:
        find_image("linux-nvidia", "riscv64")
    assert failed.value.code == "no_image"
    assert (gpu_names("dgx-station"), gpu_names("dgx-spark"), gpu_names("none")) == ("GB300", None, None)


def pairs(command: list[str]) -> dict[str, str]:
    return {one: two for one, two in zip(command, command[1:]) if one.startswith("--")}


@pytest.mark.parametrize(
    ("slug", "length", "reasoning", "tools", "share"),
    [
        ("qwen3.6-27b", "262144", "qwen3", "qwen3_coder", "0.7"),
        ("nemotron-3-nano-4b", "262144", "nemotron_v3", "qwen3_coder", "0.7"),
        ("deepseek-r1-distill-70b", "32768", "deepseek_r1", "hermes", "0.7"),
        ("qwen3.6-35b-a3b-nvfp4", "262144", "qwen3", "qwen3_coder", "0.4"),
    ],
)
def test_the_command_of_a_listed_model(slug: str, length: str, reasoning: str, tools: str, share: str) -> None:
    model = build_catalogue()[slug]
    command = serve_command(model)
    assert command[:3] == ["vllm", "serve", model.model]
    found = pairs(command)
    assert (found["--max-model-len"], found["--reasoning-parser"], found["--tool-call-parser"]) == (
        length,
        reasoning,
        tools,
    )
    assert {"--enable-auto-tool-choice", "--trust-remote-code"} <= set(command)
    assert (found["--gpu-memory-utilization"], found["--port"]) == (share, "8000")
    # It would need a library that the image lacks, and the server has no way to get it.
    assert "fastsafetensors" not in command


def test_an_inventory_changes_what_it_names_and_nothing_else() -> None:
    changed = build_catalogue({"QWEN3.6-27B": {"max_model_len": 32768, "flags": ["--max-num-seqs", 2]}})
    before, after = build_catalogue()["qwen3.6-27b"], changed["qwen3.6-27b"]
    assert (after.max_model_len, after.flags) == (32768, ("--max-num-seqs", "2"))
    assert (after.model, after.tool_call_parser, after.download_bytes) == (
        before.model,
        before.tool_call_parser,
        before.download_bytes,
    )
    assert changed["nemotron-3-nano-4b"] == build_catalogue()["nemotron-3-nano-4b"]


def test_a_model_of_the_inventory() -> None:
    more = {
        "own": {
            "model": "lab/own",
            "max_model_len": 8192,
            "served_name": "own",
            "revision": "abc",
            "tensor_parallel_size": 2,
            "trust_remote_code": False,
            "environment": {"A": 1},
        }
    }
    own = build_catalogue(more)["own"]
    found = serve_command(own, ["--max-num-seqs", "1"])
    assert (own.served_as, own.needed_memory_mib, own.environment) == ("own", None, {"A": "1"})
    assert pairs(found) | {
        "--revision": "abc",
        "--served-model-name": "own",
        "--tensor-parallel-size": "2",
    } == pairs(found)
    assert found[-2:] == ["--max-num-seqs", "1"]
    assert not {"--trust-remote-code", "--enable-auto-tool-choice", "--reasoning-parser"} & set(found)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("lab/own", "dictionary"),
        ({"model": "lab/own"}, "max_model_len"),
        ({"max_model_len": 1}, "lacks model"),
        ({"model": "lab/own", "max_model_len": 1, "max_len": 2}, "'max_len'"),
        ({"model": "lab/own", "max_model_len": "long"}, "'long'"),
        ({"model": "lab/own", "max_model_len": True}, "True"),
        ({"model": "lab/own", "max_model_len": 1, "flags": "--a"}, "flags"),
        ({"model": "lab/own", "max_model_len": 1, "gated": "yes"}, "gated"),
        ({"model": "lab/own", "max_model_len": 1, "gpu_memory_utilization": 70}, "between 0 and 1"),
        ({"model": "lab/own", "max_model_len": 1, "tensor_parallel_size": 0}, "1 or more"),
        ({"model": None, "max_model_len": 1}, "model"),
    ],
)
def test_entries_that_cannot_be_meant(entry: Any, words: str) -> None:
    with pytest.raises(Failure) as failed:
        build_catalogue({"own": entry})
    assert failed.value.code == "catalogue_invalid"
    assert "'own'" in failed.value.message
    assert words in failed.value.message


@pytest.mark.parametrize(
    ("slug", "least", "most"),
    [
        ("nemotron-3-nano-4b", 5_035, 12_288),
        ("qwen3.6-27b", 42_000, 65_536),
        # It does not fit a Spark: its weights alone are larger than the memory that a Spark has.
        ("deepseek-r1-distill-70b", 192_000, 256_703),
    ],
)
def test_memory_of_the_listed_models(slug: str, least: int, most: int) -> None:
    needed = build_catalogue()[slug].needed_memory_mib
    assert needed is not None
    assert least < needed < most
    assert build_catalogue({slug: {"memory_mib": 7}})[slug].needed_memory_mib == 7


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_a_gated_model_without_a_token(token: str | None) -> None:
    with pytest.raises(Failure) as failed:
        check_token(build_catalogue()["deepseek-r1-distill-70b"], token)
    assert failed.value.code == "gated_without_token"
    assert "HF_TOKEN" in failed.value.message


def test_a_token_is_asked_for_where_it_is_needed_only() -> None:
    check_token(build_catalogue()["deepseek-r1-distill-70b"], "hf_x")
    check_token(build_catalogue()["qwen3.6-27b"], None)


@pytest.mark.parametrize(
    ("arguments", "share"),
    [
        ([], 0.7),
        (["--gpu-memory-utilization", "0.9"], 0.9),
        (["--gpu_memory_utilization=0.95", "--port", "1"], 0.95),
        (["--gpu-memory-utilization=0.5", "--gpu-memory-utilization", "0.8"], 0.8),
        (["--gpu-memory-utilization", "much"], 0.7),
    ],
)
def test_what_it_takes_of_the_memory_is_what_the_last_argument_says(arguments: list[str], share: float) -> None:
    assert memory_share(build_catalogue()["qwen3.6-27b"], arguments) == share


def test_whether_the_inventory_says_what_it_takes() -> None:
    model = build_catalogue()["qwen3.6-27b"]
    assert not names_share(model, {"qwen3.6-27b": {"max_model_len": 1}, "other": {"gpu_memory_utilization": 0.5}})
    assert names_share(model, {"Qwen3.6-27B": {"gpu_memory_utilization": 0.9}})
