# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the probes need to know of an API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...failure import Failure
from ...transport.credentials import quote
from ...transport.sse import Event
from ...untrusted import list_of, object_of, parse_json
from ..answer import Answer, ToolCall
from ..parameters import Form


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
        return Failure(
            "wrong_shape",
            f"The answer to {self.path} has no {missing} (it has: {found}), so it is not the {self.name} API. "
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
                f"The stream of {self.path} has an event whose data is no JSON object, which no agent can read. "
                "Look at the server's version and at what stands between it and this host.",
            )
        if content.get("error"):
            raise self.error_in_stream(content["error"])
        return content

    def error_in_stream(self, error: Any) -> Failure:
        """Return the failure for an error that the server reports inside its stream."""
        said = quote(str(error.get("message") if isinstance(error, dict) else error), self.key)
        return Failure(
            "error_in_answer",
            f"The stream of {self.path} ended in an error: {said.rstrip('.')}. Look at the server's log.",
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
