# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The misbehaviours of broken_server.py: a table from name to what is done with a request to each endpoint."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import wire_formats
from wire_formats import Answer

if TYPE_CHECKING:
    from broken_server import Exchange

MODEL = "scripted"
HUGE = 100 * 1024 * 1024  # bytes
LONG_PROMPT = 8000  # bytes of request body: between the small questions and the agent-shaped one
LEAKED = '{"name": "sessions_send", "arguments": {"message": "hello"}}'
TEXT = Answer(text="OK, here I am.")
CALL = Answer(call=("sessions_send", '{"message": "hello"}'))
PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"

Action = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Behaviour:
    """What to do by endpoint (models, chat, responses, messages; * for all others); an endpoint not named is good."""

    summary: str
    actions: dict[str, Action]


def good(exchange: Exchange) -> None:
    if exchange.endpoint == "models":
        exchange.json(200, wire_formats.models(MODEL))
    else:
        exchange.answer(CALL if exchange.wants_call else TEXT)


# Makers of actions: each returns what to do, so that the table below reads as a list of facts.


def says(with_tools: Answer, without: Answer = TEXT) -> Action:
    """Answer requests that offer tools with one thing and the others with another."""
    return lambda exchange: exchange.answer(with_tools if exchange.wants_call else without)


def always(status: int, answer: Any, **headers: str) -> Action:
    return lambda exchange: exchange.json(status, answer, **headers)


def page(status: int) -> Action:
    return lambda exchange: exchange.whole(status, PAGE, "text/html; charset=utf-8")


def at_first(times: int, action: Action) -> Action:
    """Do something to the first requests of each endpoint, then be good."""
    return lambda exchange: action(exchange) if exchange.attempt <= times else good(exchange)


def with_tools(action: Action) -> Action:
    return lambda exchange: action(exchange) if exchange.wants_call else good(exchange)


def when_streaming(action: Action) -> Action:
    return lambda exchange: action(exchange) if exchange.streams else good(exchange)


def when_long(action: Action) -> Action:
    return lambda exchange: action(exchange) if len(json.dumps(exchange.body)) > LONG_PROMPT else good(exchange)


def on_all(action: Action) -> dict[str, Action]:
    return {"*": action}


def on_answers(action: Action) -> dict[str, Action]:
    """On everything but the list of models."""
    return {"chat": action, "responses": action, "messages": action}


def error(message: str, kind: str, code: Any, **more: Any) -> dict[str, Any]:
    """Return an error body of the OpenAI shape."""
    return {"error": {"message": message, "type": kind, "code": code, **more}}


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


# Single actions


