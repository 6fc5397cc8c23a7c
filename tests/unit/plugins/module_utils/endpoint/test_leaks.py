# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tool calls that came back as text, and texts that only look like it."""

from __future__ import annotations

import json
import random
import time

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.leaks import Leak, find_leak, remedy
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.parsers import BY_NAME, FAMILIES
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

# Further shapes: of the templates that vLLM 0.32 and SGLang 0.5.23 have parsers for, and of public reports.
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

HARMLESS = {
    "nothing": "",
    "a word": "OK",
    "a sentence about the tool": "I would use the sessions_send tool with the message hello.",
    "the tool in backticks": "Call `sessions_send` to send `hello`.",
    "a JSON answer": '{"answer": 42, "unit": "GiB"}',
    "a person in JSON": '{"name": "Ada", "age": 36}',
    "people in JSON": '[{"name": "Ada"}, {"name": "Grace", "role": "admiral"}]',
    "parameters of something else": '{"name": "backup", "parameters": {"depth": 3}}',
    "an input of something else": '{"name": "form", "input": {"type": "text"}}',
    "a tool name without arguments": '{"name": "sessions_send"}',
    "arguments without a name": '{"arguments": {"message": "hello"}}',
    "a list of tools": '["sessions_send", "memory_search"]',
    "Python": "def send(message):\n    return {'name': message, 'arguments': [1, 2]}",
    "a shell line": 'if [ -n "$name" ]; then echo {a,b}; fi',
    "brackets": "[1] {see} [[x]] }{ ][",
    "HTML": "<p>A <b>tool</b> call is <i>structured</i>.</p>",
    "the word in prose": "A tool_call is a message; TOOL CALLS are many. Function calls cost time.",
    "the function without arguments": "sessions_send() takes one argument, the message.",
    "the function with a positional argument": "You would write sessions_send(message) here.",
    "a function of another name": "my_sessions_send(message='x')",
    "a comparison": "a >>> b, and sessions_send >= 1",
    # Prose and plans.
    "a plan": "I would use sessions_send with the message hello.",
    "a plan with an equals sign": "The user wants a greeting. I should call sessions_send with message=hello and then stop.",
    "a plan with a colon": "Okay. I need sessions_send here, so message: hello is what goes in.",
    "a plan in parentheses": "I would use sessions_send (message: hello) for that, if I could.",
    "what the tool takes": "The sessions_send tool takes a message and sends it to a session.",
    "what the tool needs": "sessions_send requires `message`; memory_search requires `query`; web_fetch requires `url`.",
    "an apology": "I'm sorry, but I cannot call sessions_send. I am a language model without access to your sessions.",
    "a question": "Which session should sessions_send use? Your message: hello",
    "done": 'I have sent the message "hello" with sessions_send.',
    "the message quoted": 'With sessions_send, the message "hello" would reach the current session.',
    "the positional call in a sentence": 'You could write sessions_send("hello") in your script.',
    "Action in prose": "Action: call the dentist.\nObservation: my tooth hurts.\nThought: better today than tomorrow.",
    "an action that only mentions it": "Action: sessions_send is what an agent would use, if it had one.",
    "actions in a list": "Next actions:\n- Action: read the book\n- Action: write to Ada",
    "observation": "Observation: the sessions_send tool was mentioned, the message was not.",
    "a possessive": "The sessions_send tool's `message`: it is a string.",
    "two tools, comma": "I have sessions_send, memory_search, and web_fetch; message, query and url are what they take.",
    "a mark that is spoken of": "Hermes models put calls between `<tool_call>` and `</tool_call>`; I will not.",
    "a mark before an ellipsis": "The form is <tool_call>...</tool_call> for these models.",
    "a dash": "sessions_send \u2014 sends a message: short ones only.",
    # Documentation.
    "a schema": json.dumps(SMALL[0].schema("parameters"), indent=2),
    "a schema in a fence": "```json\n" + json.dumps([tool.schema("parameters") for tool in AGENT]) + "\n```",
    "an Anthropic schema": json.dumps(SMALL[0].schema("input_schema")),
    "the schemas of OpenAI": json.dumps(
        [{"type": "function", "function": tool.schema("parameters")} for tool in AGENT]
    ),
    "a schema cut off": json.dumps(SMALL[0].schema("parameters"))[:140],
    "a schema in Python": str(SMALL[0].schema("parameters")),
    "types as parameters": '{"name": "sessions_send", "parameters": {"message": "string"}}',
    "names as parameters": '{"name": "sessions_send", "parameters": ["message"]}',
    "a list of parameters": '{"name": "sessions_send", "parameters": [{"name": "message", "type": "string"}]}',
    "a tool list in Markdown": "I have:\n\n- **sessions_send** (message): sends a message\n- **memory_search** (query): searches\n- `web_fetch` (url)",
    "signatures": "- sessions_send(message: string): sends\n- memory_search(query: string)\n- web_fetch(url: str) -> str",
    "a numbered list": "1. `sessions_send`: Send a message to a session. Parameters: message (string, required).\n2. `web_fetch`: url",
    "a list with properties": "### sessions_send\n- `message` (string): What to send.\n\n### web_fetch\n- `url` (string): The address of the page.",
    "a list with colons": "**sessions_send**\n- message: What to send.\n\n**memory_search**\n- query: the words to look for",
    "a YAML list": "sessions_send:\n  message: string\nmemory_search:\n  query: string, required",
    "a YAML schema": "name: sessions_send\ndescription: Send a message.\nparameters:\n  type: object\n  properties:\n    message:\n      type: string",
    "a table": "| Tool | Parameters | Does |\n|---|---|---|\n| sessions_send | message | Sends |\n| web_fetch | url | Fetches |",
    "a table with types": "| sessions_send | `message: string` | Sends a message |\n| web_fetch | `url: string` | Fetches |",
    "usage": "Usage: sessions_send --message <text>",
    "a placeholder": 'The call has this form: sessions_send(message="<message>")',
    "an ellipsis": "Call it as sessions_send(message=...) or memory_search(query=...).",
    "TypeScript's declarations": "namespace functions {\ntype sessions_send = (_: {\n// What to send.\nmessage: string,\n}) => any;\n}",
    "a definition list": "<dl><dt>sessions_send</dt><dd>Takes a message.</dd></dl>",
    # Code.
    "Python's definition": 'def sessions_send(message="hello"):\n    print(message)\n\nsessions_send(message="hello")',
    "JavaScript's definition": 'function sessions_send({message = "hi"}) {\n  return fetch("/send", {body: message});\n}',
    "JavaScript's arrow": "const sessions_send = async (message) => {\n  await post({ message: message });\n};",
    "Go": "func sessions_send(message string) error {\n\treturn send(message)\n}",
    "Rust": "fn sessions_send(message: &str) -> Result<(), Error> { Ok(()) }",
    "similar names": 'client.send(message="hello")\nsessions_send_all(message="hello")\nsession.sessions_sender(message="x")',
    "a method of another object": 'with open("a") as f:\n    f.write(content="x")\nclient.read(path="/tmp/a", limit=3)',
    "exec in shell": 'exec "$@"\nread -r path\nprintf "%s\\n" "$path"',
    "a test": "assert bus.sessions_send.call_args == {'x': 1}",
    "SQL": "SELECT name, message FROM sessions_send WHERE message = 'hello';",
    "a URL": "See https://example.com/sessions_send?message=hello for it.",
    "a diff": "--- a/agent.py\n+++ b/agent.py\n@@ -1,2 +1,2 @@\n-sessions_send(message='old')\n+sessions_send(message='new')\n",
    "CSS": "image { width: 10px } .read { path: none }",
    "a log line": "2026-11-30 12:00:01 INFO sessions_send finished, message=sent in 3 ms",
    "an import": 'from tools import sessions_send\nimport json\n\nprint(json.dumps({"message": "hello"}))',
    # Other data.
    "a form": '<form action="sessions_send"><input name="message"><button>Send</button></form>',
    "XML": '<?xml version="1.0"?><note><to>Ada</to><message>hello</message><function>test</function></note>',
    "a Maven file": "<plugin><exec><command>ls</command></exec><read/></plugin>",
    "an RSS feed": "<channel><image><url>a.png</url><path>/a</path></image></channel>",
    "YAML for Kubernetes": "livenessProbe:\n  exec:\n    command:\n    - cat\n    - /tmp/healthy",
    "YAML with an image": "name: web\nimage:\n  path: /images/web.png\n  prompt: none\nread:\n  path: /data",
    "Kubernetes as JSON": '{"exec": {"command": ["cat", "/tmp/healthy"]}}',
    "a picture in JSON": '{"type": "image", "path": "a.png", "prompt": "A cat"}',
    "a policy": '{"action": "read", "path": "/secret/*"}',
    "Puppet": "exec { 'apt-update':\n  command => '/usr/bin/apt-get update',\n}\ncron { 'logrotate':\n  command => 'x',\n}",
    "a launch file": '{"name": "Launch", "arguments": "--verbose", "args": ["-x"]}',
    "GraphQL": "query { image(path: $path) { url } }",
    "an INI file": "[process]\naction = restart\n[image]\npath = /a.png",
    "a message in JSON": '{"message": "sessions_send is not a tool I have", "ok": false}',
    "JSON about tools": '{"available": ["sessions_send", "web_fetch"], "message": "none was called"}',
    "Markdown": "# Read\n\nWrite to *Ada*: path, content.\n\n> exec: the command\n\n![image](path.png)",
    "brackets of BBCode": "[image]a.png[/image] and [read]x[/read]",
    "usage with brackets": "Usage: prog [OPTIONS] [ARGS]...\n\nRead: path of the file",
    "special tokens of other kinds": "<|im_start|>assistant\nHello.<|im_end|>",
}


