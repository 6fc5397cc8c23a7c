# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer to a request with tools is worth, and what it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import questions, report, tool_calls
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.apis import (
    AnthropicMessages,
    ChatCompletions,
    Responses,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.dialect import Answer, Dialect, ToolCall
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.leaks import Leak

GOOD = '{"message": "hello"}'
LEAK = '{"name": "sessions_send", "arguments": {"message": "hello"}}'


def judged(
    answer: Answer, key: str = "", api: type[Dialect] = ChatCompletions, streamed: bool = False
) -> tool_calls.Verdict:
    return tool_calls.judge(answer, questions.SMALL_TOOL_CALL, api(key), streamed)


def call(
    name: Any = "sessions_send", arguments: Any = GOOD, identifier: Any = "call_1", kind: Any = "function"
) -> ToolCall:
    return ToolCall(name, arguments, identifier, kind)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(tool_calls=[call()]),
        Answer(tool_calls=[call(arguments='{"message": "hello", "more": 1}')]),
        Answer(tool_calls=[call(arguments='{"message": ""}')]),
        Answer(tool_calls=[call(), call("web_fetch", '{"url": "http://h"}', "call_2")]),
        Answer(tool_calls=[call(identifier="8")]),
        Answer(text="I send it.", tool_calls=[call()]),
        Answer(text=LEAK, tool_calls=[call()]),
    ],
)
def test_a_call_that_an_agent_can_run_is_structured(answer: Answer) -> None:
    verdict = judged(answer)
    assert verdict.kind == report.STRUCTURED, verdict.reason
    assert "sessions_send" in verdict.reason


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (call("rm_rf", "{}"), "rm_rf, which was not offered"),
        (call("Sessions_Send"), "not offered"),
        (call("sessions_sendsessions_send"), "not offered"),
        (call(arguments='{"message": "hel'), "are not JSON"),
        (call(arguments="hello"), "are not JSON"),
        (call(arguments=""), "are not JSON"),
        (call(arguments="[" * 100_000), "are not JSON"),
        (call(arguments='{"message": "a"}{"message": "b"}'), "are not JSON"),
        (call(arguments='["hello"]'), "not a JSON object, but array"),
        (call(arguments='"{}"'), "not a JSON object, but string"),
        (call(arguments="null"), "not a JSON object, but null"),
        (call(arguments=None), "not a JSON string, but null"),
        (call(arguments=3), "but integer"),
        (call(arguments={"message": "hello"}), "but object"),
        (call(arguments="{}"), "lack message"),
        (call(arguments='{"text": "hello"}'), "lack message"),
        (call(arguments='{"message": null}'), "have null instead of string as message"),
        (call(arguments='{"message": ["hello"]}'), "have array instead of string"),
        (call(""), "without a name"),
        (call(None), "without a name"),
        (call(["sessions_send"]), "without a name"),
        (call(kind="custom"), "of type custom"),
        (call(kind=None), "of type None"),
        (call(identifier=""), "without an id"),
        (call(identifier=" "), "without an id"),
        (call(identifier=None), "without an id"),
        (call(identifier=7), "whose id is integer instead of string"),
    ],
)
def test_a_call_that_no_agent_can_run_is_malformed(wrong: ToolCall, fault: str) -> None:
    verdict = judged(Answer(tool_calls=[wrong]))
    assert verdict.kind == report.MALFORMED
    assert fault in verdict.reason
    both = judged(Answer(tool_calls=[call(identifier="call_0"), wrong]))
    assert both.kind == report.MALFORMED, "one good call does not make up for a bad one"


ELSEWHERE = {"id": "1", "type": "function", "function": {"name": "sessions_send", "arguments": '{"message": "hello"}'}}


@pytest.mark.parametrize(
    "whole",
    [
        {"message": {"content": None, "tool_calls": ELSEWHERE}},
        {"message": {"content": None}, "tool_calls": [ELSEWHERE]},
        {"message": {"content": None, "tool_call": ELSEWHERE}},
        {"message": {"content": {"name": "sessions_send", "arguments": {"message": "hello"}}}},
        [{"type": "function", "id": "1", "name": "sessions_send", "input": {"message": "hello"}}],
    ],
)
def test_a_call_that_no_client_finds_is_malformed(whole: Any) -> None:
    """The model did call: a larger one would help nobody."""
    verdict = judged(Answer(whole=whole))
    assert (verdict.kind, "no client of this API reads" in verdict.reason) == (report.MALFORMED, True)


