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
from conftest import APIS, CHAT, KEY, MESSAGES, PROBES, RESPONSES, Outcome, prove

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

from broken_server import BEHAVIOURS
from tool_misbehaviours import TOOL_BEHAVIOURS

BOTH = (CHAT, MESSAGES)


def asked(broken: str, behaviour: str, api: str, **options: Any) -> Outcome:
    """Validate a fresh instance of a behaviour, within 3 s unless told otherwise; all the questions with tools get 20 s."""
    asked.count += 1  # type: ignore[attr-defined]
    base_url = f"{broken}/{behaviour}~{asked.count}"  # type: ignore[attr-defined]
    outcome = prove(
        base_url if api == MESSAGES else f"{base_url}/v1",
        api,
        **{"timeout": 20 if behaviour in TOOL_BEHAVIOURS else 3, **options},
    )
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
    "html_404": ("not_found", "models", "HTTP 404"),
    "wrong_json": ("wrong_shape", "models", "not a list of models"),
    "not_http": ("not_http", "models", "SSH-2.0-OpenSSH"),
    "not_utf8": ("not_json", "models", "not JSON"),
    "deep_json": ("not_json", "models", "not JSON"),
    "redirect": ("redirected", "models", "use the final URL"),
    "hang_up": ("connection_lost", "models", "heck the server's log"),
    "short_body": ("connection_lost", "models", "heck the server's log"),
    "error_in_200": ("error_in_answer", "warm_up", "Out of memory"),
    "huge": ("body_too_large", "models", "8 MiB"),
    "huge_event": ("body_too_large", "streaming", "8 MiB"),
    "silent": ("timeout", "models", "nemoclaw_local_inference_timeout"),
    "silent_chat": ("timeout", "warm_up", "nemoclaw_local_inference_timeout"),
    "trickle_headers": ("timeout", "models", "did not finish its answer"),
    "trickle_body": ("timeout", "models", "did not finish its answer"),
    "endless_comments": ("timeout", "streaming", "did not finish its answer"),
    "endless_stream": ("stream_endless", "streaming", "still sending"),
    "status_401": ("auth_failed", "models", "Invalid API Key"),
    "status_403": ("auth_failed", "models", "HTTP 403"),
    "key_echo": ("auth_failed", "models", "Incorrect API key provided: "),
    "status_429_always": ("rate_limited", "models", "This was try 2"),
    "status_429_long": ("rate_limited", "models", "Quota exceeded"),
    "status_500_always": ("server_error", "models", "heck the server's log"),
    "other_models": ("model_not_served", "models", "other-7b, other-70b"),
    "empty_answer": ("empty_answer", "completion", "without text"),
    "truncated_sse": ("stream_incomplete", "streaming", "was interrupted"),
    "truncated_chunk": ("connection_lost", "streaming", "closed the connection"),
    "unfinished_stream": ("stream_incomplete", "streaming", "before its end"),
    "error_in_stream": ("error_in_answer", "streaming", "EngineCore"),
    "stream_ignored": ("stream_unsupported", "streaming", "in one piece"),
    "context_exceeded_vllm": ("context_too_small", "agent_tool_call", "--max-model-len"),
    "context_exceeded_llama": ("context_too_small", "agent_tool_call", "--ctx-size"),
    "tools_unsupported": ("tool_calls_unsupported", "tool_call", "does not support tools"),
    "vllm_no_parser": ("tool_calls_unsupported", "tool_call", "--enable-auto-tool-choice"),
    "leak": ("tool_calls_leaked", "tool_call", "--tool-call-parser"),
    "tool_call_in_reasoning": ("tool_calls_leaked", "tool_call", "reasoning"),
    # It called, but wrongly
    "malformed_tool_arguments": ("tool_calls_malformed", "tool_call", "are not"),
    "unoffered_tool": ("tool_calls_malformed", "tool_call", "rm_rf"),
    "missing_argument": ("tool_calls_malformed", "tool_call", "lack message"),
    "argument_of_wrong_type": ("tool_calls_malformed", "tool_call", "have integer instead of string as message"),
    "swapped_arguments": ("tool_calls_malformed", "tool_call", "whose arguments are not"),
    "null_arguments": ("tool_calls_malformed", "tool_call", "but null"),
    "empty_id": ("tool_calls_malformed", "tool_call", "without an id"),
    "null_id": ("tool_calls_malformed", "tool_call", "without an id"),
    "two_calls_one_id": ("tool_calls_malformed", "tool_call", "two calls with the same id"),
    "null_name": ("tool_calls_malformed", "tool_call", "without a name"),
    "call_elsewhere": (
        "tool_calls_malformed",
        "tool_call",
        "at a place or in a shape that no client of this API reads",
    ),
    # Right without streaming, and wrong with it
    "stream_leaks": ("tool_calls_stream_leaked", "tool_call_streamed", "--tool-call-parser hermes"),
    "stream_prose": ("tool_calls_stream_absent", "tool_call_streamed", "streaming parser"),
    "stream_nothing": ("tool_calls_stream_absent", "tool_call_streamed", "no tool call and no text"),
    "stream_loses_arguments": ("tool_calls_stream_malformed", "tool_call_streamed", "lack message"),
    "stream_arguments_elsewhere": ("tool_calls_stream_malformed", "tool_call_streamed", "streaming parser"),
    "stream_name_doubled": ("tool_calls_stream_malformed", "tool_call_streamed", "sessions_sendsessions_send"),
    "stream_error_in_call": ("tool_calls_stream_failed", "tool_call_streamed", "list index out of range"),
    "stream_refuses_tools": ("tool_calls_stream_failed", "tool_call_streamed", "not supported when tools are given"),
    "agent_stream_leaks": ("tool_calls_stream_leaked", "agent_tool_call_streamed", "agent-shaped"),
    # The second turn
    "result_refused": ("second_turn_refused", "second_turn", "--chat-template"),
    "calls_for_ever": ("second_turn_loops", "second_turn", "3 times in a row"),
    "silent_after_result": ("second_turn_empty", "second_turn", "says nothing"),
    "stream_silent_after_result": ("second_turn_empty", "second_turn", "streaming parser"),
    "leaks_after_result": ("second_turn_leaked", "second_turn", "--tool-call-parser hermes"),
    "small_window": ("context_too_small", "agent_tool_call", "--max-model-len to 16384"),
}

