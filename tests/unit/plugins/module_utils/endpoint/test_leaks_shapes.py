# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls as templates, parsers and public reports have them, beside those of test_leaks.py."""

from __future__ import annotations

import json

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.leaks import find_leak
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.questions import (
    SMALL_TOOL_CALL,
    agent_tool_call,
)

SMALL = SMALL_TOOL_CALL.tools
AGENT = agent_tool_call(100).tools
CALL = '{"name": "sessions_send", "arguments": {"message": "hello"}}'
ARGUMENTS = '{"message": "hello"}'
BAR, BLANK = "\uff5c", "\u2581"

# By the template: what the parsers of vLLM 0.32 and SGLang 0.5.23 look for, and the same with its special tokens stripped.
TEMPLATES = {
    "DeepSeek V3": (
        f"<{BAR}tool{BLANK}calls{BLANK}begin{BAR}><{BAR}tool{BLANK}call{BLANK}begin{BAR}>function<{BAR}tool{BLANK}sep{BAR}>"
        f"sessions_send\n```json\n{ARGUMENTS}\n```<{BAR}tool{BLANK}call{BLANK}end{BAR}>",
        "deepseek_v3",
    ),
    "DeepSeek V3, tokens stripped": (f"functionsessions_send\n```json\n{ARGUMENTS}\n```", ""),
    "DeepSeek V3.1": (
        f"<{BAR}tool{BLANK}calls{BLANK}begin{BAR}><{BAR}tool{BLANK}call{BLANK}begin{BAR}>sessions_send<{BAR}tool{BLANK}sep{BAR}>"
        f"{ARGUMENTS}<{BAR}tool{BLANK}call{BLANK}end{BAR}>",
        "deepseek_v31",
    ),
    "DeepSeek V3.2": (
        f'<{BAR}DSML{BAR}function_calls><{BAR}DSML{BAR}invoke name="sessions_send"><{BAR}DSML{BAR}parameter name="message" '
        f'string="true">hello</{BAR}DSML{BAR}parameter></{BAR}DSML{BAR}invoke></{BAR}DSML{BAR}function_calls>',
        "deepseek_v32",
    ),
    "DeepSeek V3.2, cut off": (f"<{BAR}DSML{BAR}function_calls>", "deepseek_v32"),
    "DeepSeek V3.2, ASCII bars": ('<|DSML|invoke name="sessions_send">', "deepseek_v32"),
    "DeepSeek V4": (f'<{BAR}DSML{BAR}tool_calls>\n<{BAR}DSML{BAR}invoke name="sessions_send">', "deepseek_v4"),
    "Gemma 4": ('<|tool_call>call:sessions_send{message:<|"|>hello<|"|>}<tool_call|>', "gemma4"),
    "Gemma 4, tokens stripped": ("call:sessions_send{message:hello}", "gemma4"),
    "Gemma 4, in a sentence": ('thought\nI send it. call:sessions_send{message:<|"|>hello<|"|>}', "gemma4"),
    "Gemma 4, parentheses": ('call:sessions_send(message: "hello")', "gemma4"),
    "FunctionGemma, escaped": (
        "<start_function_call>call:sessions_send{message:<escape>hello<escape>}<end_function_call>",
        "functiongemma",
    ),
    "FunctionGemma, no tags": ("sessions_send{message:<escape>hello<escape>}", "functiongemma"),
    "Mistral, token stripped": (f"sessions_send[ARGS]{ARGUMENTS}", "mistral"),
    "Mistral, with an id": (f"[TOOL_CALLS]sessions_send[CALL_ID]a1b2c3d4e[ARGS]{ARGUMENTS}", "mistral"),
    "Mistral, all tokens stripped": (f"sessions_send{ARGUMENTS}", ""),
    "Hermes, attribute order": (
        f'<tool_call>{{"arguments": {ARGUMENTS}, "name": "sessions_send"}}</tool_call>',
        "hermes",
    ),
    "Hermes, only the end": (f"{CALL}\n</tool_call>", ""),
    "Hermes, hyphen": (f"<tool-call>{CALL}</tool-call>", ""),
    "Hermes, cut in the mark": ("I will send it.\n<tool_call", ""),
    "Hermes, HTML": ("&lt;tool_call&gt;" + CALL.replace('"', "&quot;") + "&lt;/tool_call&gt;", "hermes"),
    "Qwen3-Coder, opening tag lost": (
        "<function=sessions_send>\n<parameter=message>\nhello\n</parameter>\n</function>\n</tool_call>",
        "qwen3_coder",
    ),
    "Qwen3-Coder, both opening tags lost": (
        "sessions_send>\n<parameter=message>\nhello\n</parameter>\n</function>",
        "qwen3_coder",
    ),
    "Qwen3-Coder, name tag": (
        "<name>sessions_send\n</parameter>\n<parameter=message>\nhello\n</parameter>",
        "qwen3_coder",
    ),
    "GLM 4.5": (
        "<tool_call>sessions_send\n<arg_key>message</arg_key>\n<arg_value>hello</arg_value>\n</tool_call>",
        "glm45",
    ),
    "GLM 4.7": ("<tool_call>sessions_send<arg_key>message</arg_key><arg_value>hello</arg_value></tool_call>", "glm47"),
    "GLM, outer tag lost": ("sessions_send\n<arg_key>message</arg_key>\n<arg_value>hello</arg_value>", "glm47"),
    "GLM 4 9B": (f"sessions_send\n{ARGUMENTS}", ""),
    "Kimi K2": (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.sessions_send:0<|tool_call_argument_begin|>{ARGUMENTS}",
        "kimi_k2",
    ),
    "Kimi K2, tokens stripped": (f"functions.sessions_send:0{ARGUMENTS}", "kimi_k2"),
    "Kimi K3": (
        '<|open|>tools<|sep|><|open|>call tool="sessions_send" index="1"<|sep|><|open|>argument key="message" type="string"'
        "<|sep|>hello<|close|>argument<|sep|><|close|>call<|sep|>",
        "kimi_k3",
    ),
    "Kimi K3, bars lost": ('call tool="sessions_send" index="1" argument key="message" type="string" hello', ""),
    "gpt-oss, whole": (
        f"<|start|>assistant<|channel|>commentary to=functions.sessions_send <|constrain|>json<|message|>{ARGUMENTS}<|call|>",
        "gpt-oss",
    ),
    "gpt-oss, role before": (
        f"<|start|>assistant to=functions.sessions_send<|channel|>commentary json<|message|>{ARGUMENTS}",
        "gpt-oss",
    ),
    "gpt-oss, tokens stripped": (f"assistantcommentary to=functions.sessions_send json{ARGUMENTS}", "gpt-oss"),
    "gpt-oss, all run together": (f"assistantcommentaryto=functions.sessions_sendjson{ARGUMENTS}", "gpt-oss"),
    "gpt-oss, no namespace": (f"to=sessions_send json{ARGUMENTS}", ""),
    "Granite 20B": (f"<function_call> {CALL}", "granite_20b"),
    "Granite 3, mark only": ("<|tool_call|>", "granite"),
    "Phi-4 mini": (f"functools[{CALL}]", "phi4_mini"),
    "Phi-4 mini, tokens": (f"<|tool_call|>[{CALL}]<|/tool_call|>", "phi4_mini"),
    "InternLM": (f"<|action_start|><|plugin|>\n{CALL}<|action_end|>", "internlm"),
    "Jamba, cut off": ('<tool_calls>[{"na', "jamba"),
    "Hunyuan A13B": (f"<tool_calls>[{CALL}]</tool_calls>", "jamba"),
    "Hunyuan 3": (
        "<tool_calls><tool_call>sessions_send<tool_sep><arg_key>message</arg_key><arg_value>hello</arg_value></tool_call>",
        "hunyuan_v3",
    ),
    "Seed-OSS": (
        "<seed:tool_call>\n<function=sessions_send>\n<parameter=message>hello</parameter>\n</function>\n</seed:tool_call>",
        "seed_oss",
    ),
    "Step 3": (
        f'<{BAR}tool_calls_begin{BAR}><{BAR}tool_call_begin{BAR}>function<{BAR}tool_sep{BAR}><steptml:invoke name="sessions_send">'
        '<steptml:parameter name="message">hello</steptml:parameter></steptml:invoke>',
        "step3",
    ),
    "Olmo 3": ('<function_calls>\nsessions_send(message="hello")\n</function_calls>', "olmo3"),
    "Command A": (
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "sessions_send", "parameters": {"message": "hello"}}]<|END_ACTION|>',
        "cohere",
    ),
    "Command R": ('Action: ```json\n[{"tool_name": "sessions_send", "parameters": {"message": "hello"}}]\n```', ""),
    "Apertus": ('<|tools_prefix|>[{"sessions_send": {"message": "hello"}}]<|tools_suffix|>', "apertus"),
    "Apertus, tokens stripped": ('[{"sessions_send": {"message": "hello"}}]', ""),
    "GigaChat 3": (f"function call<|role_sep|>\n{CALL}", "gigachat3"),
    "GigaChat 3, new token": (f"<|function_call|>{CALL}", "gigachat3"),
    "GigaChat 3.5": (f'<{BAR}GCML{BAR}tool_calls><{BAR}GCML{BAR}invoke name="sessions_send">', "gigachat3.5"),
    "LongCat": (f"<longcat_tool_call>{CALL}</longcat_tool_call>", "longcat"),
    "Ernie 4.5": (f"<response>\n</response>\n<tool_call>\n{CALL}\n</tool_call>", "hermes"),
    "xLAM": (f"[{CALL}]", ""),
    "MiniMax M1": (f"<tool_calls>\n{CALL}\n</tool_calls>", "jamba"),
    "MiniMax M2, outer tag lost": (
        '<invoke name="sessions_send">\n<parameter name="message">hello</parameter>\n</invoke>',
        "",
    ),
    "MiniMax M3": (']<]minimax[>[<tool_call>]<]minimax[>[<invoke name="sessions_send">', "minimax_m3"),
    "MiniMax, arrows": ('[TOOL_CALL]\n{tool => "sessions_send", args => {\n  --message "hello"\n}}\n[/TOOL_CALL]', ""),
    "MiniMax, arrows alone": ('{tool => "sessions_send", args => {\n  --message "hello"\n}}', ""),
    "MiniCPM 5": ('<function name="sessions_send"><param name="message">hello</param></function>', "minicpm5"),
    "Inkling": (
        '<|content_invoke_tool_json|>\n{"name":"sessions_send","args":{"message":"hello"}}<|end_message|>',
        "inkling",
    ),
    "PLaMo 3": ("<|plamo:begin_tool_requests:plamo|><|plamo:begin_tool_request:plamo|>", "plamo3"),
    "K2 Horizon": ("<ifm|tool_calls><ifm|tool_call>sessions_send<ifm|arg_key>message</ifm|arg_key>", "k2_horizon"),
    "dots": (
        "<dots_function_call><invoke name=sessions_send><parameter name=message>hello</parameter></invoke>",
        "dots",
    ),
    "Muse": ('<atem:function_calls><atem:invoke name="sessions_send">', "muse"),
    "LM Studio": (f"[TOOL_REQUEST]{CALL}[END_TOOL_REQUEST]", ""),
    "Llama 4, tokens": ('<|python_start|>[sessions_send(message="hello")]<|python_end|>', "llama4"),
    "pythonic, single quotes": ("[sessions_send(message='hello'), memory_search(query='x')]", "pythonic"),
    "Gemini": ("declaration:default_api:sessions_send{message:hello}", ""),
    "Gemini, code": ('print(default_api.sessions_send(message="hello"))', ""),
}

