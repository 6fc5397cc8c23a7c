# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder against the real llama.cpp server, over the three APIs."""

from __future__ import annotations

import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import expect
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from conftest import APIS, CHAT, KEY, MESSAGES, PROBES, RESPONSES, Certificate, Llama, prove, url


@pytest.mark.parametrize("api", APIS)
def test_a_good_model_passes_every_probe(llama: Llama, api: str) -> None:
    server = llama("good")
    outcome = prove(url(server, api), api)
    result = outcome.result
    assert outcome.failure is None
    assert (result["api"], result["api_requested"], result["fallback_reason"]) == (api, api, None)
    assert (result["base_url"], result["model"], result["models"]) == (url(server, api), "scripted", ["scripted"])
    assert (result["tool_calling"], result["context_window"]) == ("structured", 32768)
    assert [probe["name"] for probe in result["probes"]] == list(PROBES)
    assert set(outcome.outcomes.values()) == {"passed"}
    for probe in result["probes"]:
        if probe["name"] == "context":
            continue  # The list of models has it.
        assert (probe["api"], probe["tries"], probe["status"]) == (api, 1, 200)
        assert probe["latency"] > 0
    streaming = outcome.probe("streaming")
    assert streaming["deltas"] >= 2
    assert 0 < streaming["first_delta"] <= streaming["last_delta"] <= streaming["latency"]
    assert 0 < result["elapsed"] <= outcome.elapsed + 0.001


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("behaviour", ["leaks", "leaks_fenced", "leaks_tagged", "leaks_array"])
def test_every_form_of_leak_is_refused(llama: Llama, behaviour: str, api: str) -> None:
    outcome = prove(url(llama(behaviour), api), api)
    assert (outcome.code, outcome.result["tool_calling"]) == ("tool_calls_leaked", "leaked")
    assert (outcome.probe("streaming")["outcome"], outcome.probe("tool_call")["outcome"]) == ("passed", "failed")
    assert outcome.probe("agent_tool_call")["outcome"] == "skipped"
    assert "sessions_send" in outcome.message
    assert "--tool-call-parser" in outcome.message


@pytest.mark.parametrize("api", APIS)
def test_a_leak_can_be_allowed(llama: Llama, api: str) -> None:
    outcome = prove(url(llama("leaks"), api), api, require_tools=False)
    assert (outcome.code, outcome.result["tool_calling"], outcome.result["api"]) == (None, "leaked", api)
    assert (outcome.probe("tool_call")["outcome"], outcome.probe("agent_tool_call")["outcome"]) == ("warned", "skipped")


@pytest.mark.parametrize("api", APIS)
def test_a_leak_under_load_is_seen_on_the_agent_shaped_request_only(llama: Llama, api: str) -> None:
    outcome = prove(url(llama("leaks_under_load"), api), api)
    assert outcome.code == "tool_calls_leaked"
    assert (outcome.probe("tool_call")["outcome"], outcome.probe("tool_call")["tool_calling"]) == (
        "passed",
        "structured",
    )
    assert outcome.probe("agent_tool_call")["outcome"] == "failed"
    assert "agent-shaped" in outcome.message


@pytest.mark.parametrize("api", APIS)
def test_a_model_that_thinks_gets_a_larger_budget(llama: Llama, api: str) -> None:
    outcome = prove(url(llama("thinks"), api), api)
    assert (outcome.code, outcome.result["api"]) == (None, api)
    assert outcome.probe("completion")["tries"] == 2
    assert outcome.probe("streaming")["tries"] == 1, "the budget that the model needs was not remembered"