# behaviour: what it does to one API alone
FAILURES_OF_ONE_API = {
    ("chat_only", MESSAGES): ("not_found", "warm_up", "Not Found"),
    ("leak_in_parts", CHAT): ("tool_calls_leaked", "tool_call", "sessions_send"),
    ("anthropic_leak", MESSAGES): ("tool_calls_leaked", "tool_call", "sessions_send"),
    ("anthropic_truncated_stream", MESSAGES): ("stream_incomplete", "streaming", "was interrupted"),
    ("anthropic_401", MESSAGES): ("auth_failed", "models", "invalid x-api-key"),
    ("anthropic_bearer", MESSAGES): ("auth_failed", "models", "takes the key as 'Authorization: Bearer'"),
    ("anthropic_unnamed_events", MESSAGES): ("stream_events_missing", "streaming", "its events have no name"),
    ("null_type", CHAT): ("tool_calls_malformed", "tool_call", "of type None"),
    ("deprecated_function_call", CHAT): ("tool_calls_malformed", "tool_call", "of type function_call"),
    ("doubly_encoded_arguments", CHAT): ("tool_calls_malformed", "tool_call", "but string"),
    ("stream_name_in_pieces", CHAT): (
        "tool_calls_stream_malformed",
        "tool_call_streamed",
        "the name of a call changes",
    ),
    ("stream_without_finish", CHAT): ("tool_calls_stream_malformed", "tool_call_streamed", "without a finish reason"),
    ("stream_without_finish", MESSAGES): (
        "tool_calls_stream_malformed",
        "tool_call_streamed",
        "without a finish reason",
    ),
    ("prompt_cut", CHAT): ("context_too_small", "agent_tool_call", "the server read 2050 tokens"),
}

# behaviour, API: it passes all the same
PASSES = [
    *(("good", api) for api in APIS),
    ("reasoning_field", CHAT),
    ("thinks_in_parts", CHAT),
    *((f"{name}_refused", CHAT) for name in ("max_tokens", "required", "stream_options", "all")),
    *((f"{name}_refused", api) for name in ("temperature", "tool_choice") for api in APIS),
    *((name, api) for name in ("no_models", "models_patterns", "models_empty", "models_null") for api in APIS),
    *((name, api) for name in ("models_403", "models_401", "models_html", "models_500") for api in BOTH),
    ("models_silent", CHAT),
    *((name, api) for name in ("choice_unknown", "compressed") for api in APIS),
    *(("status_429_once", api) for api in BOTH),
    ("anthropic_overloaded", MESSAGES),
    ("anthropic_leak", CHAT),
    ("stream_in_one_piece", CHAT),
    *((name, api) for name in ("cut_before_the_call", "cut_inside_the_call", "calls_once_more") for api in APIS),
]

# behaviour, API: it passes, and the user reads why that is not quite right
WARNINGS = {
    ("finish_stop", CHAT): "OpenClaw drops such a call",
    ("finish_stop", MESSAGES): "'end_turn' instead of 'tool_use'",
    ("stream_name_repeated", CHAT): "the name of a call is sent again",
    ("stream_without_index", CHAT): "have no index",
    **{("stream_called_json", api): "should be text/event-stream" for api in APIS},
    **{("thinks_aloud", api): "--reasoning-parser" for api in APIS},
    ("prompt_cut_call", CHAT): "the server read 2050 tokens",
}


def test_every_behaviour_is_tested() -> None:
    tables = (FAILURES_OF_ONE_API, PASSES, WARNINGS)
    named = {*FAILURES, *(name for table in tables for name, _api in table)}
    own_test = {"status_502", "status_503_twice", "responses_without_deltas"}
    own_test |= {"stream_call_at_the_end", "stream_hangs"}
    assert named | own_test == set(BEHAVIOURS)


