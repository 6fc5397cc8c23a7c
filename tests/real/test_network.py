# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a server: ports, names, routes, web proxies, and bytes that no HTTP library would send."""

from __future__ import annotations

import json
import random
import socket
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import APIS, CHAT, KEY, Llama, prove, url


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port of this host that nobody listens on, held so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def answering(reply: bytes, times: int = 1, hang: bool = False) -> Iterator[tuple[int, list[int]]]:
    """Serve the same bytes to everybody; the value is the port and a list that gets the bytes each client took.

    A double of its own, because broken_server.py sends well-formed headers, and these are not.
    """
    taken: list[int] = []
    stop = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(10)
            sent = 0
            try:
                while b"\r\n\r\n" not in self.request.recv(65536):
                    continue
                for _dummy in range(times):
                    self.request.sendall(reply)
                    sent += len(reply)
                if hang:
                    stop.wait(30)
            except OSError:
                pass  # Hanging up is what the client should do.
            taken.append(sent)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server.server_address[1], taken
        finally:
            stop.set()
            server.shutdown()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port(closed_port: int, api: str, scheme: str) -> None:
    outcome = prove(f"{scheme}://127.0.0.1:{closed_port}/v1", api, timeout=3)
    assert outcome.code == "connection_refused"
    assert f"127.0.0.1:{closed_port}" in outcome.message
    assert outcome.elapsed < 1, "a refused connection is final"


@pytest.fixture
def backlogged() -> Iterator[int]:
    """Return a port whose listener accepts nobody and whose queue is full: as good as a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _dummy in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.mark.parametrize("timeout", [1, 3])
def test_packets_that_are_dropped(backlogged: int, timeout: int) -> None:
    outcome = prove(f"http://127.0.0.1:{backlogged}/v1", timeout=timeout)
    assert outcome.code == "unreachable"
    assert "firewall" in outcome.message


def test_several_dead_addresses_share_the_limit(backlogged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver is replaced, because a name with five addresses that drop packets is not to be had everywhere."""
    real = socket.getaddrinfo
    fakes = [f"127.0.0.{number}" for number in range(2, 7)]

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host == "many.lab":
            return [entry for fake in fakes for entry in real(fake, port, *args, **kwargs)]
        return real("127.0.0.1" if host in fakes else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = prove(f"http://many.lab:{backlogged}/v1", timeout=3)
    assert outcome.code == "unreachable"


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
def test_an_address_that_leads_nowhere(host: str) -> None:
    """Depending on the network, packets are dropped, refused by a router, or have no way out at all."""
    outcome = prove(f"http://{host}:8000/v1", timeout=3)
    assert outcome.code in ("unreachable", "connection_refused")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".invalid", "a..b"])
def test_a_name_that_does_not_exist(host: str) -> None:
    outcome = prove(f"http://{host}:8000/v1", timeout=5)
    assert outcome.code == "dns_failed"
    assert host in outcome.message


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "metadata.google.internal"]
)
def test_metadata_services_are_not_even_asked(host: str) -> None:
    outcome = prove(f"http://{host}/v1", timeout=5)
    assert outcome.code == "address_refused"
    assert outcome.elapsed < 1


