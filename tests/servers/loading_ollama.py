# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A double of an Ollama daemon that loads and unloads models, because the real one of ollama_server.py cannot run any.

It knows the routes that loading needs and refuses all others with 501. Its answers are those of Ollama 0.9.3 as recorded, with
context_length in /api/ps, which later versions add. Standard library only, so that the unit tests can use it on Python 3.9.

    with running({"a:1b": ["completion", "tools"]}) as daemon:   # daemon.host, daemon.loaded, daemon.asked
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIZE = 6_000_000_000
_PATIENCE = 60.0  # seconds that a load waits for the test at most


class LoadingOllama(ThreadingHTTPServer):
    """
    Attributes a test may set: `vram` (bytes of a loaded model on the GPU), `context_length`, `version`, `load_error` (status and
    message of a load), `forgets` (says it has loaded and has not), `keeps` (says it has unloaded and has not), `pull` (the lines that
    a pull answers), `brings` (what the model can do that a pull brings), `delete_status` (what a deletion is answered with), `endings`
    (how many pulls are taken down by an earlier one that is being ended), `released` (an event; a load waits until it is set, as it is
    at first), `weights` (model -> the model whose file it shares, as `FROM` makes it), `copies` (the same, as `ollama cp` makes it). Models
    that share a file share a runner, which is listed by the name that it was loaded under.
    """

    daemon_threads = True

    def __init__(self, models: dict[str, list[str] | None]) -> None:
        self.models = models
        self.loaded: list[str] = []
        self.asked: list[tuple[str, Any]] = []
        self.version = "0.32.9"
        self.vram = SIZE
        self.context_length: int | None = 32768
        self.load_error: tuple[int, str] | None = None
        self.forgets = False
        self.keeps = False
        self.pull: list[dict[str, Any]] = []
        self.brings: list[str] | None = ["completion", "tools"]
        self.delete_status = 200
        self.endings = 0
        self.weights: dict[str, str] = {}
        self.copies: dict[str, str] = {}
        self.released = threading.Event()
        self.released.set()
        super().__init__(("127.0.0.1", 0), _Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that does not wait any longer hangs up."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Exchange(BaseHTTPRequestHandler):
    server: LoadingOllama
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.server.asked.append((f"{self.command} {self.path}", body))
        route = getattr(self, "_" + f"{self.command}{self.path}".lower().replace("/", "_"), None)
        if route is None:
            self._json(501, {"error": f"loading_ollama.py is a test double and knows no {self.command} {self.path}"})
        else:
            route(body)

    def _get_api_version(self, body: Any) -> None:
        self._json(200, {"version": self.server.version})

    def _get_api_tags(self, body: Any) -> None:
        self._json(200, {"models": [self._tag(name) for name in self.server.models]})

    def _get_api_ps(self, body: Any) -> None:
        more = {"size": SIZE, "size_vram": self.server.vram, "expires_at": "2026-11-22T15:35:53Z"}
        if self.server.context_length is not None:
            more["context_length"] = self.server.context_length
        self._json(200, {"models": [{**self._tag(name), **more} for name in self.server.loaded]})

    def _post_api_show(self, body: Any) -> None:
        if body["model"] not in self.server.models:
            self._json(404, {"error": f"model '{body['model']}' not found"})
            return
        found = self.server.models[body["model"]]
        modelfile = f"# Modelfile\nFROM /models/blobs/sha256-{_digest(self._file(body['model']))}\nTEMPLATE x\n"
        more = {} if found is None else {"capabilities": found}
        self._json(200, {"template": "", "modelfile": modelfile, "details": {}, **more})

    def _post_api_generate(self, body: Any) -> None:
        name = body["model"]
        if body.get("prompt"):
            self._json(501, {"error": "loading_ollama.py only loads and unloads: it answers no prompt"})
        elif name not in self.server.models:
            self._json(404, {"error": f"model '{name}' not found"})
        elif body.get("keep_alive") == 0:
            if not self.server.keeps:
                self.server.loaded = [one for one in self.server.loaded if self._file(one) != self._file(name)]
            self._json(200, {"model": name, "response": "", "done": True, "done_reason": "unload"})
        elif not self.server.released.wait(_PATIENCE):
            self._json(500, {"error": "the test has forgotten its load"})
        elif self.server.load_error:
            self._json(self.server.load_error[0], {"error": self.server.load_error[1]})
        else:
            if self._file(name) not in map(self._file, self.server.loaded) and not self.server.forgets:
                self.server.loaded.append(name)
            self._json(200, {"model": name, "response": "", "done": True, "done_reason": "load"})

    def _post_api_pull(self, body: Any) -> None:
        if self.server.endings:
            self.server.endings -= 1
            self._send(200, b'{"error": "context canceled"}\n', "application/x-ndjson")
            return
        lines = [json.dumps(line).encode() + b"\n" for line in self.server.pull]
        if self.server.pull and self.server.pull[-1].get("status") == "success":
            self.server.models[body["model"]] = self.server.brings
        self._send(200, b"".join(lines), "application/x-ndjson")

    def _delete_api_delete(self, body: Any) -> None:
        if body["model"] not in self.server.models:
            self._json(404, {"error": f"model '{body['model']}' not found"})
            return
        if self.server.delete_status != 200:
            self._json(self.server.delete_status, {"error": "permission denied"})
            return
        del self.server.models[body["model"]]
        self._send(200, b"", "text/plain")

    def _tag(self, name: str) -> dict[str, Any]:
        digest = _digest(f"manifest of {self.server.copies.get(name, name)}")
        return {"name": name, "model": name, "size": SIZE, "digest": digest, "details": {"parameter_size": "7.6B"}}

    def _file(self, name: str) -> str:
        return {**self.server.weights, **self.server.copies}.get(name, name)

    def _json(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def running(models: dict[str, list[str] | None] | None = None) -> Iterator[LoadingOllama]:
    """Run the double until the block ends; models: name -> capabilities, None where /api/show is to tell none."""
    with LoadingOllama(dict(models or {})) as daemon:
        threading.Thread(target=daemon.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield daemon
        finally:
            daemon.shutdown()
