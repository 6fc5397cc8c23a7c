# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection against the real vLLM, on the CPU: what tests/servers/vllm_image stands in for everywhere else."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import vllm_server
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import parse_time
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.readiness import last_sign, read_phase
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.facts import find_vllm
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.context import PHASES
from conftest import APIS, CHAT, MESSAGES, RESPONSES, prove
from test_playbooks import KEY, Controller, forms_of

# The ladder gives a server that has just started time for its first answer.
TIMEOUT = 180
BOTH = [CHAT, MESSAGES]


@pytest.fixture(scope="module")
def server() -> Iterator[vllm_server.Vllm]:
    with vllm_server.serving() as running:
        yield running


@pytest.fixture(scope="module")
def keyed() -> Iterator[vllm_server.Vllm]:
    """One with a key, and without a tool-call parser."""
    with vllm_server.serving(api_key=KEY, arguments=()) as running:
        yield running


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    (tmp_path / "ansible.cfg").touch()
    return Controller(tmp_path, forms_of(KEY), {"NEMOCLAW_PROVIDER": "vllm"})


def test_it_is_found(server: vllm_server.Vllm, keyed: vllm_server.Vllm) -> None:
    found = find_vllm(server.port)
    assert (found["running"], found["model"], found["problem"]) == (True, vllm_server.MODEL, None)
    assert found["context_window"] > 8192
    found = find_vllm(keyed.port)
    assert (found["running"], found["models"], found["problem"]) == (True, [], None)


def test_its_log_is_read_as_it_goes(server: vllm_server.Vllm) -> None:
    """As the engine gives it to a managed vLLM: each line behind its time."""
    assert find_vllm(server.port)["running"]
    lines = server.log.read_text(encoding="utf-8", errors="replace").splitlines()
    phases = dict.fromkeys(read_phase(line, PHASES)[0] for line in lines)
    assert {"load", "serve"} <= set(phases)
    assert read_phase("\n".join(lines), PHASES)[0] == "serve"
    asked = [line for line in lines if '"GET /v1/models HTTP/1.1"' in line][-1]
    assert last_sign(f"2026-11-22T10:00:01Z It works.\n2026-11-22T10:00:09Z {asked}") == parse_time(
        "2026-11-22T10:00:01Z"
    )


def at(server: vllm_server.Vllm, api: str) -> str:
    """Return the base URL of a server as the API wants it."""
    return server.base_url.removesuffix("/v1") if api == MESSAGES else server.base_url


@pytest.mark.parametrize("api", APIS)
def test_its_own_parser_makes_the_calls(server: vllm_server.Vllm, api: str) -> None:
    outcome = prove(at(server, api), api, model=vllm_server.MODEL, timeout=TIMEOUT)
    assert outcome.code is None, outcome.message
    assert (outcome.result["api"], outcome.result["tool_calling"]) == (api, "structured"), outcome.result[
        "fallback_reason"
    ]
    assert set(outcome.outcomes.values()) == {"passed"}
    assert {"tool_call_streamed", "second_turn", "agent_tool_call_streamed"} <= set(outcome.outcomes)
    assert outcome.result["context_window"] == find_vllm(server.port)["context_window"]
    assert outcome.warnings == []


@pytest.mark.parametrize("api", [CHAT, RESPONSES])
def test_without_a_parser_it_refuses_tools(keyed: vllm_server.Vllm, api: str) -> None:
    outcome = prove(at(keyed, api), api, model=vllm_server.MODEL, api_key=KEY, timeout=TIMEOUT)
    assert (outcome.code, outcome.result["tool_calling"]) == ("tool_calls_unsupported", "unsupported")
    assert "--enable-auto-tool-choice" in outcome.message
    assert "--tool-call-parser" in outcome.message


def test_its_anthropic_api_wants_the_key_in_another_header(keyed: vllm_server.Vllm) -> None:
    outcome = prove(at(keyed, MESSAGES), MESSAGES, model=vllm_server.MODEL, api_key=KEY, timeout=TIMEOUT)
    assert outcome.code == "auth_failed"
    assert "Authorization: Bearer" in outcome.message


