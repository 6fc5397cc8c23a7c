# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder against a server that misbehaves: every run ends in time, with a code, a sentence and a remedy.

What broken_server.py does here no real server does on request; each behaviour is named after what a real one did.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import APIS, CHAT, KEY, MESSAGES, RESPONSES, Outcome, prove

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import misbehaviours

BOTH = (CHAT, MESSAGES)


def asked(broken: str, behaviour: str, api: str, **options: Any) -> Outcome:
    """Validate a fresh instance of a behaviour, within 3 s unless told otherwise."""
    asked.count += 1  # type: ignore[attr-defined]
    base_url = f"{broken}/{behaviour}~{asked.count}"  # type: ignore[attr-defined]
    outcome = prove(base_url if api == MESSAGES else f"{base_url}/v1", api, **{"timeout": 3, **options})
    outcome.result["instance"] = base_url
    return outcome


asked.count = 0  # type: ignore[attr-defined]


def received(broken: str, outcome: Outcome) -> list[dict[str, Any]]:
    """Return the requests that the instance behind an outcome got."""
    path = outcome.result["instance"][len(broken) :]
    with urllib.request.urlopen(f"{broken}/__requests?under={path}/", timeout=5) as reply:
        requests: list[dict[str, Any]] = json.load(reply)
    return requests


# behaviour: the code, the rung it fails on, a piece of the sentence
FAILURES = {
    "html": ("not_json", "models", "a web page"),
    "html_404": ("not_found", "warm_up", "HTTP 404"),
    "wrong_json": ("wrong_shape", "models", "no list of models"),
    "not_http": ("not_http", "models", "SSH-2.0-OpenSSH"),
    "not_utf8": ("not_json", "models", "not JSON"),
    "deep_json": ("not_json", "models", "not JSON"),
    "redirect": ("redirected", "models", "give the final URL"),
    "hang_up": ("connection_lost", "models", "Look at the server's log"),
    "short_body": ("connection_lost", "models", "Look at the server's log"),
    "error_in_200": ("error_in_answer", "warm_up", "Out of memory"),
    "huge": ("body_too_large", "models", "8 MiB"),
    "huge_event": ("body_too_large", "streaming", "8 MiB"),
    "silent": ("timeout", "models", "nemoclaw_local_inference_timeout"),
    "silent_chat": ("timeout", "warm_up", "nemoclaw_local_inference_timeout"),
    "trickle_headers": ("timeout", "models", "did not finish its answer"),
    "trickle_body": ("timeout", "models", "did not finish its answer"),
    "endless_comments": ("timeout", "streaming", "did not finish its answer"),
    "endless_stream": ("stream_endless", "streaming", "did not stop"),
    "status_401": ("auth_failed", "models", "Invalid API Key"),
    "status_403": ("auth_failed", "models", "HTTP 403"),
    "key_echo": ("auth_failed", "models", "Incorrect API key provided: "),
    "status_429_always": ("rate_limited", "models", "This was try 2"),
    "status_429_long": ("rate_limited", "models", "Quota exceeded"),
    "status_500_always": ("server_error", "models", "Look at the server's log"),
    "other_models": ("model_not_served", "models", "other-7b, other-70b"),
    "empty_answer": ("empty_answer", "completion", "no text"),
    "truncated_sse": ("stream_incomplete", "streaming", "broke off"),
    "truncated_chunk": ("connection_lost", "streaming", "closed the connection"),
    "unfinished_stream": ("stream_incomplete", "streaming", "before its end"),
    "error_in_stream": ("error_in_answer", "streaming", "EngineCore"),
    "stream_ignored": ("stream_unsupported", "streaming", "in one piece"),
    "context_exceeded_vllm": ("context_too_small", "agent_tool_call", "--max-model-len"),
    "context_exceeded_llama": ("context_too_small", "agent_tool_call", "--ctx-size"),
    "tools_unsupported": ("tool_calls_unsupported", "tool_call", "does not support tools"),
    "vllm_no_parser": ("tool_calls_unsupported", "tool_call", "--enable-auto-tool-choice"),
    "malformed_tool_arguments": ("tool_calls_absent", "tool_call", "not a JSON object"),
    "unoffered_tool": ("tool_calls_absent", "tool_call", "rm_rf"),
    "leak": ("tool_calls_leaked", "tool_call", "--tool-call-parser"),
    "tool_call_in_reasoning": ("tool_calls_leaked", "tool_call", "reasoning"),
}

