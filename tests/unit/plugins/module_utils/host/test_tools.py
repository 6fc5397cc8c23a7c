# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of the tools, from real commands and real HTTP."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import machine as machine_module
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    CommandResult,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.tools import (
    find_python_libraries,
    find_tool,
    first_version,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.client import (
    ask_ollama_daemon,
    find_ollama,
    parse_ollama_client_version,
)

WriteCommand = Callable[[Path, str], Path]


@pytest.fixture
def answering() -> Iterator[Callable[[bytes, int], int]]:
    """Return a function that serves one answer on every path of 127.0.0.1 and returns the port."""
    servers: list[HTTPServer] = []

    def start(body: bytes, status: int) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/api/version" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def machine_at(root: Path) -> Machine:
    return Machine(root=root, environ={"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama version is 0.9.3\n", "0.9.3"),
        ("Warning: could not connect to a running Ollama instance\nWarning: client version is 0.5.4\n", "0.5.4"),
        ("ollama version is 0.5.7\nWarning: client version is 0.9.0\n", "0.9.0"),
        ("ollama version is 0.1.47-amd\n", "0.1.47-amd"),
        ("Warning: could not connect to a running Ollama instance\n", None),
        ("", None),
    ],
)
def test_ollama_client_version(text: str, expected: str | None) -> None:
    assert parse_ollama_client_version(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openshell 0.0.83\n", "0.0.83"),
        ("\x1b[1mopenshell\x1b[0m 0.0.111\n", "0.0.111"),
        ("nemoclaw v0.0.55", "0.0.55"),
        ("nemoclaw/0.1.2-rc.1+build linux-x64", "0.1.2-rc.1+build"),
        ("1.0", "1.0"),
        ("m-dev", None),
        ("version 7", None),
    ],
)
def test_first_version(text: str, expected: str | None) -> None:
    assert first_version(text) == expected


def test_absent_tool(tmp_path: Path) -> None:
    assert find_tool(machine_at(tmp_path), find_account(), "openshell") == {
        "version": None,
        "path": None,
        "problem": None,
    }


def test_tool_in_the_users_own_folder(tmp_path: Path, write_command: WriteCommand) -> None:
    account = find_account()._replace(home="/home/alice")
    write_command(tmp_path / "home/alice/.local/bin/openshell", '[ "$HOME" = /home/alice ] && echo "openshell 0.0.83"')
    found = find_tool(machine_at(tmp_path), account, "openshell")
    assert found == {"version": "0.0.83", "path": "/home/alice/.local/bin/openshell", "problem": None}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'm-dev'", "found no version in its answer: m-dev"),
        ("echo 'no HOME' >&2; exit 1", "exit code 1 and said: no HOME"),
        ("exec /nowhere/node", "exit code 127"),
        ("kill -SEGV $$", "exit code -11"),
    ],
)
def test_tool_that_does_not_tell(tmp_path: Path, write_command: WriteCommand, body: str, words: str) -> None:
    write_command(tmp_path / "usr/bin/nemoclaw", body)
    found = find_tool(machine_at(tmp_path), find_account(), "nemoclaw")
    assert (found["version"], found["path"]) == (None, "/usr/bin/nemoclaw")
    assert words in found["problem"]


def test_file_that_is_no_program(tmp_path: Path) -> None:
    program = tmp_path / "usr/bin/nemoclaw"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF broken")
    program.chmod(0o755)
    assert "could not be started" in find_tool(machine_at(tmp_path), find_account(), "nemoclaw")["problem"]


@pytest.mark.parametrize(("euid", "uid", "switches"), [(0, 1000, True), (0, 0, False), (1000, 1000, False)])
def test_root_never_runs_a_users_tool_as_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, euid: int, uid: int, switches: bool
) -> None:
    asked: list[Any] = []

    def remember(argv: Any, limit_s: float, environ: Any, run_as: Any, *_more: Any) -> CommandResult:
        asked.append(run_as)
        return CommandResult(0, "1.0")

    account = find_account()._replace(uid=uid)
    monkeypatch.setattr(machine_module, "run_command", remember)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    machine_at(tmp_path).run(["/usr/bin/nemoclaw", "--version"], 1, account)
    assert asked == [account if switches else None]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_runs_a_users_tool_as_that_user(short_path: Path, write_command: WriteCommand) -> None:
    short_path.chmod(0o755)
    nobody = find_account("nobody")
    write_command(short_path / "usr/bin/nemoclaw", 'echo "0.0.$(id -u) 0.1.$(id -G | wc -w)"')
    found = find_tool(machine_at(short_path), nobody, "nemoclaw")
    assert found["version"] == f"0.0.{nobody.uid}"