def cut_stream(exchange: Exchange) -> None:
    """Two whole events and a half one, then the connection ends: a body without a length, so HTTP itself is content."""
    events = exchange.events(TEXT)
    exchange.begin(200, "text/event-stream")
    exchange.write(b"".join(events[:2]) + events[2][: len(events[2]) // 2])
    exchange.hang_up()


def cut_chunk(exchange: Exchange) -> None:
    exchange.begin(200, "text/event-stream", Transfer_Encoding="chunked")
    exchange.write(b"200\r\n" + b"".join(exchange.events(TEXT))[:100])
    exchange.hang_up()


def unfinished_stream(exchange: Exchange) -> None:
    """Whole events, but the stream ends before the one that says how the answer ended."""
    exchange.stream(exchange.events(TEXT)[:3])


def error_in_stream(exchange: Exchange) -> None:
    failed = wire_formats.event(error("EngineCore encountered an issue.", "InternalServerError", 500))
    exchange.stream([*exchange.events(TEXT)[:2], failed])


def endless(pause: float, piece: Callable[[Exchange], bytes]) -> Action:
    def action(exchange: Exchange) -> None:
        data = piece(exchange)
        exchange.begin(200, "text/event-stream")
        while exchange.wait(pause):
            exchange.write(data)

    return action


def delta_event(exchange: Exchange) -> bytes:
    """The first event that carries text."""
    return next(data for data in exchange.events(TEXT) if b'"OK,"' in data)


def trickle_headers(exchange: Exchange) -> None:
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Slow: ")
    while exchange.wait(0.5):
        exchange.write(b"z")


def trickle_body(exchange: Exchange) -> None:
    exchange.begin(200, "application/json", Content_Length="1000000")
    while exchange.wait(0.5):
        exchange.write(b" ")


def silent(exchange: Exchange) -> None:
    while exchange.wait(3600):
        pass


def hang_up(exchange: Exchange) -> None:
    exchange.hang_up()


def huge(exchange: Exchange) -> None:
    """A valid answer of 100 MB."""
    exchange.begin(200, "application/json", Content_Length=str(HUGE))
    head, tail = b'{"object": "list", "data": [], "choices": [], "filler": "', b'"}'
    exchange.write(head)
    _fill(exchange, HUGE - len(head) - len(tail))
    exchange.write(tail)


def huge_event(exchange: Exchange) -> None:
    """A stream whose first line does not end within 100 MB."""
    exchange.begin(200, "text/event-stream")
    exchange.write(b"data: ")
    _fill(exchange, HUGE)


def _fill(exchange: Exchange, size: int) -> None:
    block = b"z" * 65536
    for start in range(0, size, len(block)):
        exchange.write(block[: size - start])


def short_body(exchange: Exchange) -> None:
    exchange.begin(200, "application/json", Content_Length="1000")
    exchange.write(b'{"object": "list"')
    exchange.hang_up()


def not_http(exchange: Exchange) -> None:
    exchange.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    exchange.hang_up()


def not_utf8(exchange: Exchange) -> None:
    exchange.whole(200, '{"object": "list", "data": ["é"]}'.encode("latin-1"), "application/json")


def deep_json(exchange: Exchange) -> None:
    exchange.whole(200, b"[" * 200_000, "application/json")


def redirect(exchange: Exchange) -> None:
    """To another host name, which is this server again: a client that follows shows itself, and its key, in /__requests."""
    port = urlsplit(f"//{exchange.headers['Host']}").port
    exchange.json(302, {}, Location=f"http://localhost:{port}/good~redirected/v1/models")


def key_echo(exchange: Exchange) -> None:
    key = exchange.headers.get("Authorization") or exchange.headers.get("x-api-key") or ""
    exchange.json(401, error(f"Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key"))


def other_models(exchange: Exchange) -> None:
    if exchange.endpoint == "models":
        both = [wire_formats.models(name)["data"][0] for name in ("other-7b", "other-70b")]
        exchange.json(200, {"object": "list", "data": both})
    else:
        message = f"The model `{exchange.model}` does not exist."
        exchange.json(404, error(message, "NotFoundError", 404, param="model"))


def refuses(*parameters: str) -> Action:
    """Refuse the first of the parameters that a request has, as OpenAI's reasoning models do, one at a time."""

    def action(exchange: Exchange) -> None:
        name = next((name for name in parameters if name in exchange.body), "")
        if not name:
            good(exchange)
            return
        message = f"Unsupported value: '{name}' is not supported with this model."
        exchange.json(400, error(message, "invalid_request_error", "unsupported_value"))

    return action


def refuses_temperature_as_reported(exchange: Exchange) -> None:
    if "temperature" in exchange.body:
        exchange.json(400, error("temperature does not support 0 with this model", "invalid_request_error", 400))
    else:
        good(exchange)


def knows_no_choice(exchange: Exchange) -> None:
    """501 for what it never foresaw."""
    if "tool_choice" in exchange.body:
        exchange.json(501, error("Not implemented: tool_choice", "not_implemented", 501))
    else:
        good(exchange)


def compressed(exchange: Exchange) -> None:
    """Answers and streams by gzip, which nobody asked for: a proxy that compresses all there is."""
    answer = CALL if exchange.wants_call else TEXT
    coder = zlib.compressobj(wbits=31)
    if not exchange.streams:
        whole = json.dumps(wire_formats.AS_JSON[exchange.endpoint](answer, exchange.model)).encode()
        exchange.whole(200, coder.compress(whole) + coder.flush(), "application/json", Content_Encoding="gzip")
        return
    exchange.begin(200, "text/event-stream", Content_Encoding="gzip", Connection="close")
    exchange.close_connection = True
    for event in exchange.events(answer):
        exchange.write(coder.compress(event) + coder.flush(zlib.Z_SYNC_FLUSH))
    exchange.write(coder.flush())


def refuses_as_fastapi(exchange: Exchange) -> None:
    """422 with the place of the fault, and with the whole request echoed, which names every parameter."""
    if exchange.body.get("tool_choice") != "required":
        good(exchange)
        return
    detail = {"type": "literal_error", "loc": ["body", "tool_choice"], "msg": "Input should be 'none' or 'auto'"}
    exchange.json(422, {"detail": [{**detail, "input": exchange.body}]})


def listing(*names: str) -> Action:
    """List other names than the model's."""
    entries = [{"id": name, "object": "model", "created": 1700000000, "owned_by": "openai"} for name in names]
    return always(200, {"object": "list", "data": entries})


def thinks_in_parts(exchange: Exchange) -> None:
    """Mistral's shape: reasoning as parts of the content, 300 tokens of it before every answer."""
    if exchange.budget > 300:
        good(exchange)
        return
    answer = wire_formats.chat(Answer(cut=True), exchange.model)
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "The user wants " * 50}]}
    if exchange.streams:
        delta = {"index": 0, "delta": {"content": [thought]}, "finish_reason": "length"}
        exchange.stream([wire_formats.event({**answer, "choices": [delta]}), wire_formats.event("[DONE]")])
    else:
        answer["choices"][0]["message"]["content"] = [thought]
        exchange.json(200, answer)