def test_an_echo_of_the_tools_is_no_call() -> None:
    schema = {"name": "sessions_send", "parameters": {"type": "object", "properties": {"message": {"type": "string"}}}}
    assert judged(Answer(text="No.", whole={"tools": [{"type": "function", "function": schema}]})).kind == report.ABSENT


def test_two_calls_need_two_ids() -> None:
    assert "the same id, call_1" in judged(Answer(tool_calls=[call(), call()])).reason


def test_a_call_that_came_wrongly_is_never_blamed_on_the_model() -> None:
    for streamed in (False, True):
        said = tool_calls.remedy(judged(Answer(tool_calls=[call(kind=None)])), streamed)
        assert "--tool-call-parser" in said
        assert "Choose a model" not in said
        assert "another model" not in said


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"message": "hello"}, report.STRUCTURED),
        ('{"message": "hello"}', report.MALFORMED),
        ({}, report.MALFORMED),
        (None, report.MALFORMED),
        ([{"message": "hello"}], report.MALFORMED),
        ({"message": {"text": "hello"}}, report.MALFORMED),
    ],
)
def test_anthropics_input_is_an_object(arguments: Any, kind: str) -> None:
    assert judged(Answer(tool_calls=[call(arguments=arguments)]), api=AnthropicMessages).kind == kind


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("read", {"path": "a"}, report.STRUCTURED),
        ("read", {"path": "a", "offset": 3}, report.STRUCTURED),
        ("read", {"path": "a", "offset": 3.0}, report.STRUCTURED),
        ("read", {"path": "a", "offset": None}, report.STRUCTURED),
        ("read", {"path": "a", "offset": "3"}, report.MALFORMED),
        ("read", {"path": "a", "offset": 3.5}, report.MALFORMED),
        ("read", {"path": "a", "offset": True}, report.MALFORMED),
        ("exec", {"command": "ls", "background": False, "timeout": 1.5}, report.STRUCTURED),
        ("exec", {"command": "ls", "background": 1}, report.MALFORMED),
        ("exec", {"command": "ls", "background": "true"}, report.MALFORMED),
        ("process", {"action": "poll"}, report.STRUCTURED),
        ("process", {"action": "sing"}, report.MALFORMED),
        ("sessions_list", {}, report.STRUCTURED),
    ],
)
def test_arguments_satisfy_the_schema(tool: str, arguments: dict[str, Any], kind: str) -> None:
    question = questions.agent_tool_call(100)
    verdict = tool_calls.judge(Answer(tool_calls=[call(tool, json.dumps(arguments))]), question, ChatCompletions())
    assert verdict.kind == kind, verdict.reason


def test_a_streamed_call_needs_an_end() -> None:
    answer = Answer(tool_calls=[call()])
    assert judged(answer).kind == report.STRUCTURED
    assert "without a finish reason" in judged(answer, streamed=True).reason
    answer.finish = "tool_calls"
    assert judged(answer, streamed=True).kind == report.STRUCTURED


@pytest.mark.parametrize(
    ("api", "finish", "warned"),
    [
        (ChatCompletions, "tool_calls", False),
        (ChatCompletions, "stop", True),
        (ChatCompletions, "function_call", True),
        (ChatCompletions, "", True),
        (AnthropicMessages, "tool_use", False),
        (AnthropicMessages, "end_turn", True),
        (Responses, "completed", False),
        (Responses, "in_progress", True),
    ],
)
def test_a_wrong_finish_reason_names_the_agents_it_breaks(api: type[Dialect], finish: str, warned: bool) -> None:
    warning = tool_calls.finish_warning(Answer(tool_calls=[call()], finish=finish), api())
    assert ("OpenClaw" in warning if warning else False) == warned


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(text=LEAK), report.LEAKED, "came back as text"),
        (Answer(reasoning=LEAK), report.LEAKED, "came back as reasoning"),
        (Answer(text=f"<think>{LEAK}</think>Done."), report.LEAKED, "came back as reasoning"),
        (Answer(text=f"<think>I have to send it.</think>{LEAK}"), report.LEAKED, "came back as text"),
        (Answer(text="I cannot do that."), report.ABSENT, 'prose: "I cannot do that."'),
        (Answer(text=""), report.ABSENT, "no tool call and no text"),
        (Answer(reasoning="The user wants hello."), report.ABSENT, "no tool call and no text"),
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
        Answer(tool_calls=[call(arguments="k-123456\x1b[2J")]),
        Answer(tool_calls=[call(kind="k-123456\x1b[2J")]),
        Answer(tool_calls=[call(identifier="k-123456\x1b[2J")] * 2),
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
        "Failed to initialize samplers: failed to parse grammar",
        "Value is not callable: null at row 58, column 111",
        "Jinja Exception: Conversation roles must alternate",
    ],
)
def test_servers_say_in_many_ways_that_they_have_no_tools(said: str) -> None:
    assert tool_calls.says_unsupported(said)


