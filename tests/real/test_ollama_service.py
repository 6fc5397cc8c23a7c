# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exposed daemon brought back to loopback where no systemd is; with systemd it is molecule's scenario ollama_service."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama_server
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.presence import Found, look
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import converge
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service_plan import Desired, Report

pytestmark = pytest.mark.skipif(
    Systemd.is_running(Machine()), reason="this machine has systemd, and its own Ollama would be touched"
)


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Collect ports whose daemons are ended after the test."""
    used: list[int] = []
    yield used
    for port in used:
        found = look(Machine(), port)
        for one in found.holders:
            os.kill(one.pid, signal.SIGKILL)


def make(
    port: int, state: str = "started", check: bool = False, machine: Machine | None = None, **more: Any
) -> tuple[Report, Found]:
    desired = Desired(state, port, more.get("environment", {}), True, more.get("timeout", 20))
    return converge(machine or Machine(), find_account(), desired, check)


def pid_of(found: Found) -> int | None:
    return found.holders[0].pid if found.holders else None


def addresses(port: int) -> list[str]:
    return [one["address"] for one in look(Machine(), port).listeners]


def test_exposed_and_brought_back_with_its_own_settings(ollama_home: Path, ports: list[int]) -> None:
    with ollama_server.serving(ollama_home, bind="0.0.0.0") as daemon:
        port = int(daemon.host.split(":")[1])
        ports.append(port)
        before = pid_of(look(Machine(), port))
        planned, _found = make(port, check=True)
        assert planned.changed and before == pid_of(look(Machine(), port))
        report, found = make(port)
        assert report.actions == planned.actions == [f"stop process {before}", f"start {daemon.binary} serve as root"]
        assert (report.restarted, pid_of(found) != before, addresses(port)) == (True, True, ["127.0.0.1"])
        environment = Path(f"/proc/{pid_of(found)}/environ").read_text(encoding="utf-8")
        assert f"OLLAMA_MODELS={daemon.store}" in environment
        assert f"OLLAMA_HOST=127.0.0.1:{port}" in environment
        again, found = make(port)
        assert (again.changed, found.exposed, found.unit) == (False, False, None)
        assert make(port, "stopped")[0].changed
        assert not make(port, "stopped")[0].changed
        assert addresses(port) == []


def test_on_the_loopback_of_ipv6_and_brought_to_127_0_0_1(ollama_home: Path, ports: list[int], tmp_path: Path) -> None:
    port = ollama_server.free_port()
    ports.append(port)
    with ollama_server.serving(ollama_home) as other:
        environment = {**other.environment, "OLLAMA_HOST": f"[::1]:{port}", "OLLAMA_MODELS": str(tmp_path / "models")}
        before = subprocess.Popen([other.binary, "serve"], env=environment, stderr=subprocess.DEVNULL)
    while addresses(port) != ["::1"]:
        time.sleep(0.05)
    try:
        planned, _found = make(port, check=True)
        report, found = make(port)
        assert (
            report.actions == planned.actions == [f"stop process {before.pid}", f"start {other.binary} serve as root"]
        )
        assert (addresses(port), found.is_local) == (["127.0.0.1"], True)
        assert f"OLLAMA_MODELS={tmp_path}/models" in Path(f"/proc/{pid_of(found)}/environ").read_text(encoding="utf-8")
        assert not make(port)[0].changed
    finally:
        before.kill()
        before.wait()


def test_started_where_none_runs(ollama_home: Path, ports: list[int], tmp_path: Path) -> None:
    with ollama_server.serving(ollama_home) as other:
        (tmp_path / "ollama").symlink_to(other.binary)
        own = {"LD_LIBRARY_PATH": other.environment["LD_LIBRARY_PATH"], "HOME": str(tmp_path)}
        machine = Machine(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}", **own})
        port = ollama_server.free_port()
        ports.append(port)
        assert make(port, check=True, machine=machine)[0].actions == [
            f"start {tmp_path}/ollama serve as {find_account().name}"
        ]
        assert addresses(port) == []
        assert make(port, machine=machine, environment=own)[0].changed
        assert addresses(port) == ["127.0.0.1"]
        assert not make(port, machine=machine, environment=own)[0].changed


def test_a_program_that_ends_at_once(tmp_path: Path) -> None:
    program = tmp_path / "ollama"
    program.write_text("#!/bin/sh\necho Error: no room for models >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    machine = Machine(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    started = time.monotonic()
    with pytest.raises(Failure) as failed:
        make(ollama_server.free_port(), machine=machine, environment={"HOME": str(tmp_path)}, timeout=60)
    assert failed.value.code == "ollama_not_started"
    assert "the process exited with code 1. Its log says: Error: no room for models." in failed.value.message
    assert time.monotonic() - started < 20


def test_nothing_installed(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        make(ollama_server.free_port(), machine=Machine(root=tmp_path, environ={}))
    assert failed.value.code == "ollama_not_installed"
