# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expectations of the user's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import expect
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

RESULT = {
    "api": "openai-completions",
    "context_window": 32768,
    "fallback_reason": None,
    "models": ["m"],
    "probes": [{"name": "streaming", "outcome": "passed", "latency": 0.25}],
}


def checked(query: str, equals: Any = True) -> None:
    expect.check(expect.compile_queries([{"query": query, "equals": equals}]), RESULT)


@pytest.mark.parametrize(
    ("query", "equals"),
    [
        ("api", "openai-completions"),
        ("context_window >= `32768`", True),
        ("context_window", 32768),
        ("fallback_reason", None),
        ("no_such_key", None),
        ("models", ["m"]),
        ("length(models)", 1),
        ("probes[?name=='streaming'].outcome | [0]", "passed"),
        ("probes[0].latency < `0.5`", True),
        ("models[0] == 'x'", False),
    ],
)
def test_what_holds(query: str, equals: Any) -> None:
    checked(query, equals)


@pytest.mark.parametrize(
    ("query", "equals", "found"),
    [
        ("api", "openai-responses", "openai-completions"),
        ("context_window > `40000`", True, False),
        ("no_such_key", True, None),
        ("length(models)", True, 1),
        ("context_window > `1`", 1, True),
        ("models", [], ["m"]),
    ],
)
def test_what_does_not_hold(query: str, equals: Any, found: Any) -> None:
    with pytest.raises(Failure) as failed:
        checked(query, equals)
    assert failed.value.code == "expect_failed"
    assert failed.value.details["unmet"] == [{"query": query, "equals": equals, "found": found}]
    assert query in failed.value.message


@pytest.mark.parametrize(
    "query",
    ["", "length(", "api[", "a b", "'", "abs(api)", "no_function(api)", "length(context_window)", "&api", "[&api]"],
)
def test_queries_that_cannot_be_used(query: str) -> None:
    with pytest.raises(Failure) as failed:
        checked(query)
    assert failed.value.code == "expect_invalid"
    json.dumps(failed.value.as_result())


def test_all_that_is_unmet_is_told_at_once() -> None:
    queries = expect.compile_queries([{"query": "api", "equals": "x"}, {"query": "models", "equals": "y"}])
    with pytest.raises(Failure) as failed:
        expect.check(queries, RESULT)
    assert len(failed.value.details["unmet"]) == 2


def test_the_library_is_asked_for_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expect, "jmespath", None)
    assert expect.compile_queries([]) == []
    with pytest.raises(expect.LibraryMissing):
        expect.compile_queries([{"query": "api", "equals": True}])
