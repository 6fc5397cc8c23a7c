# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer to a request with tools is worth, and what it holds."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import questions, tool_calls
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer, ToolCall

GOOD = '{"message": "hello"}'
LEAK = '{"name": "sessions_send", "arguments": {"message": "hello"}}'


def judged(answer: Answer, key: str = "") -> tool_calls.Verdict:
    return tool_calls.judge(answer, questions.SMALL_TOOL_CALL, key)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(tool_calls=[ToolCall("sessions_send", GOOD)]),
        Answer(tool_calls=[ToolCall("sessions_send", {"message": "hello"})]),
        Answer(tool_calls=[ToolCall("sessions_send", '{"message": "hello", "more": 1}')]),
        Answer(tool_calls=[ToolCall("sessions_send", GOOD), ToolCall("web_fetch", '{"url": "http://h"}')]),
        Answer(text="I send it.", tool_calls=[ToolCall("sessions_send", GOOD)]),
        Answer(text=LEAK, tool_calls=[ToolCall("sessions_send", GOOD)]),
    ],
)
def test_a_call_that_an_agent_can_run_is_structured(answer: Answer) -> None:
    verdict = judged(answer)
    assert verdict.kind == tool_calls.STRUCTURED
    assert "sessions_send" in verdict.reason


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (ToolCall("rm_rf", "{}"), "rm_rf, which was not offered"),
        (ToolCall("Sessions_Send", GOOD), "not offered"),
        (ToolCall("sessions_send", '{"message": "hel'), "not a JSON object"),
        (ToolCall("sessions_send", "hello"), "not a JSON object"),
        (ToolCall("sessions_send", '["hello"]'), "not a JSON object"),
        (ToolCall("sessions_send", ""), "not a JSON object"),
        (ToolCall("sessions_send", None), "not a JSON object"),
        (ToolCall("sessions_send", 3), "not a JSON object"),
        (ToolCall("sessions_send", "[" * 100_000), "not a JSON object"),
        (ToolCall("", GOOD), "without a name"),
        (ToolCall(None, GOOD), "without a name"),
        (ToolCall(["sessions_send"], GOOD), "without a name"),
        (ToolCall("sessions_send", GOOD, "custom"), "without type function"),
        (ToolCall("sessions_send", GOOD, None), "without type function"),
    ],
)
def test_a_call_that_no_agent_can_run_is_none(call: ToolCall, fault: str) -> None:
    verdict = judged(Answer(tool_calls=[call]))
    assert verdict.kind == tool_calls.ABSENT
    assert fault in verdict.reason
    both = judged(Answer(tool_calls=[ToolCall("sessions_send", GOOD), call]))
    assert both.kind == tool_calls.ABSENT, "one good call does not make up for a bad one"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(text=LEAK), tool_calls.LEAKED, "came back as text"),
        (Answer(reasoning=LEAK), tool_calls.LEAKED, "came back as reasoning"),
        (Answer(text=f"<think>{LEAK}</think>Done."), tool_calls.LEAKED, "came back as reasoning"),
        (Answer(text=f"<think>I have to send it.</think>{LEAK}"), tool_calls.LEAKED, "came back as text"),
        (Answer(text="I cannot do that."), tool_calls.ABSENT, 'prose: "I cannot do that."'),
        (Answer(text=""), tool_calls.ABSENT, "no tool call and no text"),
        (Answer(reasoning="The user wants hello."), tool_calls.ABSENT, "no tool call and no text"),
    ],
)
def test_without_a_structured_call(answer: Answer, kind: str, said: str) -> None:
    verdict = judged(answer)
    assert verdict.kind == kind
    assert said in verdict.reason


def test_the_reason_holds_neither_the_key_nor_a_terminal_sequence() -> None:
    for answer in (
        Answer(text="\x1b[2Jyour key k-123456 \u202e is nice"),
        Answer(tool_calls=[ToolCall("k-123456\x1b[2J", "{}")]),
        Answer(text=f"k-123456 {LEAK}\x1b"),
    ):
        verdict = judged(answer, "k-123456")
        assert "k-123456" not in verdict.reason
        assert verdict.reason.isprintable()


@pytest.mark.parametrize(
    "said",
    [
        "registry.ollama.ai/library/gemma:2b does not support tools",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools param requires --jinja flag",
        "Tool use is not supported by this model",
        "tools are not supported",
        "tool_choice is not supported",
        "Unsupported parameter: tools",
    ],
)
def test_servers_say_in_many_ways_that_they_have_no_tools(said: str) -> None:
    assert tool_calls.says_unsupported(said)


@pytest.mark.parametrize("said", ["", "Internal server error", "This tool call failed", "the context size is exceeded"])
def test_other_refusals_are_not_about_tools(said: str) -> None:
    assert not tool_calls.says_unsupported(said)


def test_every_verdict_but_the_good_one_has_a_code_and_a_remedy() -> None:
    bad = {tool_calls.ABSENT, tool_calls.LEAKED, tool_calls.UNSUPPORTED}
    assert set(tool_calls.FAILURE_CODES) == set(tool_calls.REMEDIES) == bad


@pytest.mark.parametrize(
    ("text", "reasoning", "content", "thoughts"),
    [
        ("Hello.", "", "Hello.", ""),
        (" Hello.\n", "Hm.", "Hello.", "Hm."),
        ("<think>Hm.</think>Hello.", "", "Hello.", "Hm."),
        ("<think>Hm.</think>A<think>Ho.</think>B", "X", "AB", "XHm.Ho."),
        ("A<think>never closed", "", "A", "never closed"),
        ("<think></think>", "", "", ""),
        ("no open tag</think>Hello.", "", "no open tag</think>Hello.", ""),
    ],
)
def test_reasoning_is_taken_out_of_the_text(text: str, reasoning: str, content: str, thoughts: str) -> None:
    answer = Answer(text=text, reasoning=reasoning)
    assert (answer.content, answer.thoughts) == (content, thoughts)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning": "Hm.", "cut": True}, True),
        ({"text": "<think>Hm.", "cut": True}, True),
        ({"reasoning": "Hm.", "cut": False}, False),
        ({"reasoning": "Hm.", "text": "Hello.", "cut": True}, False),
        ({"reasoning": " \n", "cut": True}, False),
        ({"cut": True}, False),
        ({"reasoning": "Hm.", "cut": True, "tool_calls": [ToolCall("a", "{}")]}, False),
    ],
)
def test_only_reasoning_that_was_cut_is_worth_a_larger_budget(fields: dict[str, Any], expected: bool) -> None:
    assert Answer(**fields).is_reasoning_only is expected


def test_the_agent_shaped_question_is_one() -> None:
    question = questions.agent_tool_call(questions.AGENT_PROMPT_TOKENS)
    names = [tool.name for tool in question.tools]
    assert len(names) == len(set(names)) >= 12
    assert not question.tool_required, "an agent lets the model choose"
    assert len(question.system) >= 4 * questions.AGENT_PROMPT_TOKENS
    assert len(questions.agent_tool_call(100).system) < 4000
    for tool in question.tools:
        assert set(tool.required) <= set(tool.properties), tool.name
