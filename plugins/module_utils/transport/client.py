# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""One HTTP exchange with limits that hold whatever the server does: a model server, its events, or a service of this host."""

from __future__ import annotations

import codecs
import http.client
import json
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..untrusted import count_of
from . import trouble, url
from .url import BaseUrl


@dataclass(frozen=True)
class Event:
    """One event: its type (C(message) when the stream names none) and its data."""

    type: str
    data: str


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a stream as they become complete.

    Chunks may be cut anywhere, inside a character too. Comments are dropped, several data lines are joined, and an
    event that the end of the stream cuts off is dropped, as the standard says: a truncated answer has no last event.
    """
    kind = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        field, _colon, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            data.append(value)
        elif field == "event":
            kind = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield complete lines, ended by CR LF, LF or CR, without their ends."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    begun: list[str] = []
    after_return = False
    for chunk in chunks:
        text = decoder.decode(chunk)
        if not text:
            continue
        # A CR has ended its line already; the LF that makes it a CR LF may come with the next chunk.
        rest = text[1:] if after_return and text.startswith("\n") else text
        after_return = text.endswith("\r")
        *ended, rest = rest.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if ended:
            yield "".join([*begun, ended[0]])
            yield from ended[1:]
            begun = []
        begun.append(rest)


# The largest answer that we ask for is an engine's /info, about 5 kB.
MAX_ANSWER_BYTES = 1_048_576


class NotAnswering(Exception):
    """The service is there but gave no usable answer; the text says what came back, C(status) holds the HTTP status, if any."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what)
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket; raises OSError as a TCP connection would."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get_json(connection: http.client.HTTPConnection, path: str, limit_s: float) -> dict[str, Any]:
    """Return the JSON object that a GET answers with status 200, and close the connection.

    C(http.client) knows no proxies, so HTTP_PROXY cannot catch what is meant for this host (upstream 2616).

    Args:
        connection: Not yet connected; its own timeout bounds every single read.
        path: Path of the URL.
        limit_s: Seconds for the whole answer.

    Raises:
        OSError: The socket could not be opened, was closed or timed out.
        NotAnswering: Anything but a JSON object with status 200 of at most MAX_ANSWER_BYTES in time.

    """
    deadline = time.monotonic() + limit_s
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = bytearray()
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise NotAnswering(f"it sent more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise NotAnswering(f"it was still sending after {limit_s:g} s")
        if response.status != http.client.OK:
            raise NotAnswering(f"it answered GET {path} with HTTP status {response.status}", response.status)
        document = json.loads(body)
    except http.client.HTTPException as error:
        raise NotAnswering(f"it does not speak HTTP ({type(error).__name__})") from error
    except ValueError as error:
        raise NotAnswering(f"its answer to GET {path} is not JSON") from error
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise NotAnswering(f"its answer to GET {path} is not a JSON object")
    return document


# Seconds for the TCP connection and for TLS on it, as NemoClaw's probes (upstream-facts N24; curl's --connect-timeout is for both).
CONNECT_LIMIT = 10.0

# Bytes. The largest answer a probe can need is a models list; a router that lists thousands stays below 2 MiB.
BODY_LIMIT = 8 * 1024 * 1024

# For zlib: the header tells which of the two it is.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

USER_AGENT = "nemoclaw.local_inference"


class Client:
    """Talks to one server.

    Args:
        base: The server's base URL.
        headers: Sent with each request; the key is in here.
        key: The key once more, to take it out of what the server says.
        deadline: No exchange lasts beyond it.
        ca_path: File with the certificates to trust instead of the system's.
        validate_certs: Whether a certificate has to be right.

    """

    def __init__(
        self,
        base: BaseUrl,
        headers: dict[str, str],
        key: str,
        deadline: Deadline,
        ca_path: str | None = None,
        validate_certs: bool = True,
    ) -> None:
        self.base = base
        self.key = key
        self.deadline = deadline
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        self._tls = (ca_path, validate_certs)
        self._opener: urllib.request.OpenerDirector | None = None
        self._pinned: list[str] = []

    def open(self, method: str, url: str, body: Any = None, limit: float | None = None) -> Reply:
        """Send one request and return the reply, its body still unread; use it as a context manager.

        Args:
            method: C(GET) or C(POST).
            url: The full URL.
            body: Sent as JSON.
            limit: Seconds for the whole exchange, the body's last byte included; never beyond the deadline.

        Raises:
            Failure: With one of the transport codes of C(trouble).

        """
        opener = self._prepare()
        exchange = _Exchange(self, url, min(limit or self.deadline.remaining, self.deadline.remaining))
        request = urllib.request.Request(url, method=method, headers=dict(self._headers))  # noqa: S310 - http(s) only
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        request.exchange = exchange  # type: ignore[attr-defined]
        try:
            return Reply(exchange, opener.open(request, timeout=exchange.limit))
        except (OSError, http.client.HTTPException) as error:
            raise exchange.failure(error) from error

    def with_headers(self, headers: dict[str, str]) -> Client:
        """Return a client for the same server that sends these headers instead."""
        return Client(self.base, headers, self.key, self.deadline, *self._tls)

    def _prepare(self) -> urllib.request.OpenerDirector:
        """Resolve and check the address, and decide on the web proxy, once for all exchanges."""
        if self._opener is None:
            proxies = {} if urllib.request.proxy_bypass(self.base.host) else urllib.request.getproxies()
            proxy = proxies.get(self.base.scheme)
            try:
                self._pinned = url.resolve(self.base, min(CONNECT_LIMIT, self.deadline.remaining))
            except Failure as failure:
                # Behind a proxy the host may have no outside names: then the proxy resolves.
                if failure.code != "dns_failed" or not proxy:
                    raise
            # NO_PROXY is forgotten on most lab machines, and no proxy reaches a local server (NemoClaw #2616, #4181).
            if self._pinned and url.is_local(self._pinned):
                proxy = None
            opener = urllib.request.OpenerDirector()
            opener.add_handler(urllib.request.ProxyHandler({self.base.scheme: proxy} if proxy else {}))
            opener.add_handler(_HttpHandler())
            if self.base.scheme == "https":
                opener.add_handler(_HttpsHandler(context=self._tls_context()))
            self._opener = opener
        return self._opener

    def addresses_for(self, host: str) -> list[str]:
        """Return where to connect for a host: the checked addresses for ours, so that a second look-up cannot differ."""
        return (self._pinned or [host]) if host == self.base.host else [host]

    def _tls_context(self) -> ssl.SSLContext:
        ca_path, validate = self._tls
        try:
            context = ssl.create_default_context(cafile=ca_path)
        except (OSError, ssl.SSLError) as error:
            raise Failure("ca_unreadable", f"The certificate file {ca_path} cannot be used: {error}.") from error
        if not validate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Exchange:
    """The clock and the socket of one request: when the time is up, the socket is shut, whoever waits on it."""

    def __init__(self, client: Client, url: str, limit: float) -> None:
        self.client = client
        self.url = url
        self.limit = max(limit, 0.05)
        self.connect_limit = min(CONNECT_LIMIT, self.limit)
        self.timed_out = False
        self._deadline = Deadline(self.limit)
        self.connecting = True
        self.securing = client.base.scheme == "https"
        self.proxy = ""
        self._handle: socket.socket | None = None
        self._timer = threading.Timer(self.limit, self._time_is_up)
        self._timer.daemon = True
        self._timer.start()

    def dial(self, address: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
        """Connect to the first address that answers; C(http.client) calls this."""
        host, port = address
        if host != self.client.base.host:
            self.proxy = f"{host}:{port}"
        candidates = self.client.addresses_for(host)
        refused: ConnectionRefusedError | None = None
        for candidate in candidates:
            # Zero would mean "do not wait" and fail with an error of its own.
            patience = max(min(CONNECT_LIMIT, self._deadline.remaining), 0.001)
            try:
                connection = socket.create_connection((candidate, port), patience, source)
            except OSError as error:
                # A refusal says more than the address of a family that the host does not have.
                refused = error if isinstance(error, ConnectionRefusedError) else refused
                if candidate == candidates[-1] or self.timed_out:
                    raise refused or error from None
                continue
            break
        # A duplicate, because TLS takes the socket object away while it shakes hands.
        self._handle = connection.dup()
        if self.timed_out:  # The clock struck before there was a socket to shut.
            connection.close()
            raise TimeoutError
        self.connecting = False
        connection.settimeout(min(timeout, self.connect_limit) if self.securing else timeout)
        return connection

    def failure(self, error: Exception) -> Failure:
        """Close, and return what the error means for the user."""
        self.close()
        return trouble.transport_failure(error, self)

    def close(self) -> None:
        """Stop the clock and let go of the connection, so that the server stops generating."""
        self._timer.cancel()
        if self._handle is not None:
            self._shut(self._handle)
            self._handle.close()
            self._handle = None

    def _time_is_up(self) -> None:
        self.timed_out = True
        if self._handle is not None:
            self._shut(self._handle)

    @staticmethod
    def _shut(handle: socket.socket) -> None:
        try:
            handle.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # The other side was faster.


class Reply:
    """What a server sends back: C(status), C(headers), and the body, once."""

    def __init__(self, exchange: _Exchange, response: Any) -> None:
        self._exchange = exchange
        self._response = response
        self.status: int = response.status
        self.headers: Any = response.headers
        self.url = exchange.url

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exchange.close()
        self._response.close()

    @property
    def _is_compressed(self) -> bool:
        """Whether something on the way compresses what was asked for as it is; clients read that."""
        return str(self.headers.get("Content-Encoding") or "").strip().lower() in ("gzip", "x-gzip", "deflate")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes in.

        Raises:
            Failure: With a transport code; also when the body is longer than BODY_LIMIT.

        """
        received = 0
        decoder = zlib.decompressobj(_GZIP_OR_ZLIB) if self._is_compressed else None
        try:
            while True:
                chunk = self._response.read1(65536)
                if self._exchange.timed_out:
                    raise TimeoutError
                if not chunk:
                    return
                if decoder:
                    chunk = decoder.decompress(chunk, BODY_LIMIT + 1)
                received += len(chunk)
                if received > BODY_LIMIT:
                    raise trouble.too_large(self.url, BODY_LIMIT)
                yield chunk
        except (OSError, http.client.HTTPException, ValueError, zlib.error) as error:
            raise self._exchange.failure(error) from error

    def body(self) -> bytes:
        """Return the whole body; refuses a declared length above BODY_LIMIT before reading a byte."""
        declared = count_of(self.headers.get("Content-Length")) or 0
        if declared > BODY_LIMIT:
            raise trouble.too_large(self.url, BODY_LIMIT)
        body = b"".join(self.chunks())
        if len(body) < declared and not self._is_compressed:
            raise self._exchange.failure(http.client.IncompleteRead(body, declared - len(body)))
        return body


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_connection(http.client.HTTPConnection, req), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        factory = _connection(http.client.HTTPSConnection, req)
        return self.do_open(factory, req, context=self._context)  # type: ignore[attr-defined]


def _connection(kind: Any, request: urllib.request.Request) -> Any:
    """Return a connection factory whose sockets the request's exchange makes, and so can shut."""
    exchange = request.exchange  # type: ignore[attr-defined]

    def factory(*args: Any, **kwargs: Any) -> Any:
        connection = kind(*args, **kwargs)
        connection._create_connection = exchange.dial
        connect = connection.connect

        def connect_and_say_so() -> None:
            connect()
            exchange.securing = False
            connection.sock.settimeout(connection.timeout)

        connection.connect = connect_and_say_so
        return connection

    return factory
