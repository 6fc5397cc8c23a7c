# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many tokens of context a model gets, by the host's memory and the model's own metadata."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service_plan import (
    Room,
    cache_bytes,
    choose_context,
    judge_own,
)

GIB = 1024**3
QWEN: dict[str, Any] = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 28,
    "qwen2.attention.head_count": 28,
    "qwen2.attention.head_count_kv": 4,
    "qwen2.embedding_length": 3584,
}


@pytest.mark.parametrize(
    ("room", "weights", "length", "said"),
    [
        (Room(0, 16_000, False), 5 * GIB, 16384, "will take about 6.88 GiB"),
        (Room(0, 8_000, False), 5 * GIB, None, "this host has 5.86 GiB for it"),
        (Room(8_192, 32_000, False), 5 * GIB, 16384, "for another length."),
        (Room(6_144, 32_000, False), 5 * GIB, 16384, "A part of it will run on the CPU"),
        (Room(24_564, 64_000, False), 15 * GIB, None, ""),  # Ollama takes 32768 there by itself
        (Room(7_600, 7_600, True), 5 * GIB, 16384, "will take about 6.88 GiB"),  # a Jetson: one memory for both
        (Room(6_000, 6_000, True), 5 * GIB, None, "this host has 5.86 GiB"),
        (Room(0, None, False), 5 * GIB, 16384, ""),
        (Room(0, 4_500, False), None, 16384, ""),
    ],
)
def test_the_context_by_memory(room: Room, weights: int | None, length: int | None, said: str) -> None:
    chosen = choose_context(16384, "qwen2.5:7b", weights, cache_bytes(QWEN), room)
    assert (chosen.length, said in chosen.reason) == (length, True), chosen.reason
    assert bool(chosen.reason) == (room.gpu < 23 * 1024)


@pytest.mark.parametrize(("value", "said"), [("4096", True), ("16384", False), ("131072", False), ("lots", False)])
def test_what_the_owner_has_set_stays(value: str, said: bool) -> None:
    chosen = judge_own(16384, value, "/etc/default/ollama:3")
    assert (chosen.length, "by /etc/default/ollama:3" in chosen.reason) == (None, said)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, 28 * 4 * 256 * 2),
        ({"qwen2.attention.key_length": 64, "qwen2.attention.value_length": 64}, 28 * 4 * 128 * 2),
        ({"qwen2.attention.head_count_kv": None}, None),
        ({"qwen2.attention.head_count_kv": [0, 8]}, None),  # a value for each layer, as hybrid models have
        ({"qwen2.block_count": True}, None),
        ({"qwen2.attention.head_count": 0}, None),
        ({"general.architecture": ["x"]}, None),
    ],
)
def test_the_cache_of_a_token(changes: dict[str, Any], found: int | None) -> None:
    assert cache_bytes({**QWEN, **changes}) == found
