# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tool calls that came back as text, and texts that only look like it."""

from __future__ import annotations

import json
import random
import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.leaks import (
    BY_NAME,
    FAMILIES,
    Leak,
    find_leak,
    remedy,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.questions import (
    SMALL_TOOL_CALL,
    agent_tool_call,
)

SMALL = SMALL_TOOL_CALL.tools
AGENT = agent_tool_call(100).tools
CALL = '{"name": "sessions_send", "arguments": {"message": "hello"}}'
ARGUMENTS = '{"message": "hello"}'
QUOTED_CALL = json.dumps({"name": "sessions_send", "arguments": json.dumps({"message": "hello"})})
BAR, BLANK = "\uff5c", "\u2581"

LEAKS = {
    "bare JSON": CALL,
    "arguments as a string": QUOTED_CALL,
    "parameters": '{"name": "sessions_send", "parameters": {"message": "hello"}}',
    "input": '{"type": "tool_use", "name": "sessions_send", "input": {"message": "hello"}}',
    "args": '{"name": "sessions_send", "args": {"message": "hello"}}',
    "over several lines": '\n\n{\n  "name": "sessions_send",\n  "arguments": {\n    "message": "hello"\n  }\n}\n',
    "a tool of its own": '{"name": "send_the_message", "arguments": {"text": "hello"}}',
    "the OpenAI wrapper": '{"type": "function", "function": {"name": "sessions_send", "arguments": "{}"}}',
    "tool_calls": '{"tool_calls": [{"id": "1", "type": "function", "function": ' + QUOTED_CALL + "}]}",
    "a message": '{"role": "assistant", "content": null, "tool_calls": [{"function": ' + QUOTED_CALL + "}]}",
    "a whole answer": '{"choices": [{"message": {"tool_calls": [{"function": ' + QUOTED_CALL + "}]}}]}",
    "an array": f"[{CALL}]",
    "an array of two": f"[{CALL}, {CALL}]",
    "two, one a line": f"{CALL}\n{CALL}",
    "a fence": f"```json\n{CALL}\n```",
    "a fence without language": f"```\n{CALL}\n```",
    "a fence with tool_call": f"```tool_call\n{CALL}\n```",
    "a sentence before": f"Sure, I will send that.\n{CALL}",
    "a sentence after": f"{CALL}\nThe message was sent.",
    "brackets before": f"[1] As noted {{above}}: {CALL}",
    "inside inline code": f"Calling `{CALL}` now.",
    "cut off in the arguments": '{"name": "sessions_send", "arguments": {"message": "hel',
    "cut off inside a fence": '```json\n{"name": "sessions_send", "parameters": {"mes',
    "cut off after a sentence": 'I call {"name":"sessions_send","arguments":"{\\"mess',
    "Hermes and Qwen": f"<tool_call>\n{CALL}\n</tool_call>",
    "an empty Hermes tag": "<tool_call>",
    "Jamba": f"<tool_calls>[{CALL}]</tool_calls>",
    "Nemotron": f"<TOOLCALL>[{CALL}]</TOOLCALL>",
    "Qwen3-Coder": "<tool_call>\n<function=sessions_send>\n<parameter=message>hello</parameter>\n</function>\n</tool_call>",
    "Llama with function": '<function=sessions_send>{"message": "hello"}</function>',
    "Llama 3.1": '<|python_tag|>{"name": "sessions_send", "parameters": {"message": "hello"}}',
    "Llama 4": '[sessions_send(message="hello")]',
    "Gemma": '```tool_code\nsessions_send(message="hello")\n```',
    "Functionary": 'Let me do that.>>>sessions_send\n{"message": "hello"}',
    "Mistral": f"[TOOL_CALLS][{CALL}]",
    "Mistral, new": '[TOOL_CALLS]sessions_send{"message": "hello"}',
    "DeepSeek": "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function",
    "DeepSeek, one": "<\uff5ctool\u2581call\u2581begin\uff5c>sessions_send",
    "Granite": f"<|tool_call|>[{CALL}]",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.sessions_send:0<|tool_call_argument_begin|>{}",
    "LFM2": '<|tool_call_start|>[sessions_send(message="hello")]<|tool_call_end|>',
    "MiniMax": '<minimax:tool_call>\n<invoke name="sessions_send">\n<parameter name="message">hello</parameter>',
    "invoke": '<function_calls><invoke name="sessions_send">',
    "FunctionGemma": "<start_function_call>call:sessions_send{message:hello}<end_function_call>",
    "gpt-oss": '<|channel|>commentary to=functions.sessions_send<|message|>{"message": "hello"}',
    "gpt-oss, channel lost": 'commentary to=functions.sessions_send json{"message": "hello"}',
    "reasoning around it": f"<think>The user wants me to send it.</think>{CALL}",
}

# Names that are English words.


@pytest.mark.parametrize("tools", [SMALL, AGENT], ids=["small", "agent"])
@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_seen(text: str, tools: tuple) -> None:
    assert find_leak(text, tools)


def test_other_tools_have_other_names() -> None:
    assert find_leak(CALL, SMALL[1:]), "a tool that was not offered"
    assert find_leak('sessions_send\n{"message": "hello"}', SMALL[1:]) is None
    assert find_leak('web_fetch\n{"message": "hello"}', SMALL) is None, "not its own property"
    assert find_leak("sessions_send", ()) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CALL, "the JSON of a call to sessions_send"),
        (f"[TOOL_CALLS]{CALL}", "the mark [TOOL_CALLS]"),
        (CALL[:-10], "sessions_send near its property message"),
        (CALL[:-24], "the beginning of a call to sessions_send"),
        ('web_fetch(url="x")', "web_fetch near its property url"),
        ('web_fetch("x")', "a call to web_fetch as code"),
        ("Action: web_fetch\nAction Input: example.com", "web_fetch with its input"),
    ],
)
def test_the_reason_names_what_was_seen(text: str, shown: str) -> None:
    leak = find_leak(text, SMALL)
    assert leak
    assert leak.sign == shown


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("family", ["", *BY_NAME])
def test_the_remedy_is_short_and_names_the_flags(family: str, streamed: bool) -> None:
    text = remedy(Leak("a sign", family), streamed)
    assert len(text.split()) <= 60
    assert "--tool-call-parser" in text or "--tool-parser-plugin" in text
    assert "vLLM" in text
    if family and BY_NAME[family].vllm:
        assert f"--tool-call-parser {BY_NAME[family].vllm}" in text
    if not streamed:
        assert "--jinja" in text
        assert ".ToolCalls" in text


