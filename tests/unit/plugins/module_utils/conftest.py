# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines to look at: each folder of tests/unit/fixtures/host becomes files, commands and a container engine."""

from __future__ import annotations

import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine

FIXTURES = Path(__file__).parents[2] / "fixtures" / "host"


class UnixHttpServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers GET requests on a Unix socket from a table, and 404 to what the table does not know."""

    daemon_threads = True

    def __init__(self, path: Path, answers: dict[str, bytes], status: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answers.get(self.path)
                self.send_response(status if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that has heard enough hangs up."""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a folder whose path leaves room for a Unix socket's name (108 bytes in all)."""
    with tempfile.TemporaryDirectory(prefix="nli-") as name:
        yield Path(name)


@pytest.fixture
def serve(short_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that serves a table of answers on a Unix socket at a path below short_path."""
    servers = []

    def start(socket_path: str, answers: dict[str, bytes], status: int = 200) -> Path:
        path = short_path / socket_path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        servers.append(UnixHttpServer(path, answers, status))
        return path

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def machine_named(short_path: Path, serve: Callable[..., Path]) -> Callable[[str], Machine]:
    """Return a function that sets one of the fixture machines up and returns it."""

    def build(name: str) -> Machine:
        source = FIXTURES / name
        shutil.copytree(source / "root", short_path, dirs_exist_ok=True)
        architecture = (source / "uname-m").read_text().strip()
        if (source / "nvidia-smi.csv").exists():
            write_nvidia_smi(short_path, source, in_wsl=name.startswith("wsl-"))
        if (source / "wslinfo.txt").exists():
            text = (source / "wslinfo.txt").read_text().strip()
            write_command(short_path / "usr/bin/wslinfo", f'[ "$*" = --networking-mode ] || exit 64\necho {text}')
        if (source / "docker-info.json").exists():
            socket_file = source / "docker-socket"
            serve(
                socket_file.read_text().strip() if socket_file.exists() else "/var/run/docker.sock",
                {f"/{what}": (source / f"docker-{what}.json").read_bytes() for what in ("version", "info")},
            )
        return Machine(root=short_path, environ={"PATH": "/usr/bin"}, system="Linux", architecture=architecture)

    return build


@pytest.fixture(name="write_command")
def write_command_fixture() -> Callable[[Path, str], Path]:
    """Return a function that writes an executable shell script."""
    return write_command


def write_command(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def write_nvidia_smi(root: Path, source: Path, in_wsl: bool) -> None:
    """Write an nvidia-smi that replays a recording and refuses every other question.

    A double, because the real one answers only on a machine with the GPU.
    """

    def given(name: str, default: str) -> str:
        path = source / name
        return path.read_text().strip() if path.exists() else default

    refused = given("nvidia-smi.refused", "")
    fields = ("index", "uuid", "name", "memory.total", "memory.free", "compute_cap", "driver_version")
    accepted = ",".join(field for field in fields if field != refused)
    refusal = f'case "$1" in *{refused}*) echo \'Field "{refused}" is not a valid field to query.\'; exit 2;; esac\n'
    body = (
        (refusal if refused else "")
        + f'[ "$*" = "--query-gpu={accepted} --format=csv,noheader,nounits" ] || {{ echo "no recording of $*"; exit 64; }}\n'
        + f'cat "{source / "nvidia-smi.csv"}"\nexit {given("nvidia-smi.exit", "0")}'
    )
    write_command(root / ("usr/lib/wsl/lib/nvidia-smi" if in_wsl else "usr/bin/nvidia-smi"), body)