# By the form, whatever the model.
FORMS = {
    "ReAct": 'Thought: I send it.\nAction: sessions_send\nAction Input: {"message": "hello"}\nObservation:',
    "ReAct, bold": '**Thought:** I send it.\n**Action:** `sessions_send`\n**Action Input:** {"message": "hello"}',
    "ReAct, a plain string": "Action: sessions_send\nAction Input: hello",
    "ReAct, stopped": "Thought: I have to send it.\nAction: sessions_send",
    "ReAct, German": 'Aktion: sessions_send\nAktionseingabe: {"message": "hello"}',
    "ReAct, Chinese": '\u52a8\u4f5c\uff1asessions_send\n\u52a8\u4f5c\u8f93\u5165\uff1a{"message": "hello"}',
    "ReAct, one object": '{"action": "sessions_send", "action_input": {"message": "hello"}}',
    "ReAct, one object, own tool": '{"action": "send_message", "action_input": {"text": "hello"}}',
    "ReAct, a function call": 'Action: sessions_send(message="hello")',
    "tool_use": '<tool_use><name>sessions_send</name><input>{"message": "hello"}</input></tool_use>',
    "tool": "<tool>sessions_send</tool>\n<parameters>\n<message>hello</message>\n</parameters>",
    "tool with an attribute": '<tool name="sessions_send"><message>hello</message></tool>',
    "tool_name": "<tool_name>sessions_send</tool_name>\n<arguments>\n" + ARGUMENTS + "\n</arguments>",
    "function_call": f"<function_call><name>sessions_send</name><arguments>{ARGUMENTS}</arguments></function_call>",
    "use_mcp_tool": "<use_mcp_tool><server_name>a</server_name><tool_name>sessions_send</tool_name></use_mcp_tool>",
    "tags of the tool's name": "<sessions_send>\n<message>hello</message>\n</sessions_send>",
    "brackets of the tool's name": "[sessions_send]\nhello\n[/sessions_send]",
    "a closing bracket": "sessions_send\nhello\n[/sessions_send]",
    "Python, positional, own line": 'sessions_send("hello")',
    "Python, positional, after a sentence": "Sure:\nsessions_send('hello')\nDone.",
    "Python, positional, fence": '```python\nsessions_send("hello")\n```',
    "Python, an object": 'sessions_send({"message": "hello"})',
    "Python, parameters": 'sessions_send(parameters={"message": "hello"})',
    "Python, two lines": 'sessions_send(\n    message="hello",\n)',
    "Python, assigned": 'result = sessions_send(message="hello")',
    "Python, awaited": '```python\nawait sessions_send(message="hello")\n```',
    "Ruby or Swift": 'sessions_send(message: "hello")',
    "the middle of a plan, as a call": 'I should call sessions_send(message="hello") now.',
    "namespaced": 'functions.sessions_send({"message": "hello"})',
    "MCP's name": 'mcp__openclaw__sessions_send({"message": "hello"})',
    "shell": "sessions_send --message hello",
    "shell, fence": '```bash\nsessions_send --message "hello"\n```',
    "shell, prompt": "$ sessions_send --message='hello'",
    "slash": "/sessions_send message=hello",
    "slash, quoted": '/sessions_send message="hello"',
    "YAML": "tool: sessions_send\nparameters:\n  message: hello",
    "YAML, fence": "```yaml\nname: sessions_send\narguments:\n  message: hello\n```",
    "YAML, name as key": "sessions_send:\n  message: hello",
    "Markdown": "**Tool:** sessions_send\n**Message:** hello",
    "one line": "Tool: sessions_send, Arguments: message=hello",
    "TOML": '[sessions_send]\nmessage = "hello"',
    "tool and parameters": '{"tool": "sessions_send", "parameters": {"message": "hello"}}',
    "tool_name and tool_input": '{"tool_name": "sessions_send", "tool_input": {"message": "hello"}}',
    "function and arguments": '{"function": "sessions_send", "arguments": {"message": "hello"}}',
    "recipient_name": '{"tool_uses": [{"recipient_name": "functions.sessions_send", "parameters": {"message": "hello"}}]}',
    "function name": '{"function_name": "sessions_send", "function_args": {"message": "hello"}}',
    "flat": '{"tool": "sessions_send", "message": "hello"}',
    "name as key": '{"sessions_send": {"message": "hello"}}',
    "type": '{"type": "function", "name": "terminal", "parameters": {"cmd": "ls"}}',
    "JSON-RPC": '{"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "sessions_send", "arguments": {"message": "hello"}}}',
    "method": '{"method": "sessions_send", "params": {"message": "hello"}}',
    "an id with an index": '{"id": "functions.sessions_send:0", "arguments": "{}"}',
    "a list of arguments": '{"name": "sessions_send", "arguments": [{"name": "message", "value": "hello"}]}',
    "single quotes": "{'name': 'sessions_send', 'arguments': {'message': 'hello'}}",
    "Python's repr, name last": "{'arguments': {'message': 'hello'}, 'name': 'sessions_send'}",
    "unquoted keys": '{name: "sessions_send", arguments: {message: "hello"}}',
    "nothing quoted": "{tool: sessions_send, parameters: {message: hello}}",
    "trailing comma": '{"name": "sessions_send", "arguments": {"message": "hello",},}',
    "trailing garbage": '{"name": "sessions_send", "arguments": {"message": "hello"}}}}]<|im_end|>',
    "a brace too few": '{"name": "sessions_send", "arguments": {"message": "hello"}',
    "an id between": '{"name": "sessions_send", "id": "call_123", "arguments": {"message": "hel',
    "escaped": CALL.replace('"', '\\"'),
    "escaped twice": json.dumps(json.dumps(CALL)),
    "line breaks escaped": '{\\n  \\"name\\": \\"sessions_send\\",\\n  \\"arguments\\": {\\"message\\": \\"hello\\"}\\n}',
    "curly quotes": CALL.replace(' "', " \u201c").replace('"', "\u201d"),
    "Markdown's backslash": 'sessions\\_send(message="hello")',
    "full-width brackets": "sessions_send\uff5bmessage\uff1ahello\uff5d",
    "a blank without width": "<tool\u200b_call>" + CALL,
    "with args": '[Called function "sessions_send" with args: {"message": "hello"}]',
    "Calling tool": '[Calling tool: sessions_send({"message": "hello"})]',
    "angle brackets": f"<<<TOOL_CALL>>>{CALL}<<<END_TOOL_CALL>>>",
    "inside thinking": f"<think>I send it.\n<tool_call>\n{CALL}\n</tool_call>\n",
    "after thinking": '</think>\n\nsessions_send\n{"message": "hello"}',
    "a JSON fence behind the name": '**sessions_send**\n\n```json\n{\n  "message": "hello"\n}\n```',
    "the second of two": 'I looked with memory_search and found nothing. {"tool": "sessions_send", "message": "hello"}',
    "a wrong property": '{"name": "sessions_send", "arguments": {"text": "hello"}}',
    "no arguments yet": '{"name": "sessions_send", "arguments": ',
}

