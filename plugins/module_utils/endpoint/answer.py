# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a model said, in one shape for all three APIs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import reasoning

# Characters at the end of a text that do not come back by chance.
_CIRCLE = 64


@dataclass
class ToolCall:
    """One structured call: every field as the server sent it, whatever its type.

    C(arguments) is a string of JSON in OpenAI's APIs and an object in Anthropic's. C(id) is what the result of the tool
    refers to: C(id), or C(call_id) in the Responses API.
    """

    name: Any = None
    arguments: Any = None
    id: Any = None
    kind: Any = "function"


@dataclass
class Answer:
    """One answer: its text, its reasoning, its structured tool calls.

    C(finish) is the reason for its end in the API's words, empty without one. C(cut) is true when that reason is the token
    budget, which was C(budget). C(complete) is false when a stream ended before its end was announced; C(faults) says
    what in a stream no client can put together, C(oddities) what some clients cannot. C(deltas) counts the pieces of text
    in a stream, C(events) has the types of its events, C(first_delta) and C(last_delta) are seconds from the request.
    C(prompt_tokens) is the server's count.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    finish: str = ""
    cut: bool = False
    budget: int = 0
    complete: bool = True
    faults: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    deltas: int = 0
    events: set[str] = field(default_factory=set)
    first_delta: float = 0.0
    last_delta: float = 0.0
    prompt_tokens: int | None = None

    @property
    def content(self) -> str:
        """The text without inline reasoning."""
        return reasoning.split(self.text)[0]

    @property
    def inline_reasoning(self) -> str:
        """The reasoning that stands inside the text, where a user would read it."""
        return reasoning.split(self.text)[1].strip()

    @property
    def thoughts(self) -> str:
        """All reasoning, from its own field and from inside the text."""
        return self.reasoning + reasoning.split(self.text)[1]

    @property
    def goes_in_circles(self) -> bool:
        """Whether the end of the text was said before, twice at least: a model that lost its way, which no budget brings back."""
        end = self.text[-_CIRCLE:]
        return len(end) == _CIRCLE and self.text.count(end) > 2

    @property
    def says_something(self) -> bool:
        """Whether there is text or a tool call."""
        return bool(self.content or self.tool_calls)
