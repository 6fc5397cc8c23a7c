# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the probes need to know of an API: its requests, and answers in one shape for all three APIs.

A server with the right reasoning parser moves a model's thoughts into a field of their own. Without it they arrive as text,
between the marks of the model's chat template, and often only the closing mark arrives, because the template wrote the
opening one into the prompt.

OpenAI's reasoning models refuse C(max_tokens) and C(temperature), llama.cpp and TGI once refused C(tool_choice: required),
LiteLLM refuses for its backends, and older servers know no C(stream_options).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ..failure import Failure, quote
from ..transport.client import Event
from ..untrusted import list_of, object_of, parse_json

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
    # Granite 3.2 and 3.3
    (r"\AHere(?:'s| is) my thought process:", r"Here(?:'s| is) my response:"),
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
    C(prompt_tokens) is the server's count. C(whole) is the JSON that it was read from, where it did not stream.
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
    whole: Any = None

    @property
    def content(self) -> str:
        """The text without inline reasoning."""
        return split(self.text)[0]

    @property
    def inline_reasoning(self) -> str:
        """The reasoning that stands inside the text, where a user would read it."""
        return split(self.text)[1].strip()

    @property
    def thoughts(self) -> str:
        """All reasoning, from its own field and from inside the text."""
        return self.reasoning + split(self.text)[1]

    @property
    def goes_in_circles(self) -> bool:
        """Whether the end of the text occurred at least twice before: a model in a loop, which no budget helps."""
        end = self.text[-_CIRCLE:]
        return len(end) == _CIRCLE and self.text.count(end) > 2

    @property
    def says_something(self) -> bool:
        """Whether there is text or a tool call."""
        return bool(self.content or self.tool_calls)


# How often one question may be repeated: each parameter can fall away once, tool_choice in two steps.
MOST_FORMS = 6


@dataclass(frozen=True)
class Form:
    """Which optional parameters a request has.

    C(tool_choice) is V(required) (where the question demands it), V(auto), or empty for none at all.
    C(budget_field) names the parameter with the token budget; C(other_budget_field) the one to use where it is refused.
    """

    budget_field: str
    other_budget_field: str = ""
    tool_choice: str = "required"
    temperature: bool = True
    stream_options: bool = True


def without_refused(form: Form, sent: dict[str, object], said: str, named: str = "") -> Form | None:
    """Return the form without the parameter that the server refuses, None when it names none that was sent.

    Args:
        form: The form of the request.
        sent: The request.
        said: What the server said.
        named: The parameter that its error names in a field of its own, more reliable than the sentence.

    """

    def refused(parameter: str) -> bool:
        if parameter not in sent:
            return False
        return named == parameter if named in sent else bool(re.search(rf"\b{parameter}\b", said))

    if refused("stream_options"):
        return replace(form, stream_options=False)
    if refused("temperature"):
        return replace(form, temperature=False)
    if refused("tool_choice"):
        return replace(form, tool_choice="auto" if form.tool_choice == "required" else "")
    if form.other_budget_field and (refused(form.budget_field) or form.other_budget_field in said):
        return replace(form, budget_field=form.other_budget_field, other_budget_field="")
    return None


@dataclass(frozen=True)
class Tool:
    """A function tool: its name, what it does, and its properties with their JSON types."""

    name: str
    description: str
    properties: dict[str, Any]
    required: tuple[str, ...]

    def schema(self, parameters_name: str) -> dict[str, Any]:
        """Return the tool's JSON, its parameters under the name that the API gives them."""
        return {
            "name": self.name,
            "description": self.description,
            parameters_name: {
                "type": "object",
                "properties": self.properties,
                "required": list(self.required),
                "additionalProperties": False,
            },
        }


@dataclass(frozen=True)
class Turn:
    """What the model called, and what each of the tools gave back."""

    calls: tuple[ToolCall, ...]
    result: str


@dataclass(frozen=True)
class Question:
    """One request to a model, whatever the API.

    C(tool_required) forces a call, as NemoClaw's small probe does; without it the model chooses, as agents let it.
    C(turns) are what happened since the user spoke.
    """

    user: str
    system: str = ""
    tools: tuple[Tool, ...] = ()
    tool_required: bool = False
    turns: tuple[Turn, ...] = ()

    @property
    def characters(self) -> int:
        """The length of all that the model reads, the names and descriptions of the tools included."""
        return len(self.user) + len(self.system) + sum(len(str(tool.schema("parameters"))) for tool in self.tools)


