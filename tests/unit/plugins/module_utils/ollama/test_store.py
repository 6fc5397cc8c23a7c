# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a daemon keeps its models, by what this host tells of it, and what of a download is there; with a real one in tests/real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.catalogue import Size
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Address
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.model_work import check_room, find_store
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.names import parse_name

LOCAL = Address("127.0.0.1", 11434)
HOME = find_account().home


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "proc/net").mkdir(parents=True)
    return Machine(root=tmp_path, environ={"PATH": "/usr/bin"})


def systemd(machine: Machine, said: str) -> Machine:
    for folder in ("run/systemd/system", "usr/bin"):
        (machine.root / folder).mkdir(parents=True)
    program = machine.root / "usr/bin/systemctl"
    program.write_text(f"#!/bin/sh\ncat <<X\n{said}\nX\n", encoding="utf-8")
    program.chmod(0o755)
    return machine


def test_another_machines_store_is_not_looked_at(machine: Machine) -> None:
    assert find_store(machine, Address("host.docker.internal", 11434), find_account()) is None


@pytest.mark.parametrize(
    ("said", "store"),
    [
        ("LoadState=loaded\nEnvironment=OLLAMA_MODELS=/data/a", "/data/a"),
        (
            "LoadState=loaded\nEnvironment=OLLAMA_MODELS=/data/a\nEnvironmentFiles=/etc/o*.env (ignore_errors=yes)",
            "/data/b",
        ),
        (f"LoadState=loaded\nUser={find_account().name}", f"{HOME}/.ollama/models"),
        ("LoadState=loaded\nUser=no-such-user", None),
        ("LoadState=not-found", "/usr/share/ollama/.ollama/models"),  # where the service will have it
    ],
)
def test_the_store_of_a_service(machine: Machine, said: str, store: str | None) -> None:
    (machine.root / "etc").mkdir()
    (machine.root / "etc/ollama.env").write_text("OLLAMA_MODELS=/data/b\n", encoding="utf-8")
    assert find_store(systemd(machine, said), LOCAL, find_account()) == store


def test_the_store_of_a_process(machine: Machine) -> None:
    assert find_store(machine, LOCAL, find_account()) == f"{HOME}/.ollama/models"
    (machine.root / "proc/7/fd").mkdir(parents=True)
    (machine.root / "proc/7/fd/3").symlink_to("socket:[77]")
    row = f"  0: 0100007F:2CAA 00000000:0000 0A 0:0 0:0 0 {os.getuid()} 0 77 1\n"
    (machine.root / "proc/net/tcp").write_text(row, encoding="utf-8")
    assert find_store(machine, LOCAL, find_account()) == f"{HOME}/.ollama/models"  # its environment is not ours to see
    (machine.root / "proc/7/environ").write_bytes(b"HOME=/srv/o\0")
    assert find_store(machine, LOCAL, find_account()) == "/srv/o/.ollama/models"


@pytest.mark.parametrize(("there", "fits"), [(0, False), (100, False), (2 * 10**18 - 1, True)])
def test_what_is_there_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch, there: int, fits: bool) -> None:
    digest = f"sha256:{'a' * 64}"
    monkeypatch.setattr(f"{check_room.__module__}._stored", lambda place, name: there if name == digest else 0)
    size = Size(2 * 10**18, "registry", {digest: 2 * 10**18})
    if fits:
        check_room(parse_name("a:1b"), size, "/var/lib/models", machine)
        return
    with pytest.raises(Failure) as failed:
        check_room(parse_name("a:1b"), size, "/var/lib/models", machine)
    assert failed.value.code == "disk_too_small"
    assert ("what is still to come" in failed.value.message) == (there > 0)
    assert "ollama_environment" in failed.value.message


def test_nobody_knows_the_size(machine: Machine) -> None:
    check_room(parse_name("a:1b"), Size(None, "unknown"), "/var/lib/models", machine)