# behaviour: what it does to one API alone
FAILURES_OF_ONE_API = {
    ("chat_only", MESSAGES): ("not_found", "warm_up", "Not Found"),
    ("leak_in_parts", CHAT): ("tool_calls_leaked", "tool_call", "sessions_send"),
    ("anthropic_leak", MESSAGES): ("tool_calls_leaked", "tool_call", "sessions_send"),
    ("anthropic_truncated_stream", MESSAGES): ("stream_incomplete", "streaming", "broke off"),
    ("anthropic_401", MESSAGES): ("auth_failed", "models", "invalid x-api-key"),
}

# behaviour, API: it passes all the same
PASSES = [
    *(("good", api) for api in APIS),
    ("reasoning_field", CHAT),
    ("max_tokens_refused", CHAT),
    ("object_arguments", CHAT),
    *(("no_models", api) for api in APIS),
    *(("status_429_once", api) for api in BOTH),
    ("anthropic_overloaded", MESSAGES),
    ("anthropic_leak", CHAT),
]


def test_every_behaviour_is_tested() -> None:
    named = {*FAILURES, *(name for name, _api in FAILURES_OF_ONE_API), *(name for name, _api in PASSES)}
    own_test = {"status_502", "status_503_twice", "responses_without_deltas", "missing_argument"}
    assert named | own_test == set(misbehaviours.BEHAVIOURS)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("behaviour", FAILURES)
def test_it_fails_in_time_and_says_what_to_do(broken: str, behaviour: str, api: str) -> None:
    code, rung, said = FAILURES[behaviour]
    if api == RESPONSES and code == "timeout":
        rung = ""  # Half of the time is for the way back to chat completions, which then may get less far.
    outcome = asked(broken, behaviour, api)
    assert outcome.code == code, outcome.message
    assert said in outcome.message
    assert outcome.failure is not None
    if rung:
        assert outcome.failure.details["probe"] == rung
        assert outcome.probe(rung)["outcome"] == "failed"
    after = [probe["outcome"] for probe in outcome.result["probes"][-7:]]
    assert after[after.index("failed") + 1 :] == ["skipped"] * (6 - after.index("failed"))


@pytest.mark.parametrize(("behaviour", "api"), FAILURES_OF_ONE_API)
def test_what_one_api_gets_wrong(broken: str, behaviour: str, api: str) -> None:
    code, rung, said = FAILURES_OF_ONE_API[behaviour, api]
    outcome = asked(broken, behaviour, api)
    assert (outcome.code, outcome.probe(rung)["outcome"]) == (code, "failed"), outcome.message
    assert said in outcome.message


@pytest.mark.parametrize(("behaviour", "api"), PASSES)
def test_what_passes_all_the_same(broken: str, behaviour: str, api: str) -> None:
    outcome = asked(broken, behaviour, api, timeout=20)
    assert (outcome.code, outcome.result["api"]) == (None, api), outcome.message


def test_a_server_that_loads_is_waited_for(broken: str) -> None:
    outcome = asked(broken, "status_503_twice", CHAT, timeout=30)
    assert outcome.code is None, outcome.message
    assert [outcome.probe(name)["tries"] for name in ("models", "warm_up", "completion")] == [3, 3, 1]


@pytest.mark.parametrize("behaviour", ["chat_only", "responses_without_deltas"])
def test_responses_are_taken_only_when_they_are_complete(broken: str, behaviour: str) -> None:
    outcome = asked(broken, behaviour, RESPONSES)
    result = outcome.result
    assert (outcome.code, result["api_requested"], result["api"]) == (None, RESPONSES, CHAT)
    assert result["fallback_reason"].startswith("openai-responses was asked for, but its probe ")
    if behaviour == "responses_without_deltas":
        assert "response.output_text.delta" in result["fallback_reason"]