# Web proxies


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_local_calls_take_no_proxy(
    llama: Llama, api: str, name: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    assert prove(url(llama("good"), api), api).code is None
    assert prove(url(llama("good"), api).replace("127.0.0.1", "localhost"), api).code is None


def test_other_calls_take_the_proxy(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", broken)
    outcome = prove("http://lab.invalid:8000/v1", timeout=5)
    assert outcome.code == "not_found", "behind a proxy the proxy resolves"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{broken}/__requests?under=http://lab.invalid", timeout=5) as reply:
        paths = [request["path"] for request in json.load(reply)]
    assert paths[0] == "http://lab.invalid:8000/v1/models"


def test_no_proxy_is_respected(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", broken)
    monkeypatch.setenv("no_proxy", ".invalid")
    assert prove("http://lab.invalid:8000/v1", timeout=5).code == "dns_failed"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_is_what_is_named(scheme: str, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{closed_port}")
    outcome = prove(f"{scheme}://lab.invalid:8000/v1", timeout=5)
    assert outcome.code == "proxy_failed"
    assert f"127.0.0.1:{closed_port}" in outcome.message
    assert "NO_PROXY" in outcome.message


def test_a_proxy_that_refuses_the_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (port, _taken):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        outcome = prove("https://lab.invalid:8443/v1", timeout=5)
    assert outcome.code == "proxy_failed"
    assert "403 Forbidden" in outcome.message


# Bytes

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("reply", "codes"),
    [
        (b"", {"connection_lost"}),
        (b"\r\n", {"not_http", "connection_lost"}),
        (b"HTTP/1.1\r\n\r\n", {"not_http"}),
        (b"HTTP/1.1 abc OK\r\n\r\n", {"not_http"}),
        (b"HTTP/1.1 99 OK\r\n\r\n", {"not_http"}),
        (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", {"server_error"}),
        (b"HTTP/9.9 200 OK\r\n\r\n", {"not_http", "not_json"}),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", {"not_json"}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"not_json"}),
        (b"HTTP/1.1 100 Continue\r\n\r\n", {"connection_lost", "not_http"}),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\n\r\n",
            {"bad_request", "connection_lost", "not_json"},
        ),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", {"redirected"}),
        (b"HTTP/1.1 302 Found\r\n\r\n", {"redirected"}),
        (b"HTTP/1.1 302 Found\r\nLocation: \x1b[2J\r\n\r\n", {"redirected"}),
        (HEAD + b"Content-Length: 2\r\n\r\n[]", {"not_json"}),
        (HEAD + b"Content-Length: \xb2\r\n\r\n[]", {"not_json"}),
        (HEAD + b"Content-Length: -5\r\n\r\n[]", {"not_json"}),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n[]", {"not_json", "connection_lost"}),
        (HEAD + b"Content-Length: " + b"9" * 17 + b"\r\n\r\n[]", {"body_too_large"}),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", {"not_json"}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {"connection_lost", "not_http"}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", {"connection_lost", "not_http", "not_json"}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000, {"connection_lost", "not_http"}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n[]", {"connection_lost"}),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", {"not_http"}),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", {"not_http"}),
        (b"HTTP/1.1 " + b"2" * 70_000, {"not_http"}),
        (b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n{}", {"wrong_shape", "not_json"}),
        (b"HTTP/1.1 429 No\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n", {"rate_limited"}),
        (b"HTTP/1.1 429 No\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n", {"rate_limited"}),
        (b"HTTP/1.1 401 \x1b[2J" + KEY.encode() + b"\r\nContent-Length: 0\r\n\r\n", {"auth_failed"}),
        (f"HTTP/1.1 {KEY} \x1b[2J\r\n\r\n".encode(), {"not_http"}),
        (b"\x15\x03\x01\x00\x02\x02\x46", {"not_http", "connection_lost"}),
        (b"\x00" * 1000, {"not_http"}),
        (b"* OK IMAP4 ready\r\n", {"not_http"}),
        (b"220 mail.lab ESMTP\r\n", {"not_http"}),
        (b"-ERR unknown command\r\n", {"not_http"}),
    ],
    ids=lambda value: repr(value[:50]) if isinstance(value, bytes) else "",
)
def test_replies_that_no_model_server_sends(reply: bytes, codes: set[str]) -> None:
    with answering(reply) as (port, _taken):
        outcome = prove(f"http://127.0.0.1:{port}/v1", timeout=1)
    assert outcome.code in codes, outcome.message


def test_random_replies_end_in_a_failure() -> None:
    source = random.Random(2026)
    pieces = [b"HTTP/1.1 ", b"200", b" OK", b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked"]
    pieces += [b"5", b"{}", b'{"data": [', b"null", b"]", b"\x00", b"\xff", b": ", b"a", b"500", b"data: "]
    for _dummy in range(150):
        reply = b"HTTP/1.1 " * source.randrange(2) + b"".join(source.choices(pieces, k=source.randrange(20)))
        with answering(reply) as (port, _taken):
            outcome = prove(f"http://127.0.0.1:{port}/v1", timeout=0.3)
        assert outcome.failure is not None, reply


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\n\r\n", HEAD + b"Content-Length: 104857600\r\n\r\n", b"HTTP/1.1 500 No\r\n\r\n"],
    ids=["without a length", "with a length", "as an error"],
)
def test_a_hundred_megabytes_are_not_read_to_their_end(head: bytes) -> None:
    block = b"z" * 1024 * 1024
    with answering(head + block, 100) as (port, taken):
        outcome = prove(f"http://127.0.0.1:{port}/v1", timeout=10)
    assert outcome.code == "body_too_large"
    assert outcome.elapsed < 5
    # What the kernel buffers on both sides comes on top of the 8 MiB.
    assert max(taken, default=0) < 40 * len(block)


def test_a_server_that_says_nothing_after_its_answer(broken: str) -> None:
    """A body without a length ends with the connection, and this connection stays."""
    with answering(HEAD + b'\r\n{"data": []}', hang=True) as (port, _taken):
        outcome = prove(f"http://127.0.0.1:{port}/v1", timeout=2)
    assert outcome.code == "timeout"


def test_a_limit_below_a_second_holds(broken: str) -> None:
    assert prove(f"{broken}/silent~short/v1", CHAT, timeout=0.2).elapsed < 1
