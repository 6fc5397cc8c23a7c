# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of daemons, and what is told of ports where something else answers or nobody does."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Address, Daemon
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import describe, parse_address


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:11434", ("127.0.0.1", 11434), True),
        ("127.0.0.9", ("127.0.0.9", 11434), True),
        ("localhost:1", ("localhost", 1), True),
        ("http://127.0.0.1:11434/", ("127.0.0.1", 11434), True),
        ("[::1]:11434", ("::1", 11434), True),
        ("host.docker.internal:11434", ("host.docker.internal", 11434), False),
        ("192.168.1.5", ("192.168.1.5", 11434), False),
    ],
)
def test_addresses(text: str, address: tuple[str, int], loopback: bool) -> None:
    found = parse_address(text)
    assert (found, found.is_loopback) == (address, loopback)
    assert parse_address(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "a b", "h:0", "h:65536", "h:port", "https://h:1", "h:1/v1", "u@h", "::1", "h\n:1"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(Failure) as failed:
        parse_address(text)
    assert failed.value.code == "ollama_host_invalid"


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[Address]:
    """Answer every request alike."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "OtherThing/1.0"
        sys_version = ""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield Address("127.0.0.1", server.server_address[1])
        server.shutdown()


def look(address: Address, limit: float = 5.0) -> dict[str, Any]:
    return describe(Machine(), find_account(), address, limit)


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, b"<html>", "without JSON"),
        (200, b'{"version": "1", "models": {}}', "no array 'models'"),
        (200, b'{"models": []}', "not Ollama"),  # no version
        (401, b'{"version": "1", "models": []}', "HTTP 401"),
        (404, b'{"error": "x"}', "HTTP 404"),
        (200, b"[" * 100_000, "without JSON"),
    ],
)
def test_another_server_is_named(status: int, body: bytes, seen: str) -> None:
    with answering(status, body) as address:
        found = look(address)
    assert (found["running"], found["version"]["daemon"], found["models"]) == (False, None, [])
    assert seen in found["foreign"]["message"]
    assert f"process {os.getpid()}" in found["foreign"]["message"]
    assert (found["foreign"]["status"], found["foreign"]["server"]) == (status, "OtherThing/1.0")
    assert [one["pid"] for one in found["listeners"]] == [os.getpid()]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"SSH-2.0-x\r\n", "not_ollama"),
        (b"", "ollama_lost"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a', "ollama_lost"),
    ],
)
def test_connections_that_break(said: bytes, code: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection = server.accept()[0]
            with connection:
                connection.recv(65_536)
                connection.sendall(said)

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(Failure) as failed:
            Daemon(Address(*server.getsockname())).ask("GET", "/api/version")
    assert failed.value.code == code


def test_a_port_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Failure) as failed:
        Daemon(Address(*server.getsockname())).ask("GET", "/api/version", limit=0.1)
    assert failed.value.code == "ollama_timeout"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = look(Address("127.0.0.1", port))
    assert (found["running"], found["listeners"], found["loopback_only"], found["foreign"]) == (False, [], None, None)
    assert not any("connection" in problem for problem in found["problems"])


def test_models_and_what_is_loaded(double: Any) -> None:
    double.loaded = ["a:1b"]
    found = look(parse_address(double.host))
    assert found["running"] and found["loopback_only"] and found["foreign"] is None
    assert found["version"]["daemon"] == "0.32.9"
    assert {one["name"]: one["capabilities"] for one in found["models"]} == double.models
    assert [(one["name"], one["size_vram"], one["context_length"]) for one in found["loaded"]] == [
        ("a:1b", 6_000_000_000, 32768)
    ]


def test_a_daemon_too_old_to_tell_its_context(double: Any) -> None:
    double.loaded, double.context_length, double.vram = ["a:1b"], None, 0
    (loaded,) = look(parse_address(double.host))["loaded"]
    assert (loaded["context_length"], loaded["size_vram"]) == (None, 0)


@pytest.mark.parametrize(("bind", "only"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_exposure_is_judged_by_sockets(bind: str, only: bool) -> None:
    with socket.create_server((bind, 0)) as server:
        found = look(Address("127.0.0.1", server.getsockname()[1]), limit=0.1)
    # Nobody answers on it, and it is told as open all the same.
    assert found["loopback_only"] is only


@pytest.mark.parametrize(("bind", "only"), [("::1", True), ("::", False)])
def test_exposure_by_ipv6(tmp_path: Path, bind: str, only: bool) -> None:
    """The kernel's table of another host: not every one that runs the tests has IPv6."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, bind))
    table = tmp_path / "proc/net/tcp6"
    table.parent.mkdir(parents=True)
    local = "".join(f"{word:08X}" for word in words)
    table.write_text(f"  sl  local_address\n   0: {local}:{port:04X} {'0' * 32}:0000 0A 0:0 0:0 0 0 0 1 1 0\n")
    found = describe(Machine(root=tmp_path, environ={}), find_account(), Address("127.0.0.1", port), 0.1)
    assert [one["address"] for one in found["listeners"]] == [bind]
    assert found["loopback_only"] is only
