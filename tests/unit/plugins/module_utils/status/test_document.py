# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of a host: its state and why, its bounds, and that no secret gets in."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import document

NOW = "2026-11-30T14:42:00Z"
CANARY = "canary-91d2e7"
FINE = {
    "name": "backend",
    "state": "healthy",
    "url": "http://127.0.0.1:11434/v1",
    "code": None,
    "detail": "",
    "latency": 0.1,
}
BAD = {**FINE, "state": "unreachable", "code": "connection_refused", "detail": "nobody listens on 127.0.0.1:11434"}
SKIPPED = {**FINE, "name": "gateway", "state": "not probed"}
STEP = {
    "id": "model.pull",
    "reason": "the model is not on this host",
    "interrupts": "nothing",
    "download_bytes": 5,
    "before": CANARY,
}
REFUSAL = {"code": "consent_missing", "message": "Say yes first."}
FAILURE = {"when": "2026-11-29T10:00:00Z", "code": "timeout", "message": "It took too long."}
ROUTE = {
    "provider": "ollama",
    "label": "Local Ollama",
    "model": "qwen2.5:7b",
    "credential_env": "OPENAI_API_KEY",
    "key": CANARY,
}
GPU = {
    "index": 0,
    "name": "NVIDIA GB10",
    "uuid": CANARY,
    "memory_total_mib": 122572,
    "memory_free_mib": 1000,
    "unified_memory": True,
}
HOST = {
    "platform": "dgx-spark",
    "distribution": {"id": "ubuntu", "version": "24.04", "name": CANARY},
    "memory": {"total_mib": 122572, "available_mib": 90000},
    "gpus": {"devices": [GPU], "problem": None, "summary": CANARY},
    "ollama": {"daemon_version": "0.32.9", "client_version": "0.1", "checksum": CANARY},
    "vllm": {"running": False, "model": CANARY},
    "docker": {"reachable": True, "kind": "native", "version": "27.5.1"},
    "openshell": {"version": None, "path": CANARY},
    "python": CANARY,
}  # fmt: skip