# Further ones, each a sibling of a form above.
SIBLINGS = (
    '<tool_call>sessions_send(message="hello")</tool_call>',
    'tool_call: sessions_send\narguments: {"message": "hello"}',
    'Tool Call: sessions_send\nArguments: {"message": "hello"}',
    'Tool: sessions_send\nInput: {"message": "hello"}',
    "### Tool call\n- name: sessions_send\n- arguments:\n  - message: hello",
    'Function: sessions_send\nParameters: {"message": "hello"}',
    'Calling: sessions_send {"message": "hello"}',
    '@sessions_send message="hello"',
    '{{sessions_send(message="hello")}}',
    '{% sessions_send message="hello" %}',
    '{"tool_call": {"name": "sessions_send", "arguments": {"message": "hello"}}}',
    '{"function_call": {"name": "sessions_send", "arguments": "{\\"message\\": \\"hello\\"}"}}',
    '{"calls": [{"tool": "sessions_send", "args": {"message": "hello"}}]}',
    '{"toolName": "sessions_send", "toolInput": {"message": "hello"}}',
    '{"toolName": "sessions_send", "parameters": {"message": "hello"}}',
    '{"tool": {"name": "sessions_send", "input": {"message": "hello"}}}',
    '{"command": "sessions_send", "message": "hello"}',
    '{"thought": "I send it", "tool": "sessions_send", "tool_args": {"message": "hello"}}',
    '{"thoughts": ["x"], "tool_name": "sessions_send", "tool_args": {"message": "hello"}}',
    '{"action": {"name": "sessions_send", "parameters": {"message": "hello"}}}',
    '["sessions_send", {"message": "hello"}]',
    '{"intent": "sessions_send", "slots": {"message": "hello"}}',
    '<action>sessions_send</action><action_input>{"message": "hello"}</action_input>',
    '<function>sessions_send</function><parameters>{"message":"hello"}</parameters>',
    '<call>sessions_send(message="hello")</call>',
    '<call name="sessions_send"><arg name="message">hello</arg></call>',
    '<function name="sessions_send" message="hello"/>',
    '<sessions_send message="hello"/>',
    '<sessions_send>{"message": "hello"}</sessions_send>',
    '<tool id="sessions_send"><param key="message" value="hello"/></tool>',
    '<xai:function_call name="sessions_send"><parameter name="message">hello</parameter></xai:function_call>',
    '<execute_tool>sessions_send(message="hello")</execute_tool>',
    '<antml_invoke name="sessions_send">',
    (
        '<function_calls>\n<invoke name="sessions_send">\n<parameter '
        'name="message">hello</parameter>\n</invoke>\n</function_calls>'
    ),
    'tool_code\nprint(sessions_send(message="hello"))',
    '```json\n{"tool": "sessions_send",\n "message": "hello"\n```',
    "```xml\n<tool_call>\n  <name>sessions_send</name>\n</tool_call>\n```",
    "Sure! Here's the function call:\n\n```python\nsessions_send(message='hello')\n```",
    'I\'ll send it.\n\n`sessions_send(message="hello")`',
    'I\'ll send it.\n\n`sessions_send("hello")`',
    'sessions_send("hello");',
    "sessions_send 'hello'",
    'sessions_send: {"message": "hello"}',
    '"sessions_send": {"message": "hello"}',
    "sessions_send(hello)",
    "sessions_send {message: hello}",
    "sessions_send\nmessage: hello",
    "sessions_send | message=hello",
    'sessions_send -> {"message": "hello"}',
    'sessions_send => {"message": "hello"}',
    'sessions_send {"mess',
    'sessions_send({"mess',
    '[sessions_send(message="hel',
    "<|tool_call>call:sessions_send{mes",
    "<function=sessions_send",
    '<tool_call>\n{"name": "sess',
    '{"name": "sessions_send", "argu',
    "Action: sessions_send[hello]",
    "Action: `sessions_send`\nAction Input: message=hello",
    'Acción: sessions_send\nEntrada de la acción: {"message": "hello"}',
    'Action : sessions_send\nAction Input : {"message": "hello"}',
    'Action: sessions_send\n\nAction Input: ```json\n{"message": "hello"}\n```',
    '{"name":"sessions_send","parameters":{"message":"hello"}}<|eom_id|>',
    '{"name": "sessions_send", "arguments": {"message": "hello"}}\n<|im_end|>\n<|im_start|>user\n<tool_response>',
    '<|im_start|>assistant\nsessions_send\n{"message": "hello"}',
    'sessions_send{"message":"hello"}',
    'Tool use: sessions_send\n\nmessage: "hello"',
    '> sessions_send message="hello"',
    '🔧 sessions_send {"message": "hello"}',
    'tool sessions_send\n{"message":"hello"}',
    "```\nsessions_send\n  message: hello\n```",
    '{"name": "sessions_send", "arguments": null}',
    '{"name": "functions.sessions_send", "arguments": {"message": "hello"}}',
    '{"recipient": "sessions_send", "content": {"message": "hello"}}',
    'assistant<|channel|>commentary to=sessions_send <|constrain|>json<|message|>{"message":"hello"}',
    'commentary to=sessions_send code<|message|>{"message":"hello"}',
    'analysis We need to call sessions_send.assistantcommentary to=functions.sessions_send json{"message":"hello"}',
    (
        "We need to call.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.sessions_send <|constrain|>json<|message|>"
    ),
    '\\u003ctool_call\\u003e\\n{\\"name\\": \\"sessions_send\\"}',
    "&lt;function=sessions_send&gt;&lt;parameter=message&gt;hello",
    "name: sessions_send\nargs: hello",
    '{"type": "tool_call", "tool": "sessions_send", "content": "hello"}',
    'tool_name: "sessions_send"\ntool_input:\n  message: "hello"',
    "- tool: sessions_send\n  args:\n    message: hello",
    '<|python_tag|>sessions_send.call(message="hello")',
    'brave_search.call(query="hello")',
    'sessions_send.call(message="hello")',
    '<function(sessions_send)>{"message": "hello"}</function>',
    '<function/sessions_send>{"message":"hello"}</function>',
    '<|sessions_send|>{"message":"hello"}',
    '[[sessions_send]]{"message":"hello"}',
    'TOOL_CALL: sessions_send(message="hello")',
    'TOOL: sessions_send | ARGS: {"message": "hello"}',
    'call_tool("sessions_send", {"message": "hello"})',
    'tool_call(name="sessions_send", arguments={"message": "hello"})',
    'CALL sessions_send(message := "hello")',
    'I will now use a tool.\n\n<tool_call>\n{"name": "sessions_send", "arguments": {"message": "hello"}}',
    'Sure, sending now: sessions_send(message="hello")',
    'Okay.\n\nsessions_send\n\n```json\n{"message":"hello"}\n```\n',
    '1. sessions_send(message="hello")',
    '- sessions_send(message="hello")',
    '`sessions_send {"message": "hello"}`',
    'Tool call:\n```\nsessions_send(message="hello")\n```',
    '{"id":"call_1","type":"function","function":{"name":"sessions_send","arguments":"{\\"message\\":\\"hello\\"}"}}',
    'tool_calls:\n- function:\n    name: sessions_send\n    arguments: \'{"message": "hello"}\'',
    'tool_calls: [{"name": "sessions_send", "arguments": {"message": "hello"}}]',
    '[{"type":"tool_use","id":"toolu_1","name":"sessions_send","input":{"message":"hello"}}]',
    "<tool_calls>\n<sessions_send>\n<message>hello</message>\n</sessions_send>\n</tool_calls>",
    '<sessions_send>\n<parameter name="message">hello</parameter>\n</sessions_send>',
    '<tools>\n<sessions_send message="hello" />\n</tools>',
    "<function name=sessions_send>\n<parameter name=message>hello",
    '<function:sessions_send>{"message":"hello"}',
    '<tool:sessions_send>{"message":"hello"}</tool:sessions_send>',
    '<|tool|>sessions_send<|args|>{"message":"hello"}',
    '<|assistant|>sessions_send\n{"message": "hello"}',
    '<start_of_turn>tool_call\nsessions_send(message="hello")',
    'ACTION: sessions_send\nARGS: {"message": "hello"}',
    'TOOL_NAME: sessions_send\nTOOL_ARGS: {"message": "hello"}',
    "Tool Name: sessions_send\nTool Arguments:\n- message: hello",
    'tool = "sessions_send"\nmessage = "hello"',
    'tool = "sessions_send"\n[args]\nmessage = "hello"',
    '{"tool_calls":[{"tool_name":"sessions_send","args":{"message":"hello"}}',
    '{"name": "sessions_send", "arguments": {"message": "hello}',
    '{"name": "sessions_send" "arguments": {"message": "hello"}}',
    '{"name": sessions_send, "arguments": {"message": "hello"}}',
    "{name: sessions_send, args: {message: hello}}",
    '{"name": \'sessions_send\', "arguments": {"message": \'hello\'}}',
    'name="sessions_send" arguments={"message": "hello"}',
    'function=sessions_send, arguments={"message": "hello"}',
    "ToolCall(name='sessions_send', args={'message': 'hello'}, id='1')",
    "ToolUse(name='sessions_send', input={'message': 'hello'})",
    "Function(arguments='{\"message\":\"hello\"}', name='sessions_send')",
    (
        'ChatCompletionMessageToolCall(function=Function(arguments=\'{"message": '
        "\"hello\"}', name='sessions_send'), type='function')"
    ),
    "call sessions_send({message: 'hello'})",
    "await tools.sessions_send({ message: 'hello' })",
    "tools.sessions_send({ message: 'hello' });",
    (
        'multi_tool_use.parallel({"tool_uses": [{"recipient_name": '
        '"functions.sessions_send", "parameters": {"message": "hello"}}]})'
    ),
    'sessions_send:0 {"message": "hello"}',
    '/tool sessions_send {"message":"hello"}',
    '!sessions_send message="hello"',
    'sessions_send --message="hello"',
    "sessions_send -message hello",
    'sessions_send(message = "hello")',
    'sessions_send( "message": "hello" )',
    "sessions_send(message:hello)",
    'sessions_send(\'{"message": "hello"}\')',
    'sessions_send("""hello""")',
    "sessions_send(`hello`)",
    "sessions_send(message=`hello`)",
    'sessions_send["message": "hello"]',
    "sessions_send<message>hello</message>",
    "sessions_send\n<message>hello</message>",
    'sessions_send\t{"message":"hello"}',
    'Thought: send\nAction:\n```\n{\n  "action": "sessions_send",\n  "action_input": "hello"\n}\n```',
    'Thought: send\nAction:\n{"name": "sessions_send", "arguments": {"message": "hello"}}\nPAUSE',
    "Action: sessions_send: hello\nPAUSE",
    "Action: sessions_send\nInput: hello",
    'Action: Call sessions_send\nAction Input: {"message": "hello"}',
    'Action: Use the tool sessions_send\nAction Input: {"message": "hello"}',
    "Tool to use: sessions_send\nTool input: hello",
    "**Action**: sessions_send\n**Action Input**: hello",
    '\u0414\u0435\u0439\u0441\u0442\u0432\u0438\u0435: sessions_send\n\u0412\u0432\u043e\u0434: {"message": "hello"}',
    'ツール: sessions_send\n引数: {"message": "hello"}',
    '\u5de5\u5177\uff1asessions_send\n\u53c2\u6570\uff1a{"message": "hello"}',
    'Herramienta: sessions_send\nParámetros: {"message": "hello"}',
    'Outil : sessions_send\nParamètres : {"message": "hello"}',
)

