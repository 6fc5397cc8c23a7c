# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model is meant, and how much context it has."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import models
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport import trouble

LLAMA_CPP = Path(__file__).parents[3] / "fixtures" / "llama_cpp" / "models.json"
URL = "http://h/v1/models"


def served(*names: Any) -> list[dict[str, Any]]:
    return models.entries({"data": [{"id": name} for name in names]}, URL)


def test_the_recorded_list_of_llama_cpp() -> None:
    listed = models.entries(trouble.parse_object(LLAMA_CPP.read_bytes(), URL, ""), URL)
    entry = models.choose("scripted", listed, URL, "")
    assert models.context_window(entry) == 32768
    assert models.context_source(entry) == "/props"


@pytest.mark.parametrize(
    ("wanted", "names", "chosen"),
    [
        ("a", ["a"], "a"),
        ("a", ["b", "a", "c"], "a"),
        (None, ["a"], "a"),
        ("", ["a"], "a"),
        ("qwen3", ["qwen3:8b", "qwen3:latest"], "qwen3:latest"),
        ("qwen3:8b", ["qwen3:8b", "qwen3:latest"], "qwen3:8b"),
        ("gemini-2.5-flash", ["models/gemini-2.5-flash"], "models/gemini-2.5-flash"),
        ("Qwen/Qwen3.6-27B-FP8", ["Qwen/Qwen3.6-27B-FP8"], "Qwen/Qwen3.6-27B-FP8"),
    ],
)
def test_choose(wanted: str | None, names: list[str], chosen: str) -> None:
    assert models.choose(wanted, served(*names), URL, "")["id"] == chosen


@pytest.mark.parametrize("content", [{}, {"foo": 1}, {"models": [{"name": "m"}]}])
def test_json_that_is_no_list_of_models(content: dict[str, Any]) -> None:
    with pytest.raises(Failure) as failed:
        models.entries(content, URL)
    assert failed.value.code == "wrong_shape"


def test_ollama_without_models() -> None:
    assert models.entries({"object": "list", "data": None}, URL) == []


def test_an_alias_is_a_name_too() -> None:
    listed = models.entries({"data": [{"id": "model.gguf", "aliases": ["qwen", "coder"]}]}, URL)
    assert models.choose("coder", listed, URL, "")["id"] == "model.gguf"


@pytest.mark.parametrize(
    ("wanted", "names", "code", "said"),
    [
        ("a", [], "no_models", "lists no model"),
        (None, [], "no_models", "lists no model"),
        (None, ["a", "b"], "model_ambiguous", "a, b"),
        ("qwen-3", ["qwen3", "gemma"], "model_not_served", "Did you mean qwen3?"),
        ("zzz", ["qwen3", "gemma"], "model_not_served", "It serves: qwen3, gemma."),
        ("A", ["a"], "model_not_served", "Did you mean a?"),
        ("a:8b", ["a:latest"], "model_not_served", "a:latest"),
        ("5", [5], "model_not_served", "5"),
    ],
)
def test_what_is_not_served_is_refused_with_what_is(wanted: str | None, names: list[Any], code: str, said: str) -> None:
    with pytest.raises(Failure) as failed:
        models.choose(wanted, served(*names), URL, "")
    assert failed.value.code == code
    assert said in failed.value.message
    if names:
        assert failed.value.details["served_models"] == [str(name) for name in names]


def test_a_long_list_is_shown_in_part_and_returned_whole() -> None:
    with pytest.raises(Failure) as failed:
        models.choose("zzz", served(*(f"model-{number}" for number in range(3000))), URL, "")
    assert "and 2980 more" in failed.value.message
    assert len(failed.value.message) < 1000
    assert len(failed.value.details["served_models"]) == 3000


def test_names_are_shown_without_the_key_and_printable() -> None:
    with pytest.raises(Failure) as failed:
        models.choose("zzz", served("k-1234567", "a\x1b[2Jb", "x" * 5000), URL, "k-1234567")
    names = failed.value.details["served_models"]
    assert names[:2] == ["********", "a?[2Jb"]
    assert len(names[2]) == 200
    assert "k-1234567" not in failed.value.message


@pytest.mark.parametrize(
    ("entry", "window"),
    [
        ({"max_model_len": 8192}, 8192),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 131072}}, 4096),
        ({"meta": {"n_ctx_train": 131072}}, None),
        ({"loaded_context_length": 4096, "max_context_length": 131072}, 4096),
        ({"context_length": 65536}, 65536),
        ({"context_window": 200000}, 200000),
        ({"max_model_len": None, "context_length": 1024}, 1024),
        ({"max_model_len": "8192"}, None),
        ({"max_model_len": 0}, None),
        ({"max_model_len": -1}, None),
        ({"max_model_len": True}, None),
        ({"meta": {"n_ctx": True}}, None),
        ({"meta": "llama"}, None),
        ({}, None),
    ],
)
def test_context_window(entry: dict[str, Any], window: int | None) -> None:
    assert models.context_window(entry) == window


@pytest.mark.parametrize(
    ("content", "window"),
    [
        ({"default_generation_settings": {"n_ctx": 8192}}, 8192),
        ({"default_generation_settings": {"n_ctx": None}}, None),
        (
            {
                "models": [
                    {"name": "other", "context_length": 1},
                    {"name": "m:latest", "model": "m", "context_length": 4096},
                ]
            },
            4096,
        ),
        ({"models": [{"name": "other", "context_length": 1}]}, None),
        ({"models": []}, None),
        ({}, None),
    ],
)
def test_context_from_source(content: dict[str, Any], window: int | None) -> None:
    assert models.context_from_source(content, "m") == window


@pytest.mark.parametrize(
    ("owner", "path"), [("llamacpp", "/props"), ("library", "/api/ps"), ("vllm", None), (None, None), (["x"], None)]
)
def test_context_source(owner: Any, path: str | None) -> None:
    assert models.context_source({"id": "m", "owned_by": owner}) == path


ODD: list[Any] = [None, 0, 1, True, "x", 1.5, [], [None], ["m"], [1], [[]], {}, {"a": 1}, [{}]]


@pytest.mark.parametrize(("odd", "model"), list(itertools.product(ODD, ["m", None])))
def test_odd_lists_end_in_a_model_or_a_failure(odd: Any, model: str | None) -> None:
    lists: list[dict[str, Any]] = [
        {"data": odd},
        {"data": [odd]},
        {"data": [{"id": odd}]},
        {"data": [{"id": "m", "aliases": odd, "meta": odd, "owned_by": odd, "max_model_len": odd}]},
        {"data": [{"id": "m", "meta": {"n_ctx": odd}}, {"id": odd}]},
    ]
    for content in lists:
        try:
            entry = models.choose(model, models.entries(content, URL), URL, "")
        except Failure as failure:
            assert failure.code in ("no_models", "model_ambiguous", "model_not_served"), content
        else:
            models.context_window(entry)
            models.context_source(entry)
    sources: list[dict[str, Any]] = [
        {"default_generation_settings": odd},
        {"default_generation_settings": {"n_ctx": odd}},
        {"models": odd},
        {"models": [odd, {"name": "m", "context_length": odd}]},
    ]
    for content in sources:
        found = models.context_from_source(content, "m")
        assert found is None or (isinstance(found, int) and not isinstance(found, bool)), content