def stream_called_json(exchange: Exchange) -> None:
    """A right event stream under a wrong Content-Type."""
    exchange.whole(200, b"".join(exchange.events(CALL if exchange.wants_call else TEXT)), "application/json")


def takes_bearer(exchange: Exchange) -> None:
    """Anthropic's API behind a proxy that wants OpenAI's header."""
    if exchange.headers.get("Authorization"):
        good(exchange)
    else:
        exchange.json(401, anthropic_error("authentication_error", "Missing Authorization header"))


def old_budget_refused(exchange: Exchange) -> None:
    if "max_tokens" not in exchange.body:
        good(exchange)
        return
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    exchange.json(400, error(message, "invalid_request_error", "unsupported_parameter", param="max_tokens"))


def thinks_in_reasoning_field(exchange: Exchange) -> None:
    """Newer vLLM calls the field `reasoning`; here 300 tokens of it come before every answer."""
    if exchange.budget > 300:
        good(exchange)
        return
    thinking = Answer(reasoning="The user wants " * 50, cut=True)
    if exchange.streams:
        exchange.stream([data.replace(b"reasoning_content", b"reasoning") for data in exchange.events(thinking)])
    else:
        answer = wire_formats.chat(thinking, exchange.model)
        message = answer["choices"][0]["message"]
        message["reasoning"] = message.pop("reasoning_content")
        exchange.json(200, answer)


def content_parts(exchange: Exchange) -> None:
    answer = wire_formats.chat(TEXT, exchange.model)
    answer["choices"][0]["message"]["content"] = [{"type": "text", "text": LEAKED}]
    exchange.json(200, answer)


def stream_ignored(exchange: Exchange) -> None:
    exchange.json(200, wire_formats.AS_JSON[exchange.endpoint](TEXT, exchange.model))


def responses_without_deltas(exchange: Exchange) -> None:
    """SGLang's stream as NemoClaw met it (#1833): created, in_progress, completed."""
    events = exchange.events(TEXT)
    exchange.stream([*events[:2], events[-1]])


def no_parser(exchange: Exchange) -> None:
    """Refuse as vLLM without --enable-auto-tool-choice does; the text differs between "auto" and "required"."""
    choice = exchange.body.get("tool_choice", "auto")
    if isinstance(choice, dict):  # Anthropic's {"type": "any"} is "required" to vLLM
        choice = {"any": "required"}.get(choice["type"], choice["type"])
    message = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    if choice != "auto":
        message = f'tool_choice="{choice}" requires --tool-call-parser to be set'
    exchange.json(400, error(message, "BadRequestError", 400, param=None))