# What is started, and the probe that fails first: with tool_choice "required" vLLM's grammar makes the model write what its parser reads.
@pytest.mark.parametrize(
    ("behaviour", "parser", "apis", "probe", "code", "named"),
    [
        # The model writes as Hermes and Qwen do, its parser is another's.
        ("good", "pythonic", BOTH, "agent_tool_call", "tool_calls_leaked", "--tool-call-parser hermes"),
        # It is read without a stream, and in a stream it is not: other faults, other codes, on vLLM's own parsers.
        (
            "arguments_first",
            "hermes",
            BOTH,
            "agent_tool_call_streamed",
            "tool_calls_stream_malformed",
            "--tool-call-parser",
        ),
        ("json_after_text", "llama3_json", BOTH, "agent_tool_call_streamed", "tool_calls_stream_leaked", "stream"),
        # This one streams no text either, over Anthropic's API not even where there are no tools.
        ("functools", "phi4_mini_json", [CHAT], "second_turn", "second_turn_empty", "streaming parser"),
        ("functools", "phi4_mini_json", [MESSAGES], "streaming", "stream_events_missing", "content_block_delta"),
        # It calls, and then refuses the id that it gave the call itself, as Mistral's templates do.
        ("refuses_ids", "hermes", BOTH, "second_turn", "second_turn_refused", "template"),
        ("calls_again", "hermes", BOTH, "second_turn", "second_turn_loops", "template"),
    ],
)
def test_what_its_parsers_and_templates_break(
    behaviour: str, parser: str, apis: list[str], probe: str, code: str, named: str
) -> None:
    arguments = ("--enable-auto-tool-choice", "--tool-call-parser", parser)
    with vllm_server.serving(behaviour=behaviour, arguments=arguments) as running:
        for api in apis:
            outcome = prove(at(running, api), api, model=vllm_server.MODEL, timeout=TIMEOUT)
            assert outcome.code == code, f"{api}: {outcome.message or outcome.outcomes}"
            assert outcome.outcomes[probe] == "failed"
            assert named in outcome.message
            assert "larger one" not in outcome.message


def test_why_its_own_key_is_not_enough(keyed: vllm_server.Vllm) -> None:
    """Its key covers what begins with /v1; the gate's token covers every path (docs/user-guide.md, A key before it)."""
    question = json.dumps({"model": vllm_server.MODEL, "messages": [{"role": "user", "content": "Hello"}]})
    answers = {}
    for path in ("/v1/chat/completions", "/tokenize", "/invocations"):
        connection = http.client.HTTPConnection("127.0.0.1", keyed.port, timeout=TIMEOUT)
        connection.request("POST", path, question, {"Content-Type": "application/json"})
        answers[path] = connection.getresponse().status
        connection.close()
    assert answers == {"/v1/chat/completions": 401, "/tokenize": 200, "/invocations": 200}


def test_from_nothing_to_a_route_and_its_status(controller: Controller, server: vllm_server.Vllm) -> None:
    controller.environment["NEMOCLAW_VLLM_PORT"] = str(server.port)
    assert controller.play("site", "--check") == 0
    assert not controller.record.exists()
    assert controller.play("site") == 0
    route = json.loads(controller.record.read_text(encoding="utf-8"))
    assert (route["provider"], route["origin"], route["container"]) == ("vllm", "external", None)
    assert (route["model"], route["api"]) == (vllm_server.MODEL, "openai-completions")
    assert controller.play("site") == 0
    assert controller.changed == 0
    assert controller.play("status") == 0


def test_one_with_a_key(controller: Controller, keyed: vllm_server.Vllm) -> None:
    controller.environment |= {"NEMOCLAW_VLLM_PORT": str(keyed.port), "NEMOCLAW_REQUIRE_TOOLS": "false"}
    assert controller.play("site") == 2
    assert not controller.record.exists()
    controller.environment["VLLM_API_KEY"] = KEY
    assert controller.play("site") == 0
    assert controller.play("status") == 0