class Dialect:
    """One API: where to send, what to send, how to read what comes back.

    Args:
        key: The server's key, empty for none; taken out of what the server says too.

    """

    name: str
    path: str
    models_path: str

    # A stream of text without one of these is of no use to the agent.
    required_events: tuple[str, ...]
    # The end of a turn that calls tools, as agents expect it.
    finish_of_calls: str
    # Whether the arguments of a call are JSON text, or an object.
    arguments_are_text = True
    form: Form
    # The variable of the environment by which a user gives the key of such a server.
    key_name = "COMPATIBLE_API_KEY"

    def __init__(self, key: str = "") -> None:
        self.key = key

    def headers(self) -> dict[str, str]:
        """Return the request headers; no key, no authentication header."""
        raise NotImplementedError

    def bearer_headers(self) -> dict[str, str] | None:
        """Return headers with the key as OpenAI's APIs want it, None where these are the headers already."""
        return None

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        """Return the request body; C(budget) is the most tokens the answer may have."""
        raise NotImplementedError

    def answer(self, content: dict[str, Any]) -> Answer:
        """Read the answer to a request without streaming.

        Raises:
            Failure: C(wrong_shape).

        """
        raise NotImplementedError

    def stream_reader(self) -> StreamReader:
        """Return what reads one streamed answer."""
        raise NotImplementedError

    def wrong_shape(self, missing: str, content: dict[str, Any]) -> Failure:
        """Return the failure for JSON that is not this API's."""
        found = quote(", ".join(sorted(content)[:8]), self.key) or "nothing"
        what = f"{missing} of the right type" if missing in content else missing
        return Failure(
            "wrong_shape",
            f"The answer to {self.path} has no {what} (it has: {found}), so this is not the {self.name} API. "
            "Check the base URL and the provider.",
        )

    def event_object(self, event: Event) -> dict[str, Any]:
        """Return the JSON object in an event's data."""
        try:
            content = parse_json(event.data)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Failure(
                "stream_malformed",
                f"The stream of {self.path} has an event whose data is not a JSON object, which no agent can read. Check the server's "
                f"version and any proxy between it and this host.",
            )
        if content.get("error"):
            raise self.error_in_stream(content["error"])
        return content

    def error_in_stream(self, error: Any) -> Failure:
        """Return the failure for an error that the server reports inside its stream."""
        said = quote(str(error.get("message") if isinstance(error, dict) else error), self.key)
        return Failure(
            "error_in_answer",
            f"The stream of {self.path} ended in an error: {said.rstrip('.')}. Check the server's log.",
            server_message=said,
        )


class StreamReader:
    """Puts one streamed answer together from its events, calls included, as the clients of the APIs do it.

    What no client can put together becomes a fault of the answer; what only some can, an oddity.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.answer = Answer(complete=False)
        self._calls: dict[Any, ToolCall] = {}

    def add(self, event: Event) -> bool:
        """Add one event and tell whether it was the last one; the event that announces the end completes the answer.

        Raises:
            Failure: C(stream_malformed), or C(error_in_answer) for an error inside the stream.

        """
        raise NotImplementedError

    def call_at(self, *places: Any) -> ToolCall:
        """Return the call at the first of the places that is a number or a name, else the last call; begin a new one."""
        place = next((place for place in places if isinstance(place, (int, str))), None)
        if place is None:
            place = next(reversed(self._calls), 0)
        if place not in self._calls:
            self._calls[place] = ToolCall(kind=None)
            self.answer.tool_calls.append(self._calls[place])
        return self._calls[place]

    def identify(self, call: ToolCall, name: Any, identifier: Any, kind: Any) -> None:
        """Take what the first piece of a call says of it.

        Agents replace a name by a later one, and the stream helper of OpenAI's Python library appends it; a copy of the
        whole name does no harm to agents (MiniMax on NIM sends one with each piece).
        """
        for attribute, label, value in (("name", "name", name), ("id", "id", identifier), ("kind", "type", kind)):
            known = getattr(call, attribute)
            if value in (None, ""):
                continue
            if known in (None, ""):
                setattr(call, attribute, value)
            elif value != known:
                shown = [quote(str(text), self.dialect.key, 60) for text in (known, value)]
                self.fault(f"the {label} of a call changes from {shown[0]!r} to {shown[1]!r} within the stream")
            elif label != "type":
                self.oddity(f"the {label} of a call is sent again with its later pieces")

    def append(self, call: ToolCall, piece: Any) -> None:
        """Add a piece of the arguments."""
        if isinstance(piece, str):
            call.arguments = (call.arguments if isinstance(call.arguments, str) else "") + piece
        elif piece is not None:
            self.fault("a piece of the arguments is not text")
            call.arguments = piece

    def fault(self, what: str) -> None:
        """Note what no client can put together, once."""
        if what not in self.answer.faults:
            self.answer.faults.append(what)

    def oddity(self, what: str) -> None:
        """Note what some clients cannot put together, once."""
        if what not in self.answer.oddities:
            self.answer.oddities.append(what)


def text_of(content: Any) -> str:
    """Return the text of a content field: a string, or the text of its parts, those with reasoning left out."""
    if isinstance(content, str):
        return content
    return "".join(
        part["text"]
        for part in list_of(content)
        if isinstance(part, dict) and isinstance(part.get("text"), str) and not _is_reasoning(part)
    )


def reasoning_of(content: Any) -> str:
    """Return the reasoning in the parts of a content field: Mistral's and Anthropic's thinking, OpenRouter's details."""
    found = ""
    for part in filter(_is_reasoning, map(object_of, list_of(content))):
        value = next((part[name] for name in ("thinking", "text", "summary", "reasoning") if part.get(name)), "")
        found += text_of(value)
    return found


def _is_reasoning(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    return isinstance(kind, str) and ("thinking" in kind or "reasoning" in kind)
