# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the ladder needs to know of an API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.answer import Answer
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.sse import Event
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import parse_json


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
class Question:
    """One request to a model, whatever the API.

    C(tool_required) forces a call, as NemoClaw's small probe does; without it the model chooses, as agents let it.
    """

    user: str
    system: str = ""
    tools: tuple[Tool, ...] = ()
    tool_required: bool = False


class Dialect:
    """One API: where to send, what to send, how to read what comes back.

    Args:
        key: The server's key, empty for none; taken out of what the server says too.

    """

    name: str
    path: str
    models_path: str

    # A stream without one of these is of no use to the agent.
    required_events: tuple[str, ...]
    budget_field: str

    def __init__(self, key: str = "") -> None:
        self.key = key

    def headers(self) -> dict[str, str]:
        """Return the request headers; no key, no authentication header."""
        raise NotImplementedError

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        """Return the request body; C(budget) is the most tokens the answer may have."""
        raise NotImplementedError

    def answer(self, content: dict[str, Any]) -> Answer:
        """Read the answer to a request without streaming.

        Raises:
            Failure: C(wrong_shape).

        """
        raise NotImplementedError

    def add_event(self, event: Event, answer: Answer) -> bool:
        """Add one event of a stream to the answer and tell whether it was the last one.

        The reader starts with C(answer.complete) false; the event that announces the end sets it.

        Raises:
            Failure: C(stream_malformed), or C(error_in_answer) for an error inside the stream.

        """
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
        )


def text_of(content: Any) -> str:
    """Return the text of a content field: a string, or the text of its parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""