def test_ollama_client_and_daemon(
    tmp_path: Path, write_command: WriteCommand, answering: Callable[[bytes, int], int]
) -> None:
    write_command(
        tmp_path / "usr/bin/ollama", "echo 'ollama version is 0.5.7'; echo 'Warning: client version is 0.9.0'"
    )
    port = answering(b'{"version": "0.5.7"}', 200)
    assert find_ollama(machine_at(tmp_path), find_account(), port) == {
        "path": "/usr/bin/ollama",
        "client_version": "0.9.0",
        "daemon_version": "0.5.7",
        "problem": None,
        "recorded_version": None,
        "kept_version": None,
        "damage": None,
        "checksum": None,
    }


def test_the_clients_version_does_not_depend_on_a_daemon(tmp_path: Path, write_command: WriteCommand) -> None:
    # It asks its daemon first: one that hangs, or one that OLLAMA_HOST names and that is gone, must not hide the version.
    write_command(
        tmp_path / "usr/bin/ollama", '[ "$OLLAMA_HOST" = 127.0.0.1:9 ] || sleep 60; echo "ollama version is 0.9.0"'
    )
    machine = Machine(root=tmp_path, environ={"PATH": "/usr/bin:/bin", "OLLAMA_HOST": "gone.example:11434"})
    assert find_ollama(machine, find_account(), closed_port())["client_version"] == "0.9.0"


def test_no_ollama_at_all(tmp_path: Path) -> None:
    found = find_ollama(machine_at(tmp_path), find_account(), closed_port())
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<html>", 200, "is not JSON"),
        (b'{"version": 7}', 200, "JSON without one"),
        (b"{}", 404, "HTTP status 404"),
    ],
)
def test_foreign_server_on_the_port(
    answering: Callable[[bytes, int], int], body: bytes, status: int, words: str
) -> None:
    version, problem = ask_ollama_daemon(answering(body, status))
    assert version is None
    assert problem is not None
    assert words in problem
    assert "another server may hold the port" in problem


def test_server_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            peer, _address = server.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                peer.recv(1000)

        thread = threading.Thread(target=greet)
        thread.start()
        version, problem = ask_ollama_daemon(server.getsockname()[1])
        thread.join()
    assert version is None
    assert problem is not None
    assert "does not speak HTTP" in problem


def test_silent_server_ends_with_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        version, problem = ask_ollama_daemon(server.getsockname()[1], limit_s=0.1)
    assert version is None
    assert problem is not None
    assert "timed out" in problem


def test_proxy_settings_are_not_for_this_host(
    monkeypatch: pytest.MonkeyPatch, answering: Callable[[bytes, int], int]
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert ask_ollama_daemon(answering(b'{"version": "0.9.3"}', 200)) == ("0.9.3", None)


def test_python_libraries() -> None:
    found = find_python_libraries(["pytest", "no-such-library-anywhere"])
    assert found == {"pytest": pytest.__version__, "no-such-library-anywhere": None}


@pytest.mark.parametrize("version", ["dev", "", "1.x", "0.30-", "v0.30.0 <b>", "9" * 40, "{{ lookup('env', 'HOME') }}"])
def test_a_daemon_version_that_is_none_counts_as_older_than_any(
    answering: Callable[[bytes, int], int], version: str
) -> None:
    """The roles compare it: 0.1.0 ended in an error of Jinja."""
    found, problem = ask_ollama_daemon(answering(json.dumps({"version": version}).encode(), 200))
    assert (found, "counts as older than any" in (problem or "")) == ("0.0.0", True)


@pytest.mark.parametrize("version", ["0.32.15", "v0.30.0", "0.30.0-rc1", "0.0.0", "0.30.1-dirty+g1234"])
def test_a_daemon_version_that_can_be_compared(answering: Callable[[bytes, int], int], version: str) -> None:
    assert ask_ollama_daemon(answering(json.dumps({"version": version}).encode(), 200)) == (version, None)
