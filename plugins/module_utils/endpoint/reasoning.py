# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Reasoning that a server left inside the text of an answer.

A server with the right reasoning parser moves a model's thoughts into a field of their own. Without it they arrive as text,
between the marks of the model's chat template, and often only the closing mark arrives, because the template wrote the
opening one into the prompt.
"""

from __future__ import annotations

import re

# XML-like marks: DeepSeek-R1, Qwen, GLM and most others; Seed-OSS; EXAONE; models that were prompted into it.
_TAG = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis)"

# (opening mark, closing mark) of one block each. An unclosed block lasts to the end of the text.
_MARKS = (
    (rf"<(?P<tag>{_TAG})>", r"</(?P=tag)>"),
    # Magistral
    (r"\[THINK\]", r"\[/THINK\]"),
    # Kimi-VL
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    # Command A Reasoning
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    # gpt-oss (harmony): every channel but the final one
    (
        r"<\|channel\|>(?!final|commentary to=)\w+[^<]*<\|message\|>",
        r"<\|(?:end|call|return)\|>|(?=<\|(?:start|channel)\|>)",
    ),
    # Gemma 4
    (r"<\|channel>(?!final)\w*", r"<channel\|>"),
    # Gemma 3 derivatives with control tokens of their own
    (r"<unused94>(?:thought)?", r"<unused95>"),
)
_BLOCKS = tuple(re.compile(rf"{begin}(?P<thought>.*?)(?:{end}|\Z)", re.DOTALL) for begin, end in _MARKS)

# The closing marks alone: what stands before the last of them is reasoning.
_CLOSING = re.compile(
    rf"\A(?P<thought>.*)(?:</{_TAG}>|\[/THINK\]|\u25c1/think\u25b7|<\|END_THINKING\|>|<channel\|>|<unused95>)",
    re.DOTALL,
)

# gpt-oss whose special tokens were stripped: the names of the channels stand in the text.
_STRIPPED_HARMONY = re.compile(r"\Aanalysis(?P<thought>.+?)assistant\s*final", re.DOTALL)


def split(text: str) -> tuple[str, str]:
    """Return the text without inline reasoning, and the reasoning."""
    thoughts: list[str] = []

    def take(found: re.Match[str]) -> str:
        thoughts.append(found["thought"])
        return ""

    for pattern in (*_BLOCKS, _CLOSING, _STRIPPED_HARMONY):
        text = pattern.sub(take, text)
    return text.strip(), "".join(thoughts)