# Names that are English words.
WORDS = {
    "read, JSON": '{"name": "read", "arguments": {"path": "notes.md"}}',
    "exec, ReAct": 'Action: exec\nAction Input: {"command": "ls"}',
    "exec, Python": 'exec(command="ls -l")',
    "write, tags": "<write><path>a.txt</path><content>hi</content></write>",
    "read, YAML": "tool: read\nparameters:\n  path: notes.md",
    "process, an enumeration": '{"tool": "process", "arguments": {"action": "list"}}',
    "image, broken JSON": "{'tool': 'image', 'parameters': {'image': 'a.png', 'prompt': 'What is it?'",
    "cron, Mistral": 'cron[ARGS]{"action": "list"}',
    "edit, name as key": '{"edit": {"path": "a", "old_text": "b", "new_text": "c"}}',
    "exec, the whole text": 'exec\n{"command": "ls"}',
    "no arguments": "sessions_list()",
}

WORD_SIBLINGS = (
    '<think>\nokay\n</think>\nexec\n{"command": "ls"}',
    '[read(path="notes.md")]',
    '```tool_code\nread(path="x")\n```',
    '{"name":"write","parameters":{"path":"a","content":"b"}}',
    'write({"path": "a", "content": "b"})',
    '{"type":"function","function":{"name":"exec","arguments":"{\\"command\\":\\"ls\\"}"}}',
    '<invoke name="exec"><parameter name="command">ls</parameter></invoke>',
    "<function=exec>\n<parameter=command>ls",
    'exec[ARGS]{"command":"ls"}',
    'functions.exec:0{"command":"ls"}',
    'functions.exec({"command":"ls"})',
    "call:exec{command:ls}",
    'to=exec json{"command":"ls"}',
    "<exec>\n<command>ls</command>\n</exec>",
    "<exec><command>ls</command><workdir>/x</workdir></exec>",
    "I run it.\n\n<exec>\n<command>ls</command>\n</exec>",
    "tool: exec\ncommand: ls",
    "Tool: exec\nCommand: ls",
    '{"tool":"cron","action":"list"}',
    '{"cmd":"x","tool":"process","action":"kill","session_id":"1"}',
    'memory_get(path="a", lines=3)',
    'web_search(count=3, query="x")',
    'web_search({"count": 3, "query": "x"})',
    '{"name": "web_search", "arguments": {"count": 3}}',
    'edit(path="a", old_text="b", new_text="c")',
)