def test_the_remedy_of_a_leaking_vllm_is_the_flag() -> None:
    leak = find_leak(LEAKS["Qwen3-Coder"], SMALL)
    assert leak
    assert (
        "vLLM with --enable-auto-tool-choice --tool-call-parser qwen3_coder; SGLang with --tool-call-parser qwen3_coder"
        in remedy(leak)
    )
    streamed = remedy(leak, streamed=True)
    assert "Update the server" in streamed
    assert "The model and its template are fine" in streamed
    assert "--tool-parser-plugin" in streamed


def test_the_names_of_families_are_unique() -> None:
    assert len(BY_NAME) == len(FAMILIES)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 8_000_000,
        "[" * 990 + "]" * 990,
        "[" * 5000 + "]" * 5000,
        '{"a":' * 50_000,
        "[1," * 100_000,
        "{ " * 200_000,
        "[" * 500 + "x" + "[" * 500,
        '"name": "' * 20_000,
        "<think>" * 20_000,
        "sessions_send(" * 20_000,
        "sessions_send " * 20_000,
        "sessions_send, " * 20_000,
        "sessions_send\n" * 20_000,
        "read" + " " * 70_000,
        "read(" * 20_000,
        "sessions_send" + "()[]{}<>:=" * 8_000,
        "<" * 70_000,
        "<|" * 40_000,
        "<tool" * 20_000,
        "&lt;" * 20_000,
        "\\" * 70_000,
        "\n" * 70_000,
        "`" * 70_000,
        "a" * 70_000,
        "message: " * 10_000,
        '"query": "x", sessions_send ' * 3_000,
        "sessions_send <a " * 5_000,
        'sessions_send "message" ' * 3_000,
        "'message': 'x', 'name': '" * 3_000,
        "-read " * 12_000,
        "</think>" * 10_000,
    ],
    ids=lambda text: f"{text[:12]!r}... of {len(text)}",
)
def test_a_model_that_lost_its_way_costs_neither_a_crash_nor_time(text: str) -> None:
    started = time.process_time()
    assert find_leak(text, AGENT) is None
    assert time.process_time() - started < 10, "minutes, once"


def test_a_call_deep_inside_is_found() -> None:
    assert find_leak("[" * 200 + CALL + "]" * 200, SMALL)


def test_random_text_never_raises() -> None:
    source = random.Random(2026)
    pieces = [
        '{"name":',
        '"sessions_send"',
        ',"arguments":',
        "sessions_send",
        "read",
        "message",
        "<tool",
        "<|",
        "|>",
        "--",
        "=",
        "```",
        "(",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        "\\",
        "1",
        " ",
        "\u0000",
        "null",
    ]
    for _dummy in range(3000):
        find_leak("".join(source.choice(pieces) for _dummy in range(source.randrange(30))), AGENT)


@pytest.mark.parametrize(
    ("model", "flag"),
    [
        ("Qwen/Qwen3.6-27B-FP8", "--tool-call-parser qwen3_coder;"),
        ("Qwen/Qwen2.5-14B-Instruct", "--tool-call-parser hermes;"),
        ("qwen2.5:7b", "--tool-call-parser hermes;"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "--tool-call-parser llama3_json with vLLM's tool_chat_template_llama3.1_json.jinja",
        ),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "--tool-call-parser mistral,"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-4B-FP8", "--tool-call-parser qwen3_coder"),
        ("openai/gpt-oss-20b", "--tool-call-parser openai"),
        ("zai-org/GLM-4.7", "--tool-call-parser glm47"),
        ("deepseek-ai/DeepSeek-V3.2", "--tool-call-parser deepseek_v32"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "the --tool-call-parser that the model card names"),
        ("lab/scripted", "the --tool-call-parser that the model card names"),
    ],
)
def test_bare_json_leaves_the_family_to_the_models_name(model: str, flag: str) -> None:
    said = remedy(Leak("the JSON of a call to sessions_send"), model=model)
    start = f"Start vLLM with --enable-auto-tool-choice {flag}" if flag.startswith("--") else flag
    assert start.rstrip(";,") in said
    assert len(said.split()) <= 60
