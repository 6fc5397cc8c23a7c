"""Measure what the probe ladder costs: its own time, and the tokens that it has a model generate (docs/benchmarks.md).

  time    the whole ladder over a server that answers at once, beside bare HTTP of the very same requests, the two taking turns
  tokens  for each probe: requests, prompt, the budget that they ask for, and what a model that answers right and briefly needs of it,
          which on a slow machine is the time that the ladder takes

Run it as `python tests/bench/ladder.py` with the collection on PYTHONPATH. Prints figures; never fails on a slow machine.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import in_turn, show

TOP = Path(__file__).resolve().parents[2]
APIS = ("openai-completions", "openai-responses", "anthropic-messages")
# English prose and JSON have about four characters a token in the vocabularies of current models.
CHARACTERS_PER_TOKEN = 4
SLOW = 5  # generated tokens a second, of a small machine
SLOW_PROMPT = 100  # read tokens a second, of the same
BUDGETS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def main() -> None:
    """Measure each API."""
    command = [sys.executable, str(TOP / "tests" / "servers" / "broken_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            root = server.stdout.readline().strip()
            for api in APIS:
                requests = asked(root, api)
                show(f"ladder over {api} (bar: 500 ms)", *in_turn(ladder(root, api), bare(root, requests)))
            tokens(root, asked(root, APIS[0]))
        finally:
            server.terminate()


def ladder(root: str, api: str) -> Callable[[], None]:
    """Return a function that climbs once."""
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.report import Report
    from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint.validate import (
        Demands,
        Endpoint,
        validate,
    )

    base = f"{root}/good" if api == "anthropic-messages" else f"{root}/good/v1"

    def climb() -> None:
        report = Report(api, None)
        validate(Endpoint(base, api), Demands(), report)
        if report.api != api:
            raise SystemExit(f"{api}: {report.fallback_reason}")

    return climb


def asked(root: str, api: str) -> list[dict[str, Any]]:
    """Return the requests of one climb, as the server received them."""
    send(root, "DELETE", "/__requests", "", {})
    ladder(root, api)()
    found: list[dict[str, Any]] = json.loads(send(root, "GET", "/__requests", "", {}))
    return found


def bare(root: str, requests: list[dict[str, Any]]) -> Callable[[], None]:
    """Return a function that sends the same requests and reads the answers, and nothing else."""

    def replay() -> None:
        for request in requests:
            send(root, request["method"], request["path"], request["body"], request["headers"])

    return replay


def send(root: str, method: str, path: str, body: str, headers: dict[str, str]) -> bytes:
    """Send one request and return the whole answer."""
    connection = http.client.HTTPConnection(urlsplit(root).netloc)
    connection.request(method, path, body.encode(), headers)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def tokens(root: str, requests: list[dict[str, Any]]) -> None:
    """Print what each request has a model read and write, and how long a slow machine needs for all of them."""
    read = written = 0
    seen = ""
    print(f"{'request':<52} {'prompt':>7} {'new':>7} {'budget':>7} {'needed':>7}   (tokens)")
    for request in requests:
        if request["method"] != "POST":
            continue
        body = json.loads(request["body"])
        prompt = json.dumps([body.get("tools"), body["messages"]])
        fresh = len(prompt) - common(prompt, seen)  # what no prefix cache has
        seen = prompt if len(prompt) > len(seen) else seen
        answer = text_of(send(root, "POST", request["path"], request["body"], request["headers"]), body["stream"])
        budget = next(body[name] for name in BUDGETS if name in body)
        what = f"{'streamed' if body['stream'] else 'whole':<9}{len(body.get('tools') or [])} tools, {len(body['messages'])} messages"
        figures = [len(prompt) // CHARACTERS_PER_TOKEN, fresh // CHARACTERS_PER_TOKEN, budget]
        needed = -(-len(answer) // CHARACTERS_PER_TOKEN)
        print(f"{what:<52} {figures[0]:>7} {figures[1]:>7} {figures[2]:>7} {needed:>7}")
        read, written = read + figures[1], written + min(needed, budget)
    print(
        f"together: {read} tokens to read, {written} to write; at {SLOW_PROMPT} and {SLOW} tokens a second "
        f"{read / SLOW_PROMPT:.0f} s and {written / SLOW:.0f} s"
    )


def common(text: str, other: str) -> int:
    """Return the length of what two texts begin with."""
    return next((at for at, (one, two) in enumerate(zip(text, other)) if one != two), min(len(text), len(other)))


def text_of(answer: bytes, streamed: bool) -> str:
    """Return what a chat completion says: its text, and its calls as a model writes them."""
    lines = [line[len("data: ") :] for line in answer.decode().splitlines() if line.startswith("data: {")]
    contents = [json.loads(line) for line in lines] if streamed else [json.loads(answer)]
    messages = [
        choice.get("delta") or choice.get("message") or {} for content in contents for choice in content["choices"]
    ]
    said = "".join(message.get("content") or "" for message in messages)
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or []]
    written = "".join(function.get("name", "") + (function.get("arguments") or "") for function in calls)
    return said + (f'<tool_call>{{"name": "", "arguments": }}</tool_call>{written}' if calls else "")


if __name__ == "__main__":
    main()