UNAUTHORIZED = always(401, error("Invalid API Key", "authentication_error", 401))
RATE_LIMITED = always(429, error("Rate limit reached.", "rate_limit_error", "rate_limit_exceeded"), Retry_After="1")
RATE_LIMITED_LONG = always(429, error("Quota exceeded.", "rate_limit_error", "quota"), Retry_After="3600")
LOADING = always(503, error("Loading model", "unavailable_error", 503))  # llama.cpp's words
FAILED = always(500, error("Internal server error", "server_error", 500))
OVERLOADED = always(529, anthropic_error("overloaded_error", "Overloaded"))
NOT_FOUND = always(404, {"detail": "Not Found"})  # vLLM and every other FastAPI server
WRONG_JSON = always(200, {"foo": 1})
CONTEXT_VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 256 output tokens and your prompt contains "
    "at least 6700 input tokens, for a total of at least 6956 tokens. Please reduce the length of the input prompt or the "
    "number of requested output tokens."
)
CONTEXT_LLAMA = "request (6700 tokens) exceeds the available context size (4096 tokens), try increasing it"
TOO_LONG_LLAMA = error(CONTEXT_LLAMA, "exceed_context_size_error", 400, n_prompt_tokens=6700, n_ctx=4096)
LLAMA_ENTRY = {"id": MODEL, "object": "model", "created": 1700000000, "owned_by": "llamacpp", "meta": {"n_ctx": 32768}}
LLAMA_MODELS = always(200, {"object": "list", "data": [LLAMA_ENTRY]})
TOOLS_UNSUPPORTED = error("registry.ollama.ai/library/scripted:latest does not support tools", "api_error", None)
CALL_IN_REASONING = Answer(reasoning=f"I should send it. <tool_call>{LEAKED}</tool_call>")

