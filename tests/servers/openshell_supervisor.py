# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
What stands in a sandbox between the agent and its model: a stand-in for OpenShell's supervisor, for the stand-in gateways.

Commands really run, as /bin/bash -lc with the environment that the real one gives (openshell-sandbox, ssh.rs and child_env.rs):
its web proxy, which alone knows inference.local, and its certificates. That proxy takes TLS apart, allows the paths of inference
APIs, drops the caller's key, puts in the provider's, overwrites the model, and passes the request on (proxy.rs, router/backend.rs).
It knows the route that it read last, every 5 seconds. A route whose provider is gone cannot be read: a supervisor that has one keeps
it, and one that starts then has inference switched off for as long as it runs.

Not there: everything that confines the agent. A command runs as a process of this machine, so its programs are this machine's, and
host.openshell.internal means 127.0.0.1. Answers come in one piece.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
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
# What a request may be (l7/inference.rs, default_patterns): method and path, the protocol that they stand for, and whether the route's
# timeout bounds the answer. It bounds those that are read whole; a chat is bounded by the pause between two pieces alone.
_PATTERNS = (
    ("POST", r"/v1/chat/completions", "openai", False),
    ("POST", r"/v1/completions", "openai", False),
    ("POST", r"/v1/responses", "openai", False),
    ("POST", r"/v1/embeddings", "openai", True),
    ("POST", r"/v1/messages", "anthropic", False),
    ("GET", r"/v1/models(/[^/]+)?", "any", True),
)
_PASSED_ON = ("content-type", "accept", "user-agent", "anthropic-version")
DEFAULT_TIMEOUT = 60.0  # seconds, of a route without one
_PAUSE = 120.0  # seconds between two pieces of a chat
_NOT_CONFIGURED = {
    "error": "cluster inference is not configured",
    "hint": "run: openshell cluster inference set --help",
}
_BROKEN_OFF = b'data: {"error":{"message":"response truncated: upstream read error","type":"proxy_stream_error"}}\n\n'


class RouteDanglingError(Exception):
    """The gateway has a route, and nothing of that name any more that it leads through."""


@dataclass(frozen=True)
class Route:
    """A route with what its provider has."""

    type: str
    base_url: str
    key: str
    model: str
    timeout: float


class Machinery:
    """What the supervisors of a gateway share: certificates, a home, and a shell for images that have nothing else."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="openshell-supervisor-")
        self.home = self._folder.name
        self.certificate = Path(self.home, "cert.pem")
        key = Path(self.home, "key.pem")
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
        words += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(words, check=True, capture_output=True)
        # Images whose login shell says something are common.
        Path(self.home, ".bash_profile").write_text("echo 'mesg: ttyname failed' >&2\n", encoding="utf-8")
        self.bare_path = Path(self.home, "bin")
        self.bare_path.mkdir()
        (self.bare_path / "sh").symlink_to("/bin/sh")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate, key)

    def run(
        self,
        proxy: str,
        command: list[str],
        stdin: bytes,
        environment: dict[str, str],
        limit: float | None,
        has_programs: bool,
    ) -> tuple[bytes, bytes, int]:
        """Return what a command wrote, and its exit status: 124 past the limit. Without programs it finds sh alone."""
        own = {"HOME": self.home, "OPENSHELL_SANDBOX": "1", "TERM": "dumb"}
        own["PATH"] = os.environ["PATH"] if has_programs else str(self.bare_path)
        for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            own[name] = proxy
        for name in ("NO_PROXY", "no_proxy"):
            own[name] = "127.0.0.1,localhost,::1"
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            own[name] = str(self.certificate)
        # A login shell of this machine would put its own PATH back.
        shell = ["/bin/bash", "-lc" if has_programs else "-c"]
        try:
            ended = subprocess.run(
                [*shell, shlex.join(command)],
                input=stdin,
                capture_output=True,
                env={**own, **environment},
                cwd=self.home,
                timeout=limit or None,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return error.stdout or b"", error.stderr or b"", 124
        return ended.stdout, ended.stderr, ended.returncode


class Supervisor:
    """
    That of one sandbox, from its start to its end.

    read_route: what the gateway leads to now, RouteDanglingError where it cannot tell. refresh: seconds between two looks.
    """

    def __init__(self, machinery: Machinery, read_route: Callable[[], Route | None], refresh: float) -> None:
        self.machinery = machinery
        self.route: Route | None = None
        self.routing = True
        self._ended = threading.Event()
        try:
            self.route = read_route()
        except RouteDanglingError:
            self.routing = False
        self._server = _Proxy(("127.0.0.1", 0), _Tunnel)
        self._server.supervisor = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        threading.Thread(target=self._follow, args=(read_route, refresh), daemon=True).start()

    def _follow(self, read_route: Callable[[], Route | None], refresh: float) -> None:
        while self.routing and not self._ended.wait(refresh):
            try:
                self.route = read_route()
            except RouteDanglingError:
                continue

    def end(self) -> None:
        """End with its sandbox."""
        self._ended.set()
        threading.Thread(target=self._server.shutdown, daemon=True).start()

    def run(
        self, command: list[str], stdin: bytes, environment: dict[str, str], limit: float | None, has_programs: bool
    ) -> tuple[bytes, bytes, int]:
        """Return what a command in the sandbox wrote, and its exit status."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self.machinery.run(proxy, command, stdin, environment, limit, has_programs)


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
        self.close_connection = True
        supervisor = self.server.supervisor
        if not supervisor.routing:
            # Nobody takes TLS apart then: curl ends with 35.
            return
        with supervisor.machinery.tls.wrap_socket(self.connection, server_side=True) as inside:
            _Inference(inside, self.client_address, self.server)

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        detail = f"{self.command} {url.hostname}:{url.port or 80}{url.path} not permitted by policy"
        body = json.dumps({"detail": detail, "error": "policy_denied"}, separators=(",", ":")).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

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
        known = (one for one in _PATTERNS if one[0] == self.command and re.fullmatch(one[1], self.path))
        _method, _path, protocol, whole = next(known, ("", "", "", False))
        route = self.server.supervisor.route
        if not protocol:
            self._say(403, {"error": "connection not allowed by policy"})
        elif route is None:
            self._say(503, _NOT_CONFIGURED)
        elif protocol not in ("any", "anthropic" if route.type == "anthropic" else "openai"):
            self._say(400, {"error": "no compatible inference route available"})
        else:
            self._pass_on(route, body, route.timeout if whole else _PAUSE)

    def _pass_on(self, route: Route, body: bytes, limit: float) -> None:
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
        connection = kind(host, url.port, timeout=limit)
        try:
            connection.connect()
        except OSError:
            self._say(503, {"error": "inference service unavailable"})
            return
        try:
            connection.request(self.command, url.path + path, body or None, headers)
            reply = connection.getresponse()
            kind_of_body = reply.getheader("Content-Type") or "text/plain"
            try:
                content = reply.read()
            except http.client.IncompleteRead as error:
                content = error.partial + _BROKEN_OFF
            self._send(reply.status, kind_of_body, content)
        except TimeoutError:
            self._say(503, {"error": "inference service unavailable"})
        except (OSError, http.client.HTTPException):
            self._say(502, {"error": "inference service error"})
        finally:
            connection.close()

    def _say(self, status: int, words: dict[str, str]) -> None:
        self._send(status, "application/json", json.dumps(words, separators=(",", ":")).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        return