ALL = {
    **{name: text for name, (text, _family) in TEMPLATES.items()},
    **FORMS,
    **{f"{number}: {text[:30]!r}": text for number, text in enumerate(SIBLINGS)},
}
WORDY = {**WORDS, **{f"{number}: {text[:30]!r}": text for number, text in enumerate(WORD_SIBLINGS)}}


@pytest.mark.parametrize("tools", [SMALL, AGENT], ids=["small", "agent"])
@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_a_call_is_seen(text: str, tools: tuple) -> None:
    assert find_leak(text, tools)


@pytest.mark.parametrize("text", WORDY.values(), ids=WORDY)
def test_a_call_to_a_tool_with_an_english_name_is_seen(text: str) -> None:
    assert find_leak(text, AGENT)


@pytest.mark.parametrize(("text", "family"), TEMPLATES.values(), ids=TEMPLATES)
def test_the_family_is_known(text: str, family: str) -> None:
    leak = find_leak(text, SMALL)
    assert leak
    assert leak.family == family


@pytest.mark.parametrize("around", ["Sure, I will send it now.\n\n{}", "<think>I send it.</think>\n{}", "> {}"])
def test_a_call_is_seen_whatever_stands_before_it(around: str) -> None:
    texts = {**{name: text for name, (text, _family) in TEMPLATES.items()}, **FORMS}
    assert not [name for name, text in texts.items() if not find_leak(around.replace("{}", text), SMALL)]