def ids(cases: dict[str, object]) -> list[str]:
    return list(cases)


@pytest.mark.parametrize("tools", [SMALL, AGENT], ids=["small", "agent"])
@pytest.mark.parametrize("text", [*LEAKS.values(), *FORMS.values()], ids=[*LEAKS, *FORMS])
def test_a_leak_is_seen(text: str, tools: tuple) -> None:
    assert find_leak(text, tools)


@pytest.mark.parametrize(("text", "family"), TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_is_seen_and_known(text: str, family: str) -> None:
    leak = find_leak(text, SMALL)
    assert leak
    assert leak.family == family
    assert find_leak(text, AGENT)


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_a_call_to_a_tool_with_an_english_name_is_seen(text: str) -> None:
    assert find_leak(text, AGENT)


@pytest.mark.parametrize("tools", [SMALL, AGENT], ids=["small", "agent"])
@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_other_text_is_no_leak(text: str, tools: tuple) -> None:
    assert find_leak(text, tools) is None


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
    assert len(text.split()) <= 65
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
        "vLLM with --enable-auto-tool-choice --tool-call-parser qwen3_coder, SGLang with --tool-call-parser qwen3_coder"
        in remedy(leak)
    )
    streamed = remedy(leak, streamed=True)
    assert "Update the server" in streamed
    assert "model are good" not in streamed
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