@pytest.mark.parametrize("said", ["", "Internal server error", "This tool call failed", "the context size is exceeded"])
def test_other_refusals_are_not_about_tools(said: str) -> None:
    assert not tool_calls.says_unsupported(said)


def test_every_verdict_but_the_good_one_has_a_code_and_a_remedy() -> None:
    for kind in set(report.BEST_FIRST) - {report.STRUCTURED}:
        leak = Leak("the mark", "hermes") if kind == report.LEAKED else None
        for streamed in (False, True):
            verdict = tool_calls.Verdict(kind, "why", leak)
            assert tool_calls.failure_code(verdict, streamed).startswith(
                "tool_calls_stream_" if streamed else "tool_calls_"
            )
            assert len(tool_calls.remedy(verdict, streamed)) > 80


@pytest.mark.parametrize(
    ("text", "reasoning", "content", "thoughts"),
    [
        ("Hello.", "", "Hello.", ""),
        (" Hello.\n", "Hm.", "Hello.", "Hm."),
        ("<think>Hm.</think>Hello.", "", "Hello.", "Hm."),
        ("<think>Hm.</think>A<think>Ho.</think>B", "X", "AB", "XHm.Ho."),
        ("A<think>never closed", "", "A", "never closed"),
        ("<think></think>", "", "", ""),
        ("no open tag</think>Hello.", "", "Hello.", "no open tag"),
        ("Okay, the user... </think>OK", "", "OK", "Okay, the user... "),
        ("<thinking>Hm.</thinking>Hello.", "", "Hello.", "Hm."),
        ("[THINK]Hm.[/THINK]Hello.", "", "Hello.", "Hm."),
        ("\u25c1think\u25b7Hm.\u25c1/think\u25b7Hello.", "", "Hello.", "Hm."),
        ("<seed:think>Hm.</seed:think>Hello.", "", "Hello.", "Hm."),
        ("<|START_THINKING|>Hm.<|END_THINKING|>Hello.", "", "Hello.", "Hm."),
        ("Here is my thought process: Hm. Here is my response: Hello.", "", "Hello.", " Hm. "),
        ("<|channel>thought\nHm.<channel|>Hello.", "", "Hello.", "\nHm."),
        ("<|channel|>analysis<|message|>Hm.<|end|>Hello.", "", "Hello.", "Hm."),
        ("<|channel|>analysis<|message|>never closed", "", "", "never closed"),
        ("analysisHm.assistantfinalHello.", "", "Hello.", "Hm."),
        ("An analysis of </b> and <i>think</i>.", "", "An analysis of </b> and <i>think</i>.", ""),
    ],
)
def test_reasoning_is_taken_out_of_the_text(text: str, reasoning: str, content: str, thoughts: str) -> None:
    answer = Answer(text=text, reasoning=reasoning)
    assert (answer.content, answer.thoughts) == (content, thoughts)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning": "Hm."}, False),
        ({"text": "<think>Hm."}, False),
        ({"text": " \n"}, False),
        ({"reasoning": "Hm.", "text": "Hello."}, True),
        ({"reasoning": "Hm.", "tool_calls": [ToolCall("a", "{}")]}, True),
    ],
)
def test_reasoning_says_nothing(fields: dict[str, Any], expected: bool) -> None:
    assert Answer(**fields).says_something is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I will send the message now, and then I will say that it was sent. " * 9, True),
        ("".join(f"{number}. I think about what the user wants of me here and now.\n" for number in range(40)), False),
        ("OK " * 10, False),
        ("", False),
    ],
)
def test_a_model_that_goes_in_circles(text: str, expected: bool) -> None:
    assert Answer(text=text).goes_in_circles is expected


def test_the_agent_shaped_question_is_one() -> None:
    question = questions.agent_tool_call(questions.AGENT_PROMPT_TOKENS)
    names = [tool.name for tool in question.tools]
    assert len(names) == len(set(names)) >= 12
    assert not question.tool_required, "an agent lets the model choose"
    assert len(question.system) >= 4 * questions.AGENT_PROMPT_TOKENS
    assert len(questions.agent_tool_call(100).system) < 4000
    for tool in question.tools:
        assert set(tool.required) <= set(tool.properties), tool.name