BEHAVIOURS: dict[str, Behaviour] = {
    "good": Behaviour("answers everything at once", {}),
    # Not an inference server, or not a working one
    "html": Behaviour("200 with a web page", on_all(page(200))),
    "html_404": Behaviour("404 with a web page", on_all(page(404))),
    "wrong_json": Behaviour("200 with JSON of no API", on_all(WRONG_JSON)),
    "not_http": Behaviour("answers as an SSH server", on_all(not_http)),
    "not_utf8": Behaviour("JSON in Latin-1", on_all(not_utf8)),
    "deep_json": Behaviour("200,000 open brackets", on_all(deep_json)),
    "redirect": Behaviour("302 to another host", on_all(redirect)),
    "hang_up": Behaviour("ends the connection without an answer", on_all(hang_up)),
    "short_body": Behaviour("ends the connection in the middle of the answer", on_all(short_body)),
    "error_in_200": Behaviour("an error body with status 200", on_answers(always(200, error("Out of memory", "x", 1)))),
    # Too much, too slow
    "huge": Behaviour("an answer of 100 MB", on_all(huge)),
    "huge_event": Behaviour("a stream with an event of 100 MB", on_answers(when_streaming(huge_event))),
    "silent": Behaviour("never answers", on_all(silent)),
    "silent_chat": Behaviour("lists its models, never answers a question", on_answers(silent)),
    "trickle_headers": Behaviour("a byte of a header every 0.5 s", on_all(trickle_headers)),
    "trickle_body": Behaviour("a byte of the body every 0.5 s", on_all(trickle_body)),
    "endless_stream": Behaviour("deltas without end", on_answers(when_streaming(endless(0, delta_event)))),
    "endless_comments": Behaviour(
        "comments instead of events, without end", on_answers(when_streaming(endless(0.1, lambda _: b": ping\n\n")))
    ),
    # Statuses
    "status_401": Behaviour("401 to everything", on_all(UNAUTHORIZED)),
    "status_403": Behaviour("403 to everything", on_all(always(403, error("Forbidden", "permission_error", 403)))),
    "key_echo": Behaviour("401 that repeats the key", on_all(key_echo)),
    "status_429_once": Behaviour("429 with Retry-After: 1, once an endpoint", on_all(at_first(1, RATE_LIMITED))),
    "status_429_always": Behaviour("429 with Retry-After: 1", on_all(RATE_LIMITED)),
    "status_429_long": Behaviour("429 with Retry-After: 3600", on_all(RATE_LIMITED_LONG)),
    "status_503_twice": Behaviour("503 as llama.cpp while loading, twice an endpoint", on_all(at_first(2, LOADING))),
    "status_500_always": Behaviour("500 to everything", on_all(FAILED)),
    "status_502": Behaviour("502 with a web page, as nginx before a server that is down", on_all(page(502))),
    # Models and APIs
    "no_models": Behaviour("404 for the list of models", {"models": NOT_FOUND}),
    "other_models": Behaviour("serves other models, 404 for ours", on_all(other_models)),
    "models_patterns": Behaviour("lists patterns, as LiteLLM", {"models": listing("openai/*", "*")}),
    "models_empty": Behaviour("lists no model", {"models": listing()}),
    "models_null": Behaviour("lists null", {"models": always(200, {"object": "list", "data": None})}),
    "models_403": Behaviour("403 for the list", {"models": always(403, error("Not allowed", "permission_error", 403))}),
    "models_401": Behaviour("401 for the list", {"models": always(401, error("Not allowed", "permission_error", 401))}),
    "models_html": Behaviour("a web page for the list", {"models": page(200)}),
    "models_500": Behaviour("500 for the list", {"models": FAILED}),
    "models_silent": Behaviour("never lists its models", {"models": silent}),
    "chat_only": Behaviour("404 for Responses and Messages", {"responses": NOT_FOUND, "messages": NOT_FOUND}),
    "responses_without_deltas": Behaviour(
        "Responses streams without text deltas", {"responses": when_streaming(responses_without_deltas)}
    ),
    # Answers
    "empty_answer": Behaviour("says nothing", on_answers(says(Answer(), Answer()))),
    "truncated_sse": Behaviour("streams end in the middle of an event", on_answers(when_streaming(cut_stream))),
    "truncated_chunk": Behaviour("streams end in the middle of an HTTP chunk", on_answers(when_streaming(cut_chunk))),
    "unfinished_stream": Behaviour("streams lack their last events", on_answers(when_streaming(unfinished_stream))),
    "error_in_stream": Behaviour("streams end with an error", on_answers(when_streaming(error_in_stream))),
    "stream_ignored": Behaviour("JSON where a stream was asked for", on_answers(when_streaming(stream_ignored))),
    "reasoning_field": Behaviour("300 tokens of `reasoning` first", {"chat": thinks_in_reasoning_field}),
    "context_exceeded_vllm": Behaviour(
        "400 for long prompts, vLLM's words",
        on_answers(when_long(always(400, error(CONTEXT_VLLM, "BadRequestError", 400, param="input_tokens")))),
    ),
    "context_exceeded_llama": Behaviour(
        "400 for long prompts, llama.cpp's words",
        {**on_answers(when_long(always(400, TOO_LONG_LLAMA))), "models": LLAMA_MODELS},
    ),
    "max_tokens_refused": Behaviour("400 for max_tokens", {"chat": old_budget_refused}),
    "temperature_refused": Behaviour("400 for temperature", on_answers(refuses_temperature_as_reported)),
    "tool_choice_refused": Behaviour("400 for tool_choice, whatever it is", on_answers(refuses("tool_choice"))),
    "choice_unknown": Behaviour("501 for tool_choice", on_answers(knows_no_choice)),
    "compressed": Behaviour("gzip without being asked", on_answers(compressed)),
    "required_refused": Behaviour("422 for tool_choice required, FastAPI's shape", {"chat": refuses_as_fastapi}),
    "stream_options_refused": Behaviour("400 for stream_options", {"chat": refuses("stream_options")}),
    "all_refused": Behaviour(
        "400 for each optional parameter",
        {"chat": refuses("temperature", "tool_choice", "stream_options", "max_tokens")},
    ),
    "thinks_in_parts": Behaviour("300 tokens of thinking parts first", {"chat": thinks_in_parts}),
    "thinks_aloud": Behaviour(
        "reasoning as text, its first mark missing",
        on_answers(says(CALL, Answer(text="Okay, the user wants one word. </think>OK"))),
    ),
    "stream_called_json": Behaviour("streams under application/json", on_answers(when_streaming(stream_called_json))),
    # Tools
    "tools_unsupported": Behaviour(
        "400 for tools, Ollama's words", on_answers(with_tools(always(400, TOOLS_UNSUPPORTED)))
    ),
    "vllm_no_parser": Behaviour("400 for tools, vLLM's words", on_answers(with_tools(no_parser))),
    "leak": Behaviour("calls as text", on_answers(says(Answer(text=LEAKED)))),
    "leak_in_parts": Behaviour("calls as text in a list of parts", {"chat": with_tools(content_parts)}),
    "tool_call_in_reasoning": Behaviour("calls inside the reasoning", on_answers(says(CALL_IN_REASONING))),
    # Anthropic
    "anthropic_leak": Behaviour("calls as text", {"messages": says(Answer(text=LEAKED))}),
    "anthropic_truncated_stream": Behaviour("cut streams", {"messages": when_streaming(cut_stream)}),
    "anthropic_overloaded": Behaviour("529, once", {"messages": at_first(1, OVERLOADED)}),
    "anthropic_bearer": Behaviour("takes the key as Bearer alone", on_all(takes_bearer)),
    "anthropic_401": Behaviour(
        "401, Anthropic's words", on_all(always(401, anthropic_error("authentication_error", "invalid x-api-key")))
    ),
}