def plan_of(checks: list[dict[str, Any]], failure: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    found = {
        "host": {**HOST, "last_failure": failure},
        "choice": {"provider": "ollama", "model": "other", "reason": CANARY},
        "steps": [],
        "refusals": [],
        "recorded": ROUTE,
        "route": {"secret": CANARY},
        "proof": {"models": [CANARY]},
        "drift": False,
        "converged": True,
        "asked": checks,
    }
    return {**found, **more}


def build(found: dict[str, Any], *secrets: str) -> dict[str, Any]:
    return document.build("gpu-1", NOW, "0.2.0", found, secrets)


@pytest.mark.parametrize(
    ("found", "state", "exit_code", "reason"),
    [
        (plan_of([FINE, SKIPPED]), "healthy", 0, ""),
        (plan_of([FINE], drift=True, steps=[STEP]), "degraded", 1, "differs from its settings: the model is not on this host"),
        (plan_of([FINE], steps=[STEP]), "healthy", 0, ""),  # a model that is only to be loaded
        (plan_of([FINE], refusals=[REFUSAL], drift=True, steps=[STEP]), "degraded", 1, "site is refused: Say yes first."),
        (plan_of([FINE], FAILURE), "degraded", 1, "The last run failed: It took too long."),
        (plan_of([FINE, BAD], FAILURE, refusals=[REFUSAL]), "down", 2, "backend is unreachable: nobody listens"),
        (plan_of([{**FINE, "name": "route", "state": "not configured", "detail": "no record"}]), "down", 2, "no record"),
        (plan_of([], refusals=[REFUSAL]), "down", 2, "Say yes first."),
        ({"failed": True, "msg": "sudo: a password is required"}, "down", 2, "There is no plan of this host: sudo: a"),
        ({}, "down", 2, "without a message"),
    ],
)  # fmt: skip
def test_the_worst_decides(found: dict[str, Any], state: str, exit_code: int, reason: str) -> None:
    made = build(found)
    assert (made["state"], made["exit_code"]) == (state, exit_code)
    assert reason in made["reason"] if reason else made["reason"] == ""
    assert made["last_success"] == (NOW if exit_code < 2 else None)
    assert made["truncated"] == []


def test_what_it_says_of_a_host() -> None:
    made = build(plan_of([FINE], FAILURE, drift=True, steps=[STEP]))
    assert (made["host"], made["collected"], made["provider"], made["model"]) == ("gpu-1", NOW, "ollama", "qwen2.5:7b")
    assert made["facts"]["distribution"] == "ubuntu 24.04"
    assert made["facts"]["engines"] == {
        "ollama": "0.32.9", "vllm": None, "docker": "native 27.5.1", "openshell": None, "nemoclaw": None,
    }  # fmt: skip
    assert made["facts"]["gpus"][0]["memory_free_mib"] == 1000
    assert made["drift"]["steps"] == [{name: STEP[name] for name in ("id", "reason", "interrupts", "download_bytes")}]
    assert made["last_failure"] == FAILURE
    assert made["route"]["model"] == "qwen2.5:7b"


def test_fields_are_taken_by_name_so_nothing_else_gets_in() -> None:
    assert CANARY not in document.render(build(plan_of([{**FINE, "answer": CANARY}], {**FAILURE, "key": CANARY})))


def test_a_secret_that_a_server_quoted_is_masked_before_anything_is_cut() -> None:
    """Cut first, a part of it could stay at the end."""
    details = [f"{'x' * (length - 5)}{CANARY} refused" for length in (100, 2000, 1990)]
    made = document.render(build(plan_of([{**BAD, "detail": one} for one in details]), CANARY, "dummy", ""))
    assert "canary" not in made
    assert "x refused" not in made


def test_a_key_that_is_a_word_of_ours_masks_neither_the_host_nor_its_state() -> None:
    name = f"gpu  1{'x' * 3000}"
    made = document.build(name, NOW, "0.2.0", plan_of([FINE]), ["healthy", "gpu", "2026", "1"])
    assert (made["host"], made["state"], made["collected"]) == (name, "healthy", NOW)


def test_a_number_is_a_number_whatever_a_host_sends() -> None:
    gpu = {**GPU, "memory_total_mib": "much", "memory_free_mib": -5, "index": [1]}
    found = plan_of([{**FINE, "latency": "slow"}], steps=[{**STEP, "download_bytes": True}])
    found["host"] = {**HOST, "gpus": {"devices": [gpu]}, "memory": {"total_mib": "x", "available_mib": None}}
    made = build(found)
    assert made["checks"][0]["latency"] is made["drift"]["steps"][0]["download_bytes"] is None
    assert [made["facts"]["gpus"][0][one] for one in ("memory_total_mib", "memory_free_mib", "index")] == [None] * 3
    assert made["facts"]["memory_total_mib"] is None


def test_an_unreachable_host_keeps_what_an_earlier_document_knows() -> None:
    before = build(plan_of([FINE]))
    made = document.remember(document.unreachable("gpu-1", NOW, "0.2.0", "ssh: no route to host"), before)
    assert (made["state"], made["exit_code"], made["last_success"]) == ("unreachable", 2, NOW)
    assert (made["provider"], made["model"]) == ("ollama", "qwen2.5:7b")
    assert "ssh: no route to host" in made["reason"]
    assert document.remember(document.unreachable("new", NOW, "0.2.0", ""), None)["last_success"] is None


def test_control_characters_do_not_reach_a_terminal_or_a_page() -> None:
    made = build({"msg": "a\x1b[31mred\u202e\nline\ud800"})
    assert made["reason"] == "There is no plan of this host: a [31mred line"
    document.render(made).encode()


_LETTERS = string.ascii_letters + '"\\\n\x00\x1b<>&\u202e\ud800é€𝄞'


def _anything(rng: random.Random, depth: int = 0) -> Any:
    """Return a value as a host of somebody else's could send it."""
    kind = rng.randrange(8 if depth < 2 else 5)
    if kind < 3:
        return "".join(rng.choices(_LETTERS, k=rng.choice((0, 3, 60, 3000))))
    if kind == 3:
        return rng.choice((0, -1, 10**400, 1.5, float("nan"), float("inf"), True))
    if kind == 4:
        return None
    if kind < 7:
        return [_anything(rng, depth + 1) for _number in range(rng.choice((0, 2, 9)))]
    return {"".join(rng.choices(string.ascii_letters, k=5)): _anything(rng, depth + 1) for _number in range(5)}


@pytest.mark.parametrize("seed", range(16))
def test_whatever_a_host_says_the_document_stays_in_its_bounds(seed: int) -> None:
    rng = random.Random(seed)  # the same in each run
    found = plan_of(
        [dict.fromkeys(FINE, _anything(rng)) for _number in range(rng.choice((1, 300)))],
        dict.fromkeys(FAILURE, _anything(rng)),
    )
    for name in ("host", "recorded", "choice", "steps", "drift"):
        if rng.random() < 0.6:
            found[name] = _anything(rng)
    found["steps"] = [dict.fromkeys(STEP, _anything(rng)) for _number in range(rng.choice((0, 99)))]
    found["host"] = {**HOST, "gpus": {"devices": [dict.fromkeys(GPU, _anything(rng)) for _number in range(70)]}}
    made = build(found)
    text = document.render(made).encode()
    assert len(text) <= document.LIMIT
    assert json.loads(text) == made
    assert set(made) == set(build({}))


def test_a_long_document_says_what_was_cut() -> None:
    steps = [{**STEP, "reason": f"{number} {'x' * 300}"} for number in range(500)]
    made = build(plan_of([FINE], drift=True, steps=steps))
    assert made["truncated"] == ["drift", "reason"]
    assert 16 <= len(made["drift"]["steps"]) < 500
    assert made["checks"] == [FINE], "what is short stays whole"


def test_the_largest_that_can_be_fits() -> None:
    """Everything that has no bound of its own, at its largest, in characters that take the most room."""
    huge = "\U0001d11e" * 2_500
    found = plan_of(
        [dict.fromkeys(FINE, huge)] * 99, dict.fromkeys(FAILURE, huge), steps=[dict.fromkeys(STEP, huge)] * 99
    )
    found.update(refusals=[dict.fromkeys(REFUSAL, huge)] * 99, recorded=dict.fromkeys(ROUTE, huge))
    found["host"] = {**HOST, "gpus": {"devices": [dict.fromkeys(GPU, huge)] * 99}, "kernel": huge}
    assert len(document.render(document.build(huge, NOW, huge, found)).encode()) <= document.LIMIT