def test_a_list_that_is_missing_needs_a_name(broken: str) -> None:
    outcome = asked(broken, "no_models", CHAT, model=None)
    assert outcome.code == "not_found"
    assert "nemoclaw_model" in outcome.message
    assert asked(broken, "no_models", CHAT).probe("models")["outcome"] == "skipped"


def test_two_models_need_a_name(broken: str) -> None:
    outcome = asked(broken, "other_models", CHAT, model=None)
    assert outcome.code == "model_ambiguous"
    assert outcome.failure is not None
    assert outcome.failure.details["served_models"] == ["other-7b", "other-70b"]


def test_the_budget_field_changes_over_once(broken: str) -> None:
    outcome = asked(broken, "max_tokens_refused", CHAT)
    bodies = [json.loads(request["body"]) for request in received(broken, outcome) if request["body"]]
    assert ["max_tokens" in body for body in bodies] == [True] + [False] * (len(bodies) - 1)


def test_the_base_url_without_its_v1(broken: str) -> None:
    outcome = prove(f"{broken}/good", timeout=3)
    assert outcome.code == "not_found"
    assert f"there is one under {broken}/good/v1" in outcome.message


def test_a_url_that_leads_to_nothing_at_all(broken: str) -> None:
    outcome = prove(f"{broken}/nothing/here", model=None, timeout=3)
    assert outcome.code == "not_found"
    assert "usually ends in /v1" in outcome.message


@pytest.mark.parametrize("api", APIS)
def test_the_key_goes_where_it_belongs(broken: str, api: str) -> None:
    requests = received(broken, asked(broken, "good", api))
    assert len(requests) == 6
    for request in requests:
        headers = {name.lower(): value for name, value in request["headers"].items()}
        if api == MESSAGES:
            assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
            assert "authorization" not in headers
        else:
            assert headers["authorization"] == f"Bearer {KEY}"
            assert "x-api-key" not in headers
        assert KEY not in request["path"] + request["body"]


def test_no_key_no_header(broken: str) -> None:
    for request in received(broken, asked(broken, "good", CHAT, api_key=None)):
        assert not {"authorization", "x-api-key"} & {name.lower() for name in request["headers"]}


@pytest.mark.parametrize("api", APIS)
def test_a_redirect_does_not_take_the_key_along(broken: str, api: str) -> None:
    with urllib.request.urlopen(f"{broken}/__requests?under=/good~redirected", timeout=5) as reply:
        before = len(json.load(reply))
    outcome = asked(broken, "redirect", api)
    assert outcome.code == "redirected"
    assert "good~redirected" in outcome.message
    assert len(received(broken, outcome)) == 1
    with urllib.request.urlopen(f"{broken}/__requests?under=/good~redirected", timeout=5) as reply:
        assert len(json.load(reply)) == before


def test_the_key_that_a_server_repeats_is_masked(broken: str) -> None:
    outcome = asked(broken, "key_echo", CHAT)
    assert "Incorrect API key provided: Bearer ********" in outcome.message


@pytest.mark.parametrize("api", BOTH)
def test_a_final_failure_is_not_tried_again(broken: str, api: str) -> None:
    for behaviour in ("status_401", "html", "not_http", "redirect", "huge", "deep_json", "status_429_long"):
        assert len(received(broken, asked(broken, behaviour, api))) == 1, behaviour


def test_nothing_is_left_running_after_a_time_out(broken: str) -> None:
    before = threading.active_count()
    for behaviour in ("silent", "trickle_headers", "trickle_body"):
        asked(broken, behaviour, CHAT, timeout=1)
    deadline = threading.Event()
    for _dummy in range(100):
        if threading.active_count() <= before:
            break
        deadline.wait(0.1)
    assert threading.active_count() <= before, "a connection was not let go of, so the server goes on generating"


@pytest.mark.parametrize("behaviour", ["missing_argument"])
@pytest.mark.parametrize("api", APIS)
def test_a_call_without_its_argument_is_still_a_call(broken: str, behaviour: str, api: str) -> None:
    """The model's choice is poor, but the server hands on what the agent can answer with an error."""
    assert asked(broken, behaviour, api).result["tool_calling"] == "structured"
