# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
The program `ollama` of a test host: the real Ollama 0.9.3 for all it can do, with a real llama.cpp server for answers.

The build of Ollama that PyPI has aborts when it runs a model, and that of Ollama's own site cannot be fetched here. So this stands
before it: loading and unloading (a list of names), /api/ps and /v1/chat/completions (passed on to llama.cpp) are answered here, and
everything else, the version included, by the real program. A prompt to the native API is refused with 501. GET /stream sends an event each
50 ms until somebody asks for /release: what a rotation may not cut.

It reads `lib/ollama/front.json` beside the folder that it lies in; write_archive() makes both, packed as Ollama's release is. A test may
add `version` (what it calls itself) and `load_error` (what it says instead of loading a model) there, for a release that is bad.
Standard library only, for Python 3.9.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_CONFIG = Path(__file__).resolve().parents[1] / "lib" / "ollama" / "front.json"
_START_LIMIT = 30.0  # seconds; the real one listens after a fifth of one
_NOT_PASSED_ON = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}


class Front(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], real: str, config: dict[str, str]) -> None:
        self.real = real
        self.generator = config["generator"]
        self.key = config["key"]
        self.version = config.get("version")
        self.load_error = config.get("load_error")
        self.loaded: dict[str, dict[str, Any]] = {}
        self.released = threading.Event()
        super().__init__(address, _Exchange)

    def installed(self) -> dict[str, dict[str, Any]]:
        connection = http.client.HTTPConnection(self.real, timeout=5)
        try:
            connection.request("GET", "/api/tags")
            return {one["name"]: one for one in json.loads(connection.getresponse().read())["models"]}
        finally:
            connection.close()


class _Exchange(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = f"{self.command} {urlsplit(self.path).path}"
        own = {
            "GET /api/ps": self._list_loaded,
            "POST /api/generate": self._load,
            "POST /v1/chat/completions": self._generate,
            "GET /stream": self._stream,
            "GET /release": self._release,
            **({"GET /api/version": self._tell_version} if self.server.version else {}),
        }.get(asked)
        if own:
            own(body)
        else:
            self._pass_on(self.server.real, self.path, body, {})

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = _serve

    def _tell_version(self, _body: bytes) -> None:
        self._answer(200, {"version": self.server.version})

    def _stream(self, _body: bytes) -> None:
        self.server.released.clear()
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        number = 0
        while not self.server.released.wait(0.05):
            self.wfile.write(f"data: {number} {time.time()}\n\n".encode())
            number += 1
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _release(self, _body: bytes) -> None:
        self.server.released.set()
        self._answer(200, {})

    def _list_loaded(self, _body: bytes) -> None:
        self._answer(200, {"models": list(self.server.loaded.values())})

    def _load(self, body: bytes) -> None:
        desired = json.loads(body)
        model = self.server.installed().get(desired["model"])
        if desired.get("prompt"):
            self._answer(501, {"error": "ollama_front.py answers prompts on /v1/chat/completions only"})
        elif model is None:
            self._answer(404, {"error": f"model '{desired['model']}' not found"})
        elif desired.get("keep_alive") == 0:
            self.server.loaded.pop(model["name"], None)
            self._answer(200, {"model": desired["model"], "response": "", "done": True, "done_reason": "unload"})
        elif self.server.load_error:
            self._answer(500, {"error": self.server.load_error})
        else:
            length = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096)
            more = {"size_vram": model["size"], "context_length": length, "expires_at": "2100-01-01T00:00:00Z"}
            self.server.loaded[model["name"]] = {**model, **more}
            self._answer(200, {"model": desired["model"], "response": "", "done": True, "done_reason": "load"})

    def _generate(self, body: bytes) -> None:
        name = json.loads(body).get("model")
        if name not in self.server.installed():
            message = f'model "{name}" not found, try pulling it first'
            self._answer(404, {"error": {"message": message, "type": "api_error", "param": None, "code": None}})
            return
        where = urlsplit(self.server.generator)
        key = {"Authorization": f"Bearer {self.server.key}"}
        self._pass_on(where.netloc, where.path.rstrip("/") + "/chat/completions", body, key)

    def _pass_on(self, to: str, path: str, body: bytes, more: dict[str, str]) -> None:
        connection = http.client.HTTPConnection(to, timeout=600)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            connection.request(self.command, path, body, {**headers, **more})
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while self.command != "HEAD" and (piece := answer.read1(65_536)):
                self.wfile.write(piece)
                self.wfile.flush()
        except ConnectionError:
            self.close_connection = (
                True  # Whoever asked has hung up, or the real one has gone: both show as a cut connection.
            )
        finally:
            connection.close()
            self.close_connection = True

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _listen_address() -> tuple[str, int]:
    """Return where OLLAMA_HOST wants it, as Ollama reads it."""
    found = re.fullmatch(r"(?:https?://)?(?P<host>[^:/]*)(?::(?P<port>\d+))?/?", os.environ.get("OLLAMA_HOST", ""))
    if not found:
        raise SystemExit(f"ollama_front.py cannot read OLLAMA_HOST={os.environ['OLLAMA_HOST']!r}")
    return found["host"] or "127.0.0.1", int(found["port"] or 11434)


def _start_real(program: str, environment: dict[str, str]) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    real = subprocess.Popen([program, "serve"], env={**environment, "OLLAMA_HOST": where})

    def stop(*_signal: object) -> None:
        real.terminate()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    # Where the real one dies, this does too, so that the service sees it.
    threading.Thread(target=lambda: os._exit(real.wait() or 1), daemon=True).start()
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(where, timeout=1)
        try:
            connection.request("GET", "/api/version")
            if connection.getresponse().status == 200:
                return where
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit("the real Ollama did not start")


def write_archive(path: Path, program: Path, generator: str, key: str) -> None:
    """Pack this program as a release (.tgz) for hosts that have the real one's environment in /opt/ollama-test.

    program: the real one, relative to its environment. generator, key: base URL of a llama.cpp server, as the host reaches it.
    """
    home = Path("/opt/ollama-test")
    config = {"real": str(home / program), "libraries": str(home / "lib"), "generator": generator, "key": key}
    files = [
        ("bin/ollama", 0o755, b"#!/usr/bin/python3\n" + Path(__file__).read_bytes()),
        ("lib/ollama/front.json", 0o644, json.dumps(config).encode()),
    ]
    with tarfile.open(path, "w:gz") as archive:
        for name, mode, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))


def main() -> None:
    config = json.loads(_CONFIG.read_text(encoding="utf-8"))
    environment = {**os.environ, "LD_LIBRARY_PATH": config["libraries"]}
    if sys.argv[1:] == ["--version"] and "version" in config:
        print(f"Warning: client version is {config['version']}")
        return
    if sys.argv[1:] != ["serve"]:
        os.execve(config["real"], ["ollama", *sys.argv[1:]], environment)
    address = _listen_address()
    real = _start_real(config["real"], environment)
    with Front(address, real, config) as front:
        front.serve_forever()


if __name__ == "__main__":
    main()
