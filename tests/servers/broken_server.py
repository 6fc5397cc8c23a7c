# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A model server that misbehaves on request: a double, because no real server does.

http://127.0.0.1:PORT/<behaviour>/v1 is a base URL for OpenAI, http://127.0.0.1:PORT/<behaviour> one for Anthropic. The
behaviours are in misbehaviours.py and tool_misbehaviours.py; `good` misbehaves in nothing and answers at once, for benchmarks.
`<behaviour>~<anything>` is an instance with its own count of requests ("fails twice"). What a server is asked that this one does
not know, it refuses with 501.

GET /__requests returns what was received, newest last (?under=/good~1/ narrows); DELETE forgets it and all counts.

    python broken_server.py --port 8081          from Python: with running() as root_url: ...
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import misbehaviours
import wire_formats
from tool_misbehaviours import TOOL_BEHAVIOURS

ENDPOINTS = {
    ("GET", "/v1/models"): "models",
    ("POST", "/v1/chat/completions"): "chat",
    ("POST", "/v1/responses"): "responses",
    ("POST", "/v1/messages"): "messages",
}
KEPT_REQUESTS = 1000
BEHAVIOURS = {**misbehaviours.BEHAVIOURS, **TOOL_BEHAVIOURS}


class BrokenServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        self.received: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", port), Exchange)

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients are expected to hang up on us; anything else is a fault of this double and must be seen.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Exchange(BaseHTTPRequestHandler):
    """One request, and what a misbehaviour can do about it."""

    server: BrokenServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # gather the headers and the body into one segment

    endpoint = ""
    body: dict[str, Any]
    attempt = 0  # 1 for the first request to this instance and endpoint

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        if url.path == "/__requests":
            self._requests(parse_qs(url.query).get("under", ["/"])[0])
            return
        _root, instance, path = (url.path.rstrip("/") + "//").split("/", 2)
        behaviour = BEHAVIOURS.get(instance.partition("~")[0])
        self.endpoint = ENDPOINTS.get((self.command, "/" + path.rstrip("/")), "")
        with self.server.lock:
            self.server.attempts[instance, self.endpoint] += 1
            self.attempt = self.server.attempts[instance, self.endpoint]
            headers = dict(self.headers.items())
            self.server.received.append({"method": self.command, "path": self.path, "headers": headers, "body": text})
        if behaviour is None or not self.endpoint:
            what = f"no behaviour {instance!r}" if behaviour is None else f"no {self.command} /{path.rstrip('/')}"
            self.json(501, {"error": {"message": f"broken_server.py is a test double and knows {what}."}})
            return
        self.body = json.loads(text) if text else {}
        action = behaviour.actions.get(self.endpoint, behaviour.actions.get("*", misbehaviours.good))
        action(self)

    def _requests(self, under: str) -> None:
        with self.server.lock:
            if self.command == "DELETE":
                self.server.received.clear()
                self.server.attempts.clear()
            received = [entry for entry in self.server.received if entry["path"].startswith(under)]
        self.json(200, received)

    # What was asked

    @property
    def model(self) -> str:
        return str(self.body.get("model", misbehaviours.MODEL))

    @property
    def streams(self) -> bool:
        return self.body.get("stream") is True

    @property
    def tools(self) -> list[Any]:
        return self.body.get("tools") or []

    @property
    def has_result(self) -> bool:
        """Whether the result of a tool is given back: a message, an item or a block of that kind."""
        kinds = ('"role": "tool"', '"type": "function_call_output"', '"type": "tool_result"')
        return any(kind in json.dumps(self.body) for kind in kinds)

    @property
    def wants_call(self) -> bool:
        """Whether tools are offered, and none has been called yet."""
        return bool(self.tools) and not self.has_result

    @property
    def budget(self) -> int:
        """The most tokens to answer with, whatever the API calls that; a large number where the request does not say."""
        names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
        return next((int(self.body[name]) for name in names if self.body.get(name)), 1 << 30)

    # What to answer

    def json(self, status: int, answer: Any, **headers: str) -> None:
        self.whole(status, json.dumps(answer).encode(), "application/json", **headers)

    def whole(self, status: int, content: bytes, content_type: str, **headers: str) -> None:
        """Send a complete answer; headers are named with _ for -."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def answer(self, answer: wire_formats.Answer) -> None:
        """Send an answer as the endpoint and the request want it: JSON or a stream."""
        if self.streams:
            self.stream(self.events(answer))
        else:
            self.json(200, wire_formats.AS_JSON[self.endpoint](answer, self.model))

    def events(self, answer: wire_formats.Answer) -> list[bytes]:
        return wire_formats.AS_EVENTS[self.endpoint](answer, self.model)

    def stream(self, events: list[bytes]) -> None:
        """Send a complete stream, one HTTP chunk for each event."""
        self.begin(200, "text/event-stream", Transfer_Encoding="chunked")
        self.wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(data), data) for data in events) + b"0\r\n\r\n")
        self.wfile.flush()

    def begin(self, status: int, content_type: str, **headers: str) -> None:
        """Send the headers of an answer whose body follows by write(); without a length it ends with the connection."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if not headers:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.flush()

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self) -> None:
        """End the connection here, whatever the headers promised."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Wait; False once the client has gone or the server is to end."""
        deadline = time.monotonic() + seconds
        while not self.server.stopping.is_set():
            rest = deadline - time.monotonic()
            if rest <= 0:
                return True
            if select.select([self.connection], [], [], min(rest, 0.1))[0]:
                break  # a client that waits for an answer sends nothing: readable means gone
        self.close_connection = True
        return False

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet: /__requests has it all."""


@contextlib.contextmanager
def running(port: int = 0) -> Iterator[str]:
    """Serve from a thread of this process; the value is the root URL, to which "/<behaviour>/v1" is added."""
    server = BrokenServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.root_url
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a model server that misbehaves on request, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--ready-file", type=Path, help="gets the root URL once the server listens")
    parser.add_argument("--list", action="store_true", help="print the behaviours and end")
    options = parser.parse_args()
    if options.list:
        for name, behaviour in BEHAVIOURS.items():
            print(f"{name:26} {behaviour.summary}")
        return
    server = BrokenServer(options.port)
    print(server.root_url, flush=True)
    if options.ready_file:
        part = options.ready_file.with_name(options.ready_file.name + ".part")
        part.write_text(f"{server.root_url}\n", encoding="utf-8")
        part.replace(options.ready_file)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
