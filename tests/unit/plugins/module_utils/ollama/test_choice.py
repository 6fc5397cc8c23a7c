# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of models, which one a host gets, and sizes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import catalogue
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.catalogue import choose, starters
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.names import is_same, parse_name
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.profiles import PAGE

TOOLS = ["completion", "tools"]


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("qwen2.5", "qwen2.5:latest"),
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("library/qwen2.5:7b", "qwen2.5:7b"),
        ("registry.ollama.ai/library/qwen2.5:7b", "qwen2.5:7b"),
        ("me/mine", "me/mine:latest"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
        ("LOCALHOST:5000/lab/x:1b", "localhost:5000/lab/x:1b"),
    ],
)
def test_names(text: str, listed: str) -> None:
    assert str(parse_name(text)) == listed
    assert str(parse_name(listed)) == listed


@pytest.mark.parametrize(
    "text", ["", ":7b", "a:", "a b", "a;b", "/a", "a/b/c/d", "http://h/a/b", "a:b:c", "../x", "a\nb", "ä", "a@sha256"]
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_name(text)
    assert failed.value.code == "model_name_invalid"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [("x", "x:latest", True), ("X:1B", "x:1b", True), ("x:1", "x:2", False), ("what is this?", "x", False)],
)
def test_same(first: str, second: str, same: bool) -> None:
    assert is_same(first, second) is same


def gpus(total: int, available: int | None) -> dict[str, Any]:
    return {"memory_total_mib": total, "memory_available_mib": available}


def model(name: str, capabilities: Any = (*TOOLS,), size: int = 10**9) -> dict[str, Any]:
    return {"name": name, "capabilities": capabilities, "size": size}


@pytest.mark.parametrize(
    ("total", "available", "name"),
    [
        (0, None, "qwen2.5:7b"),  # no GPU
        (8_192, 8_000, "qwen2.5:7b"),
        (32_767, 32_767, "qwen2.5:7b"),  # one MiB below 32 GiB
        (32_768, 32_768, "qwen3.6:35b"),  # at it
        (32_768, 25_999, "nemotron-3-nano:30b"),  # in use by others
        (32_768, 21_999, "qwen2.5:7b"),
        (49_140, None, "qwen3.6:35b"),  # free memory unknown: the total counts
        (122_572, 114_033, "qwen3.6:35b"),  # DGX Spark, unified
        (122_572, 10_000, "qwen2.5:7b"),
        (48, 0, "qwen2.5:7b"),
    ],
)
def test_nothing_installed(total: int, available: int | None, name: str) -> None:
    choice = choose([], [], gpus(total, available), True)
    assert choice.name == name
    assert "largest starter" in choice.reason


@pytest.mark.parametrize(
    ("installed", "name"),
    [
        ([("mine:1b", TOOLS), ("nemotron-3-nano:30b", TOOLS)], "nemotron-3-nano:30b"),
        ([("mine:1b", TOOLS), ("other:1b", TOOLS)], "mine:1b"),
        ([("plain:1b", ["completion"]), ("other:1b", None)], "other:1b"),
        ([("plain:1b", ["completion"])], "qwen3.6:35b"),
    ],
)
def test_installed_models_come_first(installed: list[tuple[str, Any]], name: str) -> None:
    models = [model(one, known) for one, known in installed]
    assert choose(models, [], gpus(40_000, 40_000), True).name == name


def test_an_installed_starter_that_does_not_fit_is_passed_over() -> None:
    models = [model("qwen3.6:35b"), model("mine:1b")]
    assert choose(models, [], gpus(16_000, 16_000), True).name == "mine:1b"


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        (gpus(8_192, 8_000), "small:8b"),
        (gpus(8_192, 4_000), "qwen2.5:7b"),
        (gpus(400_000, 300_000), "large:405b"),
        ({**gpus(0, None), "host_available_mib": 16_000}, "small:8b"),  # no GPU: they run in the host's memory
        ({**gpus(0, None), "host_available_mib": 300_000}, "large:405b"),
        ({**gpus(0, None), "host_available_mib": None}, "large:405b"),  # nobody knows
    ],
)
def test_an_installed_model_that_does_not_fit_is_passed_over(memory: dict[str, Any], name: str) -> None:
    models = [model("large:405b", size=243 * 10**9), model("small:8b", size=5 * 10**9)]
    assert choose(models, [], memory, True).name == name


def test_what_a_loaded_model_holds_of_the_hosts_memory_is_given_back() -> None:
    memory = {**gpus(0, None), "host_available_mib": 1_000}
    models, loaded = [model("mine:8b", size=5 * 10**9)], [{"name": "mine:8b", "size": 6 * 10**9, "size_vram": 0}]
    assert choose(models, loaded, memory, True).name == "mine:8b"
    assert choose(models, [], memory, True).name == "qwen2.5:7b"


def test_without_tools_every_model_that_generates_text_will_do() -> None:
    models = [model("embed:1b", ["embedding"]), model("plain:1b", ["completion"])]
    assert choose(models, [], gpus(0, None), False).name == "plain:1b"
    assert choose(models[:1], [], gpus(0, None), False).name == "qwen2.5:7b"


def test_a_second_run_finds_its_own_choice() -> None:
    # The loaded model holds the memory that it was chosen for.
    models = [model("qwen3.6:35b")]
    loaded = [{"name": "qwen3.6:35b", "size": 26_000 * 1024 * 1024, "size_vram": 26_000 * 1024 * 1024}]
    assert choose(models, loaded, gpus(32_768, 6_000), True).name == "qwen3.6:35b"
    assert choose(models, [], gpus(32_768, 6_000), True).name == "qwen2.5:7b"


def test_the_starters_are_those_of_the_page() -> None:
    assert [(one.name, one.total_mib) for one in starters(PAGE)] == [
        ("qwen3.6:35b", 32 * 1024),
        ("nemotron-3-nano:30b", 32 * 1024),
        ("qwen2.5:7b", 0),
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (4_683_073_184, "4.36 GiB"), (10**15, "909.49 TiB")],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert catalogue.format_bytes(count) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((5_000, "registry"), "4.88 KiB"),
        ((5_000, "estimate"), "about 4.88 KiB"),
        ((None, "unknown"), "of unknown size"),
    ],
)
def test_sizes_for_people(size: tuple[Any, str], text: str) -> None:
    assert str(catalogue.Size(*size)) == text


@pytest.mark.parametrize(
    ("name", "size"),
    [("qwen2.5:7b", (4_683_073_184, "estimate")), ("qwen2.5:14b", (None, "unknown"))],
)
def test_a_registry_out_of_reach(monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[Any, str]) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise Failure("dns_failed", "No such host.")

    monkeypatch.setattr(catalogue.Client, "open", refuse)
    assert catalogue.find_size(parse_name(name), False)[:2] == size
