# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The native API of an Ollama daemon: one question with a limit, a stream of progress, and which models it has."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import socket
from typing import Any, NamedTuple

from ..clock import Deadline
from ..failure import Failure, quote
from ..untrusted import count_of, list_of, object_of, parse_json
from .names import is_same

# Seconds to connect, and for a question that needs no model: upstream-facts N5 and N16.
CONNECT_LIMIT = 3.0
QUESTION_LIMIT = 5.0
# /api/show carries the model's licences and template: tens of kB. /api/tags has 400 bytes a model.
BODY_LIMIT = 8 * 1024 * 1024


class Address(NamedTuple):
    """Where a daemon is asked: a name or an IP address without brackets, and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether it is this host, so that our socket tables show who listens there."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        content: The JSON value of the body, None where it is no JSON.
        error: What the daemon says went wrong, on one line; empty where it says nothing.
        server: The C(Server) header, with which Ollama does not name itself.

    """

    status: int
    content: Any
    error: str
    server: str


class Daemon:
    """One daemon. C(http.client) knows no web proxies, so HTTP_PROXY cannot catch what is meant for it (upstream 2616)."""

    def __init__(self, address: Address, limit: float = QUESTION_LIMIT) -> None:
        self.address = address
        self.limit = limit

    def __str__(self) -> str:
        return f"http://{self.address}"

    @property
    def log(self) -> str:
        """Where its log is, for a sentence: another address than loopback is Windows' or another machine's."""
        if self.address.is_loopback:
            return "journalctl -u ollama"
        return "where it runs: on Windows server.log in %LOCALAPPDATA%\\Ollama"

    def ask(self, method: str, path: str, body: Any = None, limit: float | None = None) -> Answer:
        """Send one request and return the whole answer, whatever its status.

        Raises:
            Failure: C(ollama_not_running), C(ollama_unreachable), C(ollama_timeout), C(ollama_lost), C(not_ollama).

        """
        limit = limit or self.limit
        deadline = Deadline(limit)
        connection = self.connect(limit)
        try:
            response = self.send(connection, method, path, body)
            content = bytearray()
            while chunk := response.read1(65_536):
                content += chunk
                if len(content) > BODY_LIMIT:
                    raise self._stranger(f"{path} sent more than {BODY_LIMIT // 1024 // 1024} MiB")
                if not deadline.remaining:
                    raise socket.timeout
            if len(content) < (count_of(response.headers.get("Content-Length")) or 0):
                raise http.client.IncompleteRead(bytes(content))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.failure(error, f"{method} {path}", limit) from error
        finally:
            connection.close()
        try:
            value = parse_json(bytes(content))
        except ValueError:
            value = None
        return Answer(response.status, value, _error_of(value), quote(response.headers.get("Server", ""), "", 60))

    def connect(self, limit: float) -> http.client.HTTPConnection:
        """Return a connection whose reads may take that long.

        Raises:
            Failure: C(ollama_not_running), C(ollama_unreachable).

        """
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=min(CONNECT_LIMIT, max(limit, 0.05))
        )
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise self.failure(error, None, limit) from error
        connection.sock.settimeout(max(limit, 0.05))
        return connection

    @staticmethod
    def send(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> http.client.HTTPResponse:
        """Ask over a connection, and return the answer as it begins."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def failure(self, error: Exception, request: str | None, limit: float) -> Failure:
        """Return what an error of the connection means; C(request) is None where there was none yet."""
        if isinstance(error, ConnectionRefusedError):
            return Failure(
                "ollama_not_running",
                f"Nothing listens on {self}: the connection was refused. Start Ollama there"
                f"{' (systemctl start ollama)' if self.address.is_loopback else ''}, or correct the address.",
            )
        if request is None:
            return Failure(
                "ollama_unreachable",
                f"No connection to {self} ({error}). Check the address and the network between.",
            )
        if isinstance(error, socket.timeout):
            return Failure(
                "ollama_timeout",
                f"Ollama at {self} did not answer {request} within {limit:g} s. Check its log ({self.log}) and the host's load.",
            )
        if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError)):
            return Failure(
                "ollama_lost",
                f"Ollama at {self} closed the connection in the middle of {request}: it exited or was restarted. Check its log "
                f"({self.log}).",
            )
        return self._stranger(f"its answer to {request} is not HTTP with JSON in it ({quote(str(error), '', 80)})")

    def _stranger(self, why: str) -> Failure:
        return Failure(
            "not_ollama",
            f"The listener on {self} is not Ollama: {why}. Another server holds the port: stop it, or choose another port for Ollama "
            f"(ollama_port, option host).",
        )


def _error_of(value: Any) -> str:
    error = object_of(value).get("error")
    return quote(error, "", 400) if isinstance(error, str) else ""


# The path of a blob, with a dash or a colon after the algorithm by version. Adapters have lines of their own.
_FROM = re.compile(r"^FROM .*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)


def identify(daemon: Daemon) -> tuple[str, list[dict[str, Any]]]:
    """Return the version of a daemon and its models, each C({name, size, digest, parameter_size, quantization}).

    A reachable port proves nothing: it is Ollama when C(/api/version) names a version and C(/api/tags) has an array
    C(models), be it empty (upstream 4275).

    Raises:
        Failure: C(not_ollama) with what answers instead, or a code of Daemon.ask().

    """
    version, tags = daemon.ask("GET", "/api/version"), daemon.ask("GET", "/api/tags")
    name, models = object_of(version.content).get("version"), object_of(tags.content).get("models")
    if version.status == tags.status == 200 and isinstance(name, str) and isinstance(models, list):
        return name, [_model(one) for one in map(object_of, models) if isinstance(one.get("name"), str)]
    seen = f"GET /api/tags gave HTTP {tags.status} " + (
        "with JSON that has no array 'models'" if tags.content is not None else "without JSON"
    )
    called = f" and calls itself {tags.server!r}" if tags.server else ""
    raise Failure(
        "not_ollama",
        f"The listener on {daemon} is not Ollama: {seen}{called}. Another server holds the port: stop it, or choose another port for "
        f"Ollama.",
        status=tags.status,
        server=tags.server or None,
    )


def loaded_models(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what is in memory: C({name, digest, size, size_vram, context_length, expires_at}), unknown values None.

    Old daemons name no context length (0.9.3 has none).

    Raises:
        Failure: A code of Daemon.ask().

    """
    content = daemon.ask("GET", "/api/ps").content
    return [
        {
            "name": one["name"],
            "digest": one.get("digest"),
            "size": _count(one.get("size")),
            "size_vram": _count(one.get("size_vram")),
            "context_length": _count(one.get("context_length")) or None,
            "expires_at": one.get("expires_at"),
        }
        for one in map(object_of, list_of(object_of(content).get("models")))
        if isinstance(one.get("name"), str)
    ]


def capabilities(daemon: Daemon, model: str) -> list[str] | None:
    """Return what a model can do (C(completion), C(tools), C(vision)...), None where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    found = object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("capabilities")
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else None


def model_details(daemon: Daemon, model: str) -> dict[str, Any]:
    """Return C(model_info), the metadata of a model's file; empty where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    return object_of(object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("model_info"))


def find_loaded(daemon: Daemon, model: str, digest: str | None) -> dict[str, Any] | None:
    """Return the entry of loaded_models() that serves a model, None where none does.

    Models that share their weights share a runner, and C(/api/ps) shows it by the name and the digest that it was loaded under: what
    C(ollama cp) made has the same digest, what C(FROM) made with another C(SYSTEM) the same file of weights.

    Raises:
        Failure: A code of Daemon.ask().

    """
    loaded = loaded_models(daemon)
    for entry in loaded:
        if is_same(entry["name"], model):
            return entry
    for entry in loaded:
        if digest is not None and entry["digest"] == digest:
            return entry
    weights = weights_of(daemon, model) if loaded else None
    return next((one for one in loaded if weights and weights_of(daemon, one["name"]) == weights), None)


def weights_of(daemon: Daemon, model: str) -> str | None:
    """Return the digest of a model's weights, from the C(FROM) of its Modelfile; None where the daemon does not tell.

    Raises:
        Failure: A code of Daemon.ask().

    """
    text = object_of(daemon.ask("POST", "/api/show", {"model": model}).content).get("modelfile")
    found = _FROM.search(text) if isinstance(text, str) else None
    return found[1] if found else None


def _model(tag: dict[str, Any]) -> dict[str, Any]:
    details = object_of(tag.get("details"))
    return {
        "name": tag["name"],
        "size": _count(tag.get("size")),
        "digest": tag.get("digest"),
        "parameter_size": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
    }


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
