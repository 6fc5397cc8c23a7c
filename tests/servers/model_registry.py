# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A real registry (Debian's docker-registry) with Ollama models in it, on 127.0.0.1.

    with serving() as registry:
        name = registry.push("lab/tools", "1b", tools=True, padding=50_000_000)  # localhost:PORT/lab/tools:1b
        registry.content.rate, registry.content.silent_after = 5_000_000, 25_000_000  # slow, and then a pulled plug

The models are real to Ollama: a GGUF header with any amount of noise behind it for weight, and a template. They cannot be run, and the
Ollama of ollama_server.py runs none. Ollama takes blobs only from where a registry redirects it to on another host name (its own
registry keeps them in a content network), so ours redirects to a file server on the registry's store, ContentServer.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import http.client
import json
import os
import re
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ollama_server import free_port

PROGRAM = "docker-registry"
_START_LIMIT = 15.0  # seconds
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LAYER = "application/vnd.ollama.image."
# Ollama says a model can use tools when its template uses .Tools (server/images.go, Capabilities).
_PLAIN = "{{ .System }} {{ .Prompt }}"
_WITH_TOOLS = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ .System }} {{ .Prompt }}"


class ContentServer(ThreadingHTTPServer):
    """
    Serves the blobs of a store by range. `rate`: bytes a second. After `silent_after` bytes connections stay open and silent; after
    `cut_after` bytes one is closed, once.
    """

    daemon_threads = True

    def __init__(self, store: str) -> None:
        self.store = store
        self.rate: float | None = None
        self.silent_after: float | None = None
        self.cut_after: float | None = None
        self.sent = 0
        self.ranges: list[str] = []
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", 0), _Content)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients are expected to hang up on us.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Content(BaseHTTPRequestHandler):
    server: ContentServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        size = Path(self.server.store + urlsplit(self.path).path).stat().st_size
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self) -> None:
        content = Path(self.server.store + urlsplit(self.path).path).read_bytes()
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        start, end = (int(word) for word in asked.removeprefix("bytes=").split("-")) if asked else (0, len(content) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end + 1 - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.end_headers()
        while start <= end:
            if self.server.silent_after is not None and self.server.sent >= self.server.silent_after:
                self.server.stopping.wait()
            if self.server.cut_after is not None and self.server.sent >= self.server.cut_after:
                self.server.cut_after = None
                self.close_connection = True
                return
            piece = content[start : min(start + 65_536, end + 1)]
            self.wfile.write(piece)
            start += len(piece)
            self.server.sent += len(piece)
            if self.server.rate:
                self.server.stopping.wait(len(piece) / self.server.rate)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Limiter(ThreadingHTTPServer):
    """A registry's gate that has had enough: 429 to the paths that C(limited) fits, the way to the registry itself to all others."""

    daemon_threads = True

    def __init__(self, registry: int) -> None:
        self.registry = registry
        self.limited = re.compile(r"(?!)")
        # As Docker Hub answers; a gate before a registry answers with a page.
        self.body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your limit."}]})
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Limiter)


class _Limiter(BaseHTTPRequestHandler):
    server: Limiter
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        limited = self.server.limited.search(self.path)
        self.server.asked.append(f"{self.command} {self.path}")
        body = self.server.body.encode() if limited else b"{}"
        self.send_response(429 if limited else 200 if self.path == "/v2/" else 307)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Location", f"http://127.0.0.1:{self.server.registry}{self.path}")
        self.send_header("Content-Type", "application/json" if body.startswith(b"{") else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def limiting(registry: Registry) -> Iterator[Limiter]:
    """Have a gate before a registry until the block ends."""
    with Limiter(registry.port) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        yield gate
        gate.shutdown()


@dataclass(frozen=True)
class Registry:
    port: int
    content: ContentServer

    def push(self, path: str, tag: str, tools: bool = True, padding: int = 0, architecture: str = "amd64") -> str:
        """Put a model there and return the name that Ollama pulls it by. To Docker it is an image for that architecture."""
        parts = [
            (_LAYER + "model", _gguf() + os.urandom(padding)),
            (_LAYER + "template", (_WITH_TOOLS if tools else _PLAIN).encode()),
        ]
        config = json.dumps(
            {
                "model_format": "gguf",
                "model_family": "llama",
                "model_families": ["llama"],
                "model_type": "1B",
                "file_type": "F32",
                "architecture": architecture,
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(path, "application/vnd.docker.container.image.v1+json", config),
            "layers": [self._blob(path, kind, content) for kind, content in parts],
        }
        self._ask("PUT", f"/v2/{path}/manifests/{tag}", json.dumps(manifest).encode(), _MANIFEST)
        return f"localhost:{self.port}/{path}:{tag}"

    def _blob(self, path: str, kind: str, content: bytes) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        where = urlsplit(self._ask("POST", f"/v2/{path}/blobs/uploads/"))
        self._ask("PUT", f"{where.path}?{where.query}&digest={digest}", content, "application/octet-stream")
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def _ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"the registry answered {method} {path} with {answer.status}: {said[:500]!r}")
            return answer.headers.get("Location", "")
        finally:
            connection.close()


def _gguf() -> bytes:
    """Return a GGUF file without tensors: the header and what Ollama reads to describe a model."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    words = {"general.architecture": "llama", "general.name": "scripted"}
    numbers = {
        "general.file_type": 0,
        "llama.context_length": 32768,
        "llama.embedding_length": 64,
        "llama.block_count": 1,
    }
    pairs = [text(key) + struct.pack("<I", 8) + text(value) for key, value in words.items()]
    pairs += [text(key) + struct.pack("<II", 4, value) for key, value in numbers.items()]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


def htpasswd_line(user: str, password: str) -> str:
    """Return a line of an htpasswd file; bcrypt by the C library, since docker-registry takes no other and Python has none."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = secrets.token_hex(11).encode()
    hashed: bytes | None = library.crypt(password.encode(), b"$2b$05$" + salt)
    if not hashed or not hashed.startswith(b"$2b$"):
        raise RuntimeError("libcrypt of this machine has no bcrypt")
    return f"{user}:{hashed.decode()}\n"


@contextlib.contextmanager
def serving(port: int = 0, htpasswd: str | None = None, redirects: bool = True) -> Iterator[Registry]:
    """
    Run a registry with an empty store until the block ends; with htpasswd (a file's text) it wants a password, and without redirects it
    serves the files itself.
    """
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="model-registry-") as scratch, ContentServer(f"{scratch}/store") as content:
        threading.Thread(target=content.serve_forever, daemon=True).start()
        content_url = f"http://127.0.0.1:{content.server_address[1]}/"
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": f"{scratch}/store"}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if redirects:
            config["middleware"] = {"storage": [{"name": "redirect", "options": {"baseurl": content_url}}]}
        if htpasswd:
            Path(scratch, "htpasswd").write_text(htpasswd, encoding="utf-8")
            config["auth"] = {"htpasswd": {"realm": "lab", "path": f"{scratch}/htpasswd"}}
        recipe, log = Path(scratch, "config.yml"), Path(scratch, "log")
        recipe.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        with log.open("wb") as sink:
            process = subprocess.Popen([PROGRAM, "serve", recipe], stdout=sink, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + _START_LIMIT
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the registry did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.02)
            yield Registry(port, content)
        finally:
            process.terminate()
            process.wait(timeout=10)
            content.stopping.set()
            content.shutdown()
