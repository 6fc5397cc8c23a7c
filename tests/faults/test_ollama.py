# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Ollama: its service brought to loopback without systemd, and downloads, with the module or the daemon killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import healthy_process
import model_registry
import ollama_server
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.presence import look
from ansible_collections.nemoclaw.local_inference.plugins.modules import ollama_model, ollama_service
from harness import INTERRUPT, KILL, Table, play, sweep

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process"),
    pytest.mark.skipif("OLLAMA_TEST_HOME" not in os.environ, reason="there is no environment of ollama_server.py"),
]
# What listens on every address has to end before one can listen on loopback.
STOPS = "stops for a moment"


class Service:
    """A daemon that is open to the network, started by hand with a model store of its own."""

    def __init__(self, folder: Path, held: contextlib.ExitStack) -> None:
        self.folder = folder
        daemon = held.enter_context(ollama_server.serving(bind="0.0.0.0"))
        self.port, self.store = int(daemon.host.split(":")[1]), daemon.store
        held.callback(self.end)

    def run(self) -> bool:
        return bool(play(ollama_service, {"port": self.port, "enabled": False, "timeout": 20})["changed"])

    def state(self) -> object:
        found = look(Machine(), self.port)
        (holder,) = found.holders
        environment = Path(f"/proc/{holder.pid}/environ").read_text(encoding="utf-8")
        return [one["address"] for one in found.listeners], f"OLLAMA_MODELS={self.store}" in environment

    def serves(self) -> bool:
        """It answers, or the next run starts it."""
        return True

    def end(self) -> None:
        for one in look(Machine(), self.port).holders:
            os.kill(one.pid, signal.SIGKILL)


@pytest.mark.skipif(
    Systemd.is_running(Machine()), reason="this machine has systemd, and its own Ollama would be touched"
)
def test_a_daemon_is_brought_to_loopback(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["OLLAMA_TEST_HOME"])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ollama").symlink_to(ollama_server.find_binary(home))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(home / "lib"))
    with contextlib.ExitStack() as held:
        sweep(
            table,
            "ollama_service: to loopback",
            lambda folder: Service(folder, held),
            tmp_path,
            {KILL: 1, INTERRUPT: 1},
            1,
            STOPS,
        )


def pull(daemon: ollama_server.Ollama, name: str) -> bool:
    desired = {
        "name": name,
        "host": daemon.host,
        "allow_download": True,
        "insecure_registry": True,
        "stall_timeout": 20,
    }
    return bool(play(ollama_model, desired)["changed"])


def pulling(daemon: ollama_server.Ollama, name: str) -> int:
    """Pull in a process of its own, and return that once some of it has come."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its jobs in the background ignore it
        with contextlib.suppress(BaseException):
            pull(daemon, name)
        os._exit(0)
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in daemon.store.glob("blobs/*-partial-*")) < 20:
        assert time.monotonic() < deadline, "nothing comes"
        time.sleep(0.05)
    return pid


@pytest.fixture(scope="module")
def registry() -> Iterator[model_registry.Registry]:
    with model_registry.serving() as running:
        running.content.rate = 5_000_000
        yield running


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda blow: blow.name)
def test_the_module_ends_while_a_model_comes(
    table: Table, registry: model_registry.Registry, blow: signal.Signals
) -> None:
    with ollama_server.serving() as daemon:
        name = registry.push("lab/broken-off", blow.name.lower(), padding=10_000_000)
        module = pulling(daemon, name)
        os.kill(module, blow)
        os.waitpid(module, 0)
        assert pull(daemon, name)
        assert not pull(daemon, name)
        table.row("ollama_model: download", blow.name, 1, "-")


def test_the_daemon_dies_while_a_model_comes(table: Table, registry: model_registry.Registry) -> None:
    with ollama_server.serving() as daemon:
        name = registry.push("lab/broken-off", "daemon", padding=10_000_000)
        module = pulling(daemon, name)
        os.kill(daemon.pid, signal.SIGKILL)
        os.waitpid(module, 0)
        with healthy_process.running(
            [daemon.binary, "serve"],
            daemon.environment,
            daemon.log,
            (int(daemon.host.split(":")[1]), "/api/version"),
            30,
        ):
            assert pull(daemon, name)
            assert not pull(daemon, name)
        table.row("ollama_model: download", "daemon killed", 1, "-")
