# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
What stands in a sandbox between the agent and its model: a stand-in for OpenShell's supervisor, for openshell_gateway.py.

Commands really run, as /bin/bash -lc with the environment that the real one gives (openshell-sandbox, ssh.rs and child_env.rs):
its web proxy, which alone knows inference.local, and its certificates. That proxy takes TLS apart, allows the paths of inference
APIs, drops the caller's key, puts in the provider's, overwrites the model, and passes the request on (proxy.rs, router/backend.rs).
It knows the route that it read last, every 5 seconds.

Not there: everything that confines the agent. A command runs as a process of this machine, so its programs are this machine's, and
host.openshell.internal means 127.0.0.1. Answers come in one piece.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shlex
import ssl
import subprocess
import tempfile
import threading
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

HOST = "inference.local"
# What a request may be (openshell-sandbox, l7/inference.rs, default_patterns): the protocol that a path stands for.
_PATTERNS = {
    ("POST", "/v1/chat/completions"): "openai",
    ("POST", "/v1/completions"): "openai",
    ("POST", "/v1/responses"): "openai",
    ("POST", "/v1/messages"): "anthropic",
    ("GET", "/v1/models"): "any",
}
_PASSED_ON = ("content-type", "accept", "user-agent", "anthropic-version")
DEFAULT_TIMEOUT = 60.0  # seconds, of a route without one


@dataclass(frozen=True)
class Route:
    """A route with what its provider has."""

    type: str
    base_url: str
    key: str
    model: str
    timeout: float


class Supervisor:
    """
    One for all sandboxes of a gateway, since they follow one route.

    read_route: what the gateway leads to now. refresh: seconds between two looks.
    """

    def __init__(self, read_route: Callable[[], Route | None], refresh: float) -> None:
        self.route: Route | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="openshell-supervisor-")
        self._certificate = Path(self._folder.name, "cert.pem")
        key = Path(self._folder.name, "key.pem")
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={HOST}",
        ]
        words += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out", str(self._certificate)]
        subprocess.run(words, check=True, capture_output=True)
        # Images whose login shell says something are common.
        Path(self._folder.name, ".bash_profile").write_text("echo 'mesg: ttyname failed' >&2\n", encoding="utf-8")
        self._shell = Path(self._folder.name, "bin", "sh")
        self._shell.parent.mkdir()
        self._shell.symlink_to("/bin/sh")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self._certificate, key)
        self._server = _Proxy(("127.0.0.1", 0), _Tunnel)
        self._server.supervisor = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        threading.Thread(target=self._follow, args=(read_route, refresh), daemon=True).start()

    def _follow(self, read_route: Callable[[], Route | None], refresh: float) -> None:
        while True:
            self.route = read_route()
            threading.Event().wait(refresh)

    def run(
        self, command: list[str], stdin: bytes, environment: dict[str, str], limit: float | None, has_programs: bool
    ) -> tuple[bytes, bytes, int]:
        """Return what a command wrote, and its exit status: 124 past the limit. Without programs it finds sh alone."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        own = {"HOME": self._folder.name, "PATH": os.environ["PATH"] if has_programs else str(self._shell.parent)}
        for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            own[name] = proxy
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            own[name] = str(self._certificate)
        # A login shell of this machine would put its own PATH back.
        shell = ["/bin/bash", "-lc" if has_programs else "-c"]
        try:
            ended = subprocess.run(
                [*shell, shlex.join(command)],
                input=stdin,
                capture_output=True,
                env={**own, **environment},
                cwd=self._folder.name,
                timeout=limit or None,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return error.stdout or b"", error.stderr or b"", 124
        return ended.stdout, ended.stderr, ended.returncode


class _Proxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    supervisor: Supervisor


class _Tunnel(http.server.BaseHTTPRequestHandler):
    """The web proxy: inference.local is taken apart, everything else is against the policy."""

    server: _Proxy

    def do_CONNECT(self) -> None:
        if self.path != f"{HOST}:443":
            self.send_error(403, "Forbidden")
            return
        self.send_response(200, "Connection Established")
        self.end_headers()
        with self.server.supervisor.tls.wrap_socket(self.connection, server_side=True) as inside:
            _Inference(inside, self.client_address, self.server)
        self.close_connection = True

    def log_message(self, *_words: Any) -> None:
        return


class _Inference(http.server.BaseHTTPRequestHandler):
    """The requests in a tunnel to inference.local."""

    server: _Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_GET

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        protocol = _PATTERNS.get((self.command, self.path))
        route = self.server.supervisor.route
        if protocol is None:
            self._say(403, "connection not allowed by policy")
        elif route is None:
            self._say(503, "cluster inference is not configured")
        elif protocol not in ("any", "anthropic" if route.type == "anthropic" else "openai"):
            self._say(400, "no compatible inference route available")
        else:
            self._pass_on(route, body)

    def _pass_on(self, route: Route, body: bytes) -> None:
        url = urllib.parse.urlsplit(route.base_url.rstrip("/"))
        path = self.path[3:] if url.path.endswith("/v1") else self.path
        host = "127.0.0.1" if url.hostname in ("host.openshell.internal", "host.docker.internal") else str(url.hostname)
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        if route.type == "anthropic":
            headers = {"anthropic-version": "2023-06-01", **headers, "x-api-key": route.key}
        else:
            headers["Authorization"] = f"Bearer {route.key}"
        if body:
            body = json.dumps({**json.loads(body), "model": route.model}).encode()
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, url.port, timeout=route.timeout or DEFAULT_TIMEOUT)
        try:
            connection.connect()
        except OSError:
            self._say(503, "inference service unavailable")
            return
        try:
            connection.request(self.command, url.path + path, body or None, headers)
            reply = connection.getresponse()
            self._send(reply.status, reply.getheader("Content-Type") or "text/plain", reply.read())
        except TimeoutError:
            self._say(503, "inference service unavailable")
        except (OSError, http.client.HTTPException):
            self._say(502, "inference service error")
        finally:
            connection.close()

    def _say(self, status: int, words: str) -> None:
        self._send(status, "application/json", json.dumps({"error": words}).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        return