def test_a_model_that_never_ends_thinking(llama: Llama) -> None:
    """Over one API: 4,096 tokens of a real model cost, and the test above has the budgets of all three."""
    outcome = prove(llama("thinks_forever").base_url)
    assert outcome.code == "reasoning_only"
    assert outcome.probe("completion")["tries"] == 3
    assert "4096" in outcome.message


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("behaviour", "code", "rung"),
    [("empty", "empty_answer", "completion"), ("prose", "tool_calls_absent", "tool_call")],
)
def test_a_model_that_says_nothing_and_one_that_only_talks(
    llama: Llama, behaviour: str, code: str, rung: str, api: str
) -> None:
    outcome = prove(url(llama(behaviour), api), api)
    assert (outcome.code, outcome.probe(rung)["outcome"]) == (code, "failed")


def test_responses_that_fail_fall_back_to_chat_and_say_why(llama: Llama) -> None:
    outcome = prove(llama("leaks").base_url, RESPONSES)
    result = outcome.result
    assert (result["api_requested"], result["api"]) == (RESPONSES, CHAT)
    assert "tool_call failed" in result["fallback_reason"]
    assert [probe["api"] for probe in result["probes"]] == [RESPONSES] * len(PROBES) + [CHAT] * len(PROBES)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("key", "said"), [("wrong", "The key is not accepted"), (None, "none was provided"), ("", "none was provided")]
)
def test_a_key_that_is_refused_stops_at_once(llama: Llama, api: str, key: str | None, said: str) -> None:
    outcome = prove(url(llama("good"), api), api, api_key=key)
    assert outcome.code == "auth_failed"
    assert said in outcome.message
    assert outcome.failure is not None
    assert outcome.failure.details["status"] == 401
    assert sum(probe["tries"] for probe in outcome.result["probes"]) == 2, "the list of models, and one question"


@pytest.mark.parametrize("key", [f"{KEY}\u2019", f"\u201c{KEY}\u201d", f"{KEY} ", f"{KEY}\u00a0"])
def test_keys_from_a_document(llama: Llama, key: str) -> None:
    outcome = prove(llama("good").base_url, api_key=key)
    assert outcome.code == (None if key.strip() == KEY else "key_invalid")
    assert KEY not in outcome.message
    if outcome.code:
        assert outcome.result["probes"] == []


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("key", ["dummy", None])
def test_an_open_server_takes_any_key(llama: Llama, api: str, key: str | None) -> None:
    outcome = prove(url(llama("good", api_key=None), api), api, api_key=key)
    assert outcome.code is None
    assert outcome.result["base_url"] == url(llama("good", api_key=None), api)


def test_a_key_with_a_line_end_is_sent_without_it(llama: Llama) -> None:
    assert prove(llama("good").base_url, api_key=f"{KEY}\n").code is None


@pytest.mark.parametrize("api", APIS)
def test_the_model_named_has_to_be_served(llama: Llama, api: str) -> None:
    """llama.cpp answers for any name, so only the list can tell."""
    outcome = prove(url(llama("good"), api), api, model="scriptet")
    assert outcome.code == "model_not_served"
    assert "Did you mean scripted?" in outcome.message
    assert outcome.failure is not None
    assert outcome.failure.details["served_models"] == ["scripted"]


@pytest.mark.parametrize("api", APIS)
def test_the_only_model_need_not_be_named(llama: Llama, api: str) -> None:
    outcome = prove(url(llama("good", alias="Org/Model-7B.Q4"), api), api, model=None)
    assert (outcome.code, outcome.result["model"]) == (None, "Org/Model-7B.Q4")


@pytest.mark.parametrize("api", APIS)
def test_a_url_that_was_pasted_from_an_example(llama: Llama, api: str) -> None:
    server = llama("good")
    ending = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", MESSAGES: "/v1/messages"}[api]
    assert prove(f"{server.root_url}{ending}/", api).result["base_url"] == url(server, api)


@pytest.mark.parametrize("api", APIS)
def test_tls(llama: Llama, api: str, certificate: Certificate) -> None:
    server = llama("good", tls=(certificate.certificate, certificate.key))
    base_url = url(server, api)
    assert base_url.startswith("https://127.0.0.1:")
    untrusted = prove(base_url, api)
    assert untrusted.code == "tls_failed"
    assert "ca_path" in untrusted.message
    assert prove(base_url, api, ca_path=str(certificate.certificate)).code is None
    assert prove(base_url, api, validate_certs=False).code is None