@pytest.mark.parametrize(
    ("behaviour", "api"),
    # Both APIs of OpenAI ask the same for the list of models; what is left of the time is another matter.
    [
        (behaviour, api)
        for behaviour, (code, rung, _said) in FAILURES.items()
        for api in APIS
        if api != RESPONSES or rung != "models" or code == "timeout"
    ],
)
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
    after = [probe["outcome"] for probe in outcome.result["probes"][-len(PROBES) :]]
    assert set(after[after.index("failed") + 1 :]) <= {"skipped"}
    if outcome.code.startswith(("tool_calls_malformed", "tool_calls_stream")):
        assert "hoose a" not in outcome.message, "the model did call: another one is no remedy"


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
    assert outcome.result["tool_calling"] == "structured"
    assert outcome.warnings == []


@pytest.mark.parametrize(("behaviour", "api"), WARNINGS)
def test_what_passes_with_a_warning(broken: str, behaviour: str, api: str) -> None:
    outcome = asked(broken, behaviour, api, timeout=20)
    assert (outcome.code, outcome.result["api"]) == (None, api), outcome.message
    (warning,) = outcome.warnings
    assert WARNINGS[behaviour, api] in warning


def test_a_server_that_loads_is_waited_for(broken: str) -> None:
    outcome = asked(broken, "status_503_twice", CHAT, timeout=30)
    assert outcome.code is None, outcome.message
    assert [outcome.probe(name)["tries"] for name in ("models", "warm_up", "completion")] == [3, 3, 1]


@pytest.mark.parametrize("behaviour", ["chat_only", "responses_without_deltas", "stream_call_at_the_end"])
def test_responses_are_taken_only_when_they_are_complete(broken: str, behaviour: str) -> None:
    outcome = asked(broken, behaviour, RESPONSES, timeout=20)
    result = outcome.result
    assert (outcome.code, result["api_requested"], result["api"]) == (None, RESPONSES, CHAT)
    assert result["fallback_reason"].startswith("openai-responses was requested, but its probe ")
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
    requests = received(broken, asked(broken, "good", api, timeout=20))
    assert len(requests) == len(PROBES) - 1, "the list has the context, so that costs no request"
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
    for behaviour in ("not_http", "redirect", "status_429_long"):
        assert len(received(broken, asked(broken, behaviour, api))) == 1, behaviour
    for behaviour in ("html", "huge", "deep_json"):
        assert len(received(broken, asked(broken, behaviour, api))) == 2, f"{behaviour}: the list, and one question"
        assert len(received(broken, asked(broken, behaviour, api, model=None))) == 1, f"{behaviour}: no model to ask"
    # Of an Anthropic-compatible server it is asked besides whether it wants the key in the other header.
    assert len(received(broken, asked(broken, "status_401", api))) == (3 if api == MESSAGES else 2)


@pytest.mark.parametrize("api", APIS)
def test_every_tool_question_is_asked_streamed_and_unstreamed(broken: str, api: str) -> None:
    bodies = [
        json.loads(request["body"])
        for request in received(broken, asked(broken, "good", api, timeout=20))
        if request["body"]
    ]
    asked_with_tools = [(len(body["tools"]), body["stream"]) for body in bodies if body.get("tools")]
    assert asked_with_tools == [(3, False), (3, True), (3, True), (14, False), (14, True)]
    result = json.dumps(bodies[-3])
    assert "call_1" in result or "toolu_1" in result, "the id that was given comes back"
    assert "The message was delivered." in result


@pytest.mark.parametrize(
    "behaviour", ["vllm_no_parser", "leak", "stream_leaks", "stream_error_in_call", "calls_for_ever"]
)
@pytest.mark.parametrize("api", APIS)
def test_plain_chat_waives_every_probe_with_tools(broken: str, behaviour: str, api: str) -> None:
    outcome = asked(broken, behaviour, api, require_tools=False, timeout=20)
    assert outcome.code is None, outcome.message
    (warning,) = outcome.warnings
    assert "nemoclaw_require_tools" in warning
    outcomes = [outcome.probe(name)["outcome"] for name in PROBES]
    waived = outcomes.index("warned")
    later = [name for name in PROBES[waived + 1 :] if name != "context"]
    assert {outcome.probe(name)["outcome"] for name in later} <= {"skipped"}
    assert not later or "not asked" in outcome.probe(later[0])["reason"], "no tokens for what was waived"


@pytest.mark.parametrize("behaviour", ["small_window", "context_exceeded_vllm"])
def test_plain_chat_waives_the_length_of_an_agents_prompt(broken: str, behaviour: str) -> None:
    outcome = asked(broken, behaviour, CHAT, require_tools=False, timeout=20)
    assert outcome.code is None, outcome.message
    assert outcome.probe("agent_tool_call")["outcome"] == "warned"


def test_a_stream_that_hangs_where_the_whole_answer_was_quick(broken: str) -> None:
    outcome = asked(broken, "stream_hangs", CHAT, timeout=8)
    assert outcome.code == "tool_calls_stream_failed"
    assert "did not finish its answer" in outcome.message


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
