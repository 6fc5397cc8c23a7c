# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
What `hf download` needs of huggingface.co, on this machine: a double, since the real one is a service.

    with serving({"lab/scripted": [Path("model.gguf")], "lab/gated": [...]}, gated={"lab/gated": "hf_token"}, address="172.17.0.1") as hub:
        ...  # HF_ENDPOINT=hub.url

    python model_hub.py --repo lab/scripted=model.gguf --address 172.17.0.1 --port 9000

The client is the real one, so downloads, resumption and the words of its errors are real. It answers 501 to what it does not know.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Where it is, what it was asked for (C(tokens) that came with a request, C(paths)), and how it gives files away.

    C(rate) are bytes a second. Of a repository in C(silent) only half of each file comes; the connection stays open.
    """

    url: str
    tokens: set[str] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)
    rate: float | None = None
    silent: set[str] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    repos: Mapping[str, Mapping[str, bytes]]
    gated: Mapping[str, str]
    hub: Hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.hub.paths.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token:
            self.server.hub.tokens.add(token)
        words = path.split("/")
        if words[:2] == ["api", "models"]:
            self._describe("/".join(words[2:4]), words[4:], token)
        elif len(words) > 4 and words[2] == "resolve":
            self._file("/".join(words[:2]), "/".join(words[4:]), token, body)
        else:
            self._json({"error": "this double does not know that"}, 501)

    def _allowed(self, repo: str, token: str) -> bool:
        if repo not in self.server.repos:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif repo in self.server.gated and token != self.server.gated[repo]:
            self._json({"error": f"Access to model {repo} is restricted."}, 401, {"X-Error-Code": "GatedRepo"})
        else:
            return True
        return False

    def _describe(self, repo: str, rest: list[str], token: str) -> None:
        # The hub describes a gated model to everybody; it is its files that it keeps.
        if repo not in self.server.repos:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        files = self.server.repos[repo]
        if rest[:1] == ["tree"]:
            self._json(
                [
                    {"type": "file", "path": name, "size": len(text), "oid": _sha(text)[:40]}
                    for name, text in files.items()
                ]
            )
        elif not rest or rest[0] == "revision":
            siblings = [{"rfilename": name, "size": len(text)} for name, text in files.items()]
            self._json(
                {
                    "id": repo,
                    "modelId": repo,
                    "sha": _commit(files),
                    "siblings": siblings,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                }
            )
        elif rest == ["auth-check"]:
            if self._allowed(repo, token):
                self._json({})
        else:
            self._json({"error": "this double does not know that"}, 501)

    def _file(self, repo: str, name: str, token: str, body: bool) -> None:
        if not self._allowed(repo, token):
            return
        files = self.server.repos[repo]
        if name not in files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content = files[name]
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", _commit(files))
        self.send_header("ETag", f'"{_sha(content)}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        hub = self.server.hub
        while body and start < len(content):
            if repo in hub.silent and start >= len(content) // 2:
                self.wfile.flush()
                hub.closing.wait()
                return
            self.wfile.write(content[start : start + 65_536])
            start += 65_536
            if hub.rate:
                time.sleep(65_536 / hub.rate)

    def _json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(
    repos: Mapping[str, list[Path]], gated: Mapping[str, str] | None = None, address: str = "127.0.0.1", port: int = 0
) -> Iterator[Hub]:
    """Serve repositories until the block ends. C(gated): the token that opens a repository."""
    with _Server((address, port), _Handler) as server:
        server.repos = {name: _content(files) for name, files in repos.items()}
        server.gated = gated or {}
        server.hub = Hub(f"http://{address}:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.hub
        finally:
            server.hub.closing.set()
            server.shutdown()


def _content(files: list[Path]) -> dict[str, bytes]:
    return {"config.json": b'{"model_type": "llama"}', **{path.name: path.read_bytes() for path in files}}


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _commit(files: Mapping[str, bytes]) -> str:
    return _sha(b"".join(_sha(text).encode() for text in files.values()))[:40]


def main() -> None:
    parser = argparse.ArgumentParser(description="What `hf download` needs of huggingface.co.")
    parser.add_argument("--repo", action="append", required=True, metavar="ORG/NAME=FILE")
    parser.add_argument("--gated", action="append", default=[], metavar="ORG/NAME=TOKEN")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    repos = {name: [Path(file)] for name, file in (one.split("=", 1) for one in options.repo)}
    with serving(repos, dict(one.split("=", 1) for one in options.gated), options.address, options.port) as hub:
        print(hub.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