def test_a_certificate_for_another_name(llama: Llama, certificate: Certificate) -> None:
    server = llama("good", tls=(certificate.certificate, certificate.key))
    outcome = prove(server.base_url.replace("127.0.0.1", "127.0.0.2"), ca_path=str(certificate.certificate), timeout=5)
    # Nobody listens on 127.0.0.2, or the server listens on all addresses: never is the wrong name accepted.
    assert outcome.code in ("connection_refused", "tls_failed")
    outcome = prove(server.base_url.replace("127.0.0.1", "localhost"), ca_path=str(certificate.certificate))
    assert outcome.code == "tls_failed"
    assert "localhost" in outcome.message


def test_http_to_the_tls_port_and_https_to_the_plain_one(llama: Llama, certificate: Certificate) -> None:
    secure = llama("good", tls=(certificate.certificate, certificate.key)).base_url
    plain = prove(secure.replace("https://", "http://"), timeout=6)
    assert plain.code in ("connection_lost", "not_http")
    assert "HTTPS" in plain.message or "scheme" in plain.message
    outcome = prove(llama("good").base_url.replace("http://", "https://"), timeout=6)
    assert outcome.code == "tls_failed"
    assert "write http://" in outcome.message


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_is_none(llama: Llama, certificate: Certificate, tmp_path: object, content: str | None) -> None:
    path = f"{tmp_path}/ca.pem"
    if content is not None:
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(content)
    server = llama("good", tls=(certificate.certificate, certificate.key))
    outcome = prove(server.base_url, ca_path=path)
    assert outcome.code == "ca_unreadable"
    assert path in outcome.message


@pytest.mark.parametrize("api", APIS)
def test_enough_context(llama: Llama, api: str) -> None:
    assert prove(url(llama("good"), api), api, min_context_window=32768).code is None
    outcome = prove(url(llama("good"), api), api, min_context_window=65536)
    assert (outcome.code, outcome.probe("context")["outcome"]) == ("context_too_small", "failed")
    assert "32768" in outcome.message
    assert "--ctx-size" in outcome.message


@pytest.mark.parametrize("api", APIS)
def test_a_context_that_the_agents_prompt_does_not_fit_into(llama: Llama, api: str) -> None:
    outcome = prove(url(llama("good", n_ctx=4096), api), api)
    assert (outcome.code, outcome.probe("agent_tool_call")["outcome"]) == ("context_too_small", "failed")
    assert "4096" in outcome.message


def test_a_context_below_the_floor_is_a_warning(llama: Llama) -> None:
    outcome = prove(llama("good", n_ctx=8192).base_url, agent_prompt_tokens=2000)
    assert (outcome.code, outcome.probe("context")["outcome"], outcome.result["context_window"]) == (
        None,
        "warned",
        8192,
    )


def test_expectations_over_a_real_result(llama: Llama) -> None:
    result = prove(llama("good").base_url).result
    queries = [
        {"query": "api", "equals": CHAT},
        {"query": "context_window >= `32768`", "equals": True},
        {"query": "probes[?outcome!='passed']", "equals": []},
    ]
    expect.check(expect.compile_queries(queries), result)
    with pytest.raises(Failure, match="not as expected"):
        expect.check(expect.compile_queries([{"query": "context_window", "equals": 131072}]), result)


def test_the_whole_ladder_takes_less_than_two_seconds(llama: Llama) -> None:
    """docs/benchmarks.md has the bar; the benchmark measures it, this only notices a wait that nobody wanted."""
    server = llama("good")
    prove(server.base_url)
    started = time.monotonic()
    assert prove(server.base_url).code is None
    assert time.monotonic() - started < 10
