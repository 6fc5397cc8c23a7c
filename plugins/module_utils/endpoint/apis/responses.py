# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The OpenAI Responses API, used only where the user opted in (page, Selecting the API Path)."""

from __future__ import annotations

from typing import Any

from ...transport.sse import Event
from ...untrusted import list_of, object_of, size_of
from ..answer import Answer, ToolCall
from ..parameters import Form
from .dialect import Dialect, Question, StreamReader, text_of


class Responses(Dialect):
    """C(POST BASE/responses)."""

    name = "openai-responses"
    path = "/responses"
    models_path = "/models"

    # SGLang sends only created, in_progress and completed: the agent then sees no text (upstream-facts N24; PR #1833).
    required_events = ("response.output_text.delta",)
    finish_of_calls = "completed"
    form = Form("max_output_tokens")

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def request(self, model: str, question: Question, budget: int, stream: bool) -> dict[str, Any]:
        items: list[dict[str, Any]] = [{"role": "user", "content": question.user}]
        for turn in question.turns:
            for call in turn.calls:
                given = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
                items.append({"type": "function_call", **given})
            items += [
                {"type": "function_call_output", "call_id": call.id, "output": turn.result} for call in turn.calls
            ]
        body: dict[str, Any] = {
            "model": model,
            "input": items if question.turns else question.user,
            self.form.budget_field: budget,
            "stream": stream,
        }
        if question.system:
            body["instructions"] = question.system
        if question.tools:
            body["tools"] = [{"type": "function", **tool.schema("parameters")} for tool in question.tools]
            if self.form.tool_choice:
                body["tool_choice"] = self.form.tool_choice if question.tool_required else "auto"
            if self.form.temperature:
                body["temperature"] = 0
        return body

    def answer(self, content: dict[str, Any]) -> Answer:
        output = content.get("output")
        if not isinstance(output, list):
            raise self.wrong_shape("output", content)
        answer = Answer(finish=_finish(content), prompt_tokens=_prompt_tokens(content))
        for item in map(object_of, output):
            kind = item.get("type")
            if kind == "message":
                answer.text += text_of(item.get("content"))
            elif kind == "reasoning":
                answer.reasoning += _reasoning(item)
            elif _is_call(item):
                answer.tool_calls.append(
                    ToolCall(item.get("name"), item.get("arguments"), item.get("call_id"), _kind(item))
                )
        answer.cut = _is_cut(content) or _thought_only(answer)
        return answer

    def stream_reader(self) -> StreamReader:
        return _ResponseStream(self)


class _ResponseStream(StreamReader):
    """Items that are added, filled by deltas and done, each at its output index."""

    def add(self, event: Event) -> bool:
        answer = self.answer
        content = self.dialect.event_object(event)
        kind = str(content.get("type") or ("error" if event.type == "error" else ""))
        if not kind:
            self.fault("the data of its events has no type, and clients pass over them")
            return False
        answer.events.add(kind)
        if kind == "response.output_text.delta":
            answer.text += text_of(content.get("delta"))
            answer.deltas += 1
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            answer.reasoning += text_of(content.get("delta"))
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._add_item(content.get("output_index"), object_of(content.get("item")), kind.endswith("done"))
        elif kind == "response.function_call_arguments.delta":
            self.append(self._begun(content), content.get("delta"))
        elif kind == "response.function_call_arguments.done":
            self._settle(self._begun(content), content.get("arguments"))
        elif kind in ("response.completed", "response.incomplete"):
            self._end(object_of(content.get("response")))
            return True
        elif kind == "response.failed":
            raise self.dialect.error_in_stream(object_of(content.get("response")).get("error"))
        elif kind == "error":
            raise self.dialect.error_in_stream(content)
        return False

    def _add_item(self, index: Any, item: dict[str, Any], done: bool) -> None:
        if not _is_call(item):
            return
        call = self.call_at(index, item.get("id"))
        if not done or call.name is None:
            self.identify(call, item.get("name"), item.get("call_id"), _kind(item))
        if done:
            self._settle(call, item.get("arguments"))

    def _begun(self, content: dict[str, Any]) -> ToolCall:
        """Return the call that a piece belongs to."""
        before = len(self.answer.tool_calls)
        # llama.cpp sends no output index; there the id of the item tells (October 2026).
        call = self.call_at(content.get("output_index"), content.get("item_id"))
        if len(self.answer.tool_calls) > before:
            self.fault("arguments arrive at an output index where no function_call item was added")
        return call

    def _settle(self, call: ToolCall, arguments: Any) -> None:
        """Take the whole arguments that an event reports at the end: clients believe one or the other."""
        if arguments is None:
            return
        if call.arguments not in (None, "", arguments):
            self.fault("the arguments of a call differ between their pieces and their end")
        call.arguments = arguments

    def _end(self, response: dict[str, Any]) -> None:
        answer = self.answer
        answer.complete = True
        answer.finish = _finish(response)
        answer.prompt_tokens = _prompt_tokens(response)
        answer.cut = _is_cut(response) or _thought_only(answer)
        reported = any(map(_is_call, list_of(response.get("output"))))
        if reported and not answer.tool_calls:
            self.fault("the call stands in response.completed alone, and no event brought it before")
        if answer.tool_calls and not reported and isinstance(response.get("output"), list):
            self.fault("response.completed does not have the call that the events brought")


def _is_call(item: Any) -> bool:
    """Tell an item that is a call; C(tool_call) is what servers say that confuse it with chat completions."""
    return isinstance(item, dict) and item.get("type") in ("function_call", "tool_call")


def _kind(item: dict[str, Any]) -> str:
    return "function" if item["type"] == "function_call" else str(item["type"])


def _finish(response: dict[str, Any]) -> str:
    status = response.get("status")
    return status if isinstance(status, str) else ""


def _thought_only(answer: Answer) -> bool:
    """Tell an answer that is nothing but reasoning: llama.cpp says C(completed) for one that the budget cut."""
    return bool(answer.thoughts and not answer.says_something)


def _is_cut(response: dict[str, Any]) -> bool:
    details = object_of(response.get("incomplete_details"))
    return response.get("status") == "incomplete" and details.get("reason", "max_output_tokens") == "max_output_tokens"


def _reasoning(item: dict[str, Any]) -> str:
    """Return the reasoning of an item; here the type of its parts does not have to say so."""
    for parts in (item.get("content"), item.get("summary")):
        found = "".join(text_of(object_of(part).get("text")) for part in list_of(parts))
        if found:
            return found
    return text_of(item.get("content")) or text_of(item.get("summary"))


def _prompt_tokens(response: dict[str, Any]) -> int | None:
    return size_of(object_of(response.get("usage")).get("input_tokens")) or None
