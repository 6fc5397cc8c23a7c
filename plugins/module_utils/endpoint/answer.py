# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a model said, in one shape for all three APIs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import parse_json

# Reasoning that the server did not take out of the text (NemoClaw #6915). An unclosed block eats the rest.
_THINK = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)


@dataclass
class ToolCall:
    """One structured call: C(arguments) as the server sent them, JSON text or an object."""

    name: Any
    arguments: Any
    kind: Any = "function"

    def parsed_arguments(self) -> dict[str, Any] | None:
        """Return the arguments as an agent would read them, None when it could not."""
        arguments = self.arguments
        if isinstance(arguments, str):
            try:
                arguments = parse_json(arguments)
            except ValueError:
                return None
        return arguments if isinstance(arguments, dict) else None


@dataclass
class Answer:
    """One answer: its text, its reasoning, its structured tool calls.

    C(cut) is true when the server says that the token budget ended the answer; C(complete) is false when a stream
    ended before its end was announced. C(deltas) counts the pieces of text in a stream,
    C(events) has the types of its events.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    cut: bool = False
    complete: bool = True
    deltas: int = 0
    events: set[str] = field(default_factory=set)

    @property
    def content(self) -> str:
        """The text without inline reasoning."""
        return _THINK.sub("", self.text).strip()

    @property
    def thoughts(self) -> str:
        """All reasoning, from its own field and from inside the text."""
        return self.reasoning + "".join(_THINK.findall(self.text))

    @property
    def is_reasoning_only(self) -> bool:
        """True when the budget went into reasoning: a larger one may bring the answer (page; NemoClaw #3341)."""
        return not self.content and not self.tool_calls and bool(self.thoughts.strip()) and self.cut
