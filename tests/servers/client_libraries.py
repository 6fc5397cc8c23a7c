# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
What the client libraries of OpenAI and Anthropic (PyPI openai, anthropic) make of a streamed tool call.

    python client_libraries.py --install FOLDER             requirements-clients.txt; a quarter of a minute, 60 MB
    FOLDER/bin/python client_libraries.py --ask < questions  JSON: [["chat", BASE_URL], ...]; prints [Verdict, ...]

An agent reads a stream in one of two ways: through the library's own accumulator, or event by event with a merge of its own.
Both are done here as simply as they can be, and the call that comes out is judged as an agent's loop would: it must be one that can be
run and whose result can be given back.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-clients.txt"
TIMEOUT = 20.0

NAME = "sessions_send"
SCHEMA = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
USER: Any = [{"role": "user", "content": "Send hello."}]
MODEL = "scripted"

# Of one stream: what is wrong with the call that the library's accumulator made, and with the one that was merged here; "" for nothing.
Verdict = dict[str, str]
# id, name and arguments as the API has them: JSON text for OpenAI, an object for Anthropic.
Call = tuple[Any, Any, Any]


def install(folder: Path) -> None:
    """Make the environment where it is not yet complete."""
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    (folder / "complete").touch()


def ask_all(questions: list[tuple[str, str]], folder: Path | None = None) -> list[Verdict]:
    """Have the libraries read one stream of each endpoint; folder: by default CLIENT_LIBRARIES_HOME of the environment."""
    folder = folder or Path(os.environ["CLIENT_LIBRARIES_HOME"])
    command = [str(folder / "bin" / "python"), "-W", "ignore", __file__, "--ask"]
    done = subprocess.run(
        command, input=json.dumps(questions), capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"The client libraries failed:\n{done.stderr[-2000:]}")
    verdicts: list[Verdict] = json.loads(done.stdout)
    return verdicts


def fault(calls: list[Call]) -> str:
    """Return what keeps an agent from running these calls and giving their results back."""
    if not calls:
        return "no call"
    identifiers = [identifier for identifier, _name, _arguments in calls]
    if any(not isinstance(identifier, str) or not identifier for identifier in identifiers):
        return "no id"
    if len(set(identifiers)) < len(identifiers):
        return "one id for two calls"
    for _identifier, name, arguments in calls:
        if name != NAME:
            return f"name {name!r}"
        if not isinstance(arguments, dict) or not isinstance(arguments.get("message"), str):
            return f"arguments {arguments!r}"
    return ""


def _parsed(arguments: Any) -> Any:
    """Return the arguments of an OpenAI call; what is no text is left to be a fault."""
    if not isinstance(arguments, str):
        return f"of type {type(arguments).__name__}"
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


# One client for all: each reads the certificates of the machine, which takes longer than everything else here.


@functools.cache
def _openai_client() -> Any:
    import openai

    return openai.OpenAI(base_url="http://127.0.0.1", api_key="unused", max_retries=0, timeout=TIMEOUT)


@functools.cache
def _anthropic_client() -> Any:
    import anthropic

    return anthropic.Anthropic(base_url="http://127.0.0.1", api_key="unused", max_retries=0, timeout=TIMEOUT)


def _openai(base_url: str) -> Any:
    return _openai_client().with_options(base_url=f"{base_url}/v1")


def _anthropic(base_url: str) -> Any:
    return _anthropic_client().with_options(base_url=base_url)


CHAT: Any = {
    "model": MODEL,
    "messages": USER,
    "tools": [{"type": "function", "function": {"name": NAME, "parameters": SCHEMA}}],
}
RESPONSES: Any = {
    "model": MODEL,
    "input": "Send hello.",
    "tools": [{"type": "function", "name": NAME, "parameters": SCHEMA, "strict": False}],
}
MESSAGES: Any = {
    "model": MODEL,
    "max_tokens": 256,
    "messages": USER,
    "tools": [{"name": NAME, "description": "Send.", "input_schema": SCHEMA}],
}


def chat_accumulated(base_url: str) -> list[Call]:
    with _openai(base_url).chat.completions.stream(**CHAT) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = message.tool_calls or []
    # The message goes back to the server as it is, which takes a call of this type only.
    if any(call.type != "function" for call in calls):
        raise ValueError("no type")
    return [(call.id, call.function.name, _parsed(call.function.arguments)) for call in calls]


def chat_merged(base_url: str) -> list[Call]:
    merged: dict[Any, list[Any]] = {}
    for chunk in _openai(base_url).chat.completions.create(**CHAT, stream=True):
        for choice in chunk.choices or []:
            for piece in (choice.delta and choice.delta.tool_calls) or []:
                call = merged.setdefault(piece.index, ["", "", ""])
                call[0] = piece.id or call[0]
                function = piece.function
                call[1] = (function and function.name) or call[1]
                call[2] += (function and function.arguments) or ""
    return [(identifier, name, _parsed(arguments)) for identifier, name, arguments in merged.values()]


def responses_accumulated(base_url: str) -> list[Call]:
    with _openai(base_url).responses.stream(**RESPONSES) as stream:
        return _responses_calls(stream.get_final_response().output)


def responses_merged(base_url: str) -> list[Call]:
    items: list[Any] = []
    for event in _openai(base_url).responses.create(**RESPONSES, stream=True):
        if event.type == "response.output_item.done":
            items.append(event.item)
        elif event.type == "response.completed":
            return _responses_calls(items)
    raise ValueError("no response.completed")


def _responses_calls(items: list[Any]) -> list[Call]:
    return [(item.call_id, item.name, _parsed(item.arguments)) for item in items if item.type == "function_call"]


def messages_accumulated(base_url: str) -> list[Call]:
    with _anthropic(base_url).messages.stream(**MESSAGES) as stream:
        blocks = stream.get_final_message().content
    return [(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"]


def messages_merged(base_url: str) -> list[Call]:
    merged: dict[Any, list[Any]] = {}
    for event in _anthropic(base_url).messages.create(**MESSAGES, stream=True):
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            merged[event.index] = [event.content_block, ""]
        elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            merged[event.index][1] += event.delta.partial_json
    return [(block.id, block.name, _parsed(text) if text else block.input) for block, text in merged.values()]


READERS: dict[str, tuple[Callable[[str], list[Call]], Callable[[str], list[Call]]]] = {
    "chat": (chat_accumulated, chat_merged),
    "responses": (responses_accumulated, responses_merged),
    "messages": (messages_accumulated, messages_merged),
}


def read(api: str, base_url: str) -> Verdict:
    """Read one stream in both ways."""
    verdict = {}
    for way, reader in zip(("accumulated", "merged"), READERS[api]):
        try:
            verdict[way] = fault(reader(base_url))
        except Exception as error:  # whatever a library raises, the agent has no call
            verdict[way] = f"{type(error).__name__}: {error}"[:200]
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="What the client libraries make of streamed tool calls.")
    parser.add_argument("--install", type=Path, metavar="FOLDER")
    parser.add_argument("--ask", action="store_true")
    options = parser.parse_args()
    if options.install:
        install(options.install)
    if options.ask:
        json.dump([read(api, base_url) for api, base_url in json.load(sys.stdin)], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
