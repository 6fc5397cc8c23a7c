# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Linux inside Windows says of itself, and whose Ollama answers there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import (
    default_gateway,
    reach_windows,
    read_wsl,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.client import (
    Side,
    find_windows_ollama,
    tell_sides_apart,
)

WriteCommand = Callable[[Path, str], Path]

# 127.0.0.1:11434 listens, as /proc/net/tcp has it.
LISTENING = "  sl\n   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1 1\n"
ROUTES = (
    "Iface\tDestination\tGateway \tFlags\n"
    "eth0\t00A01FAC\t00000000\t0001\neth0\t00000000\t01A01FAC\t0003\neth1\t00000000\t01000A0A\t0003\n"
)
OWN = "127.0.0.9"
FOREIGN = "192.0.2.7"


def write(root: Path, files: dict[str, str]) -> Machine:
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)
    return Machine(root=root, environ={})


@pytest.mark.parametrize(
    ("release", "environ", "wslinfo", "expected"),
    [
        ("4.4.0-19041-Microsoft", {}, None, (1, None, None)),
        ("6.6.87.2-microsoft-standard-WSL2", {"WSL_DISTRO_NAME": "Ubuntu"}, "echo mirrored", (2, "Ubuntu", "mirrored")),
        ("6.6.87-custom", {}, "echo 'unknown option' ; exit 1", (2, None, None)),
        ("6.6.87-custom", {}, "echo 'usage: wslinfo'", (2, None, None)),
    ],
)
def test_wsl(
    tmp_path: Path,
    write_command: WriteCommand,
    release: str,
    environ: dict[str, str],
    wslinfo: str | None,
    expected: tuple[Any, ...],
) -> None:
    write(tmp_path, {"/proc/sys/kernel/osrelease": release + "\n"})
    if wslinfo:
        write_command(tmp_path / "usr/bin/wslinfo", wslinfo)
    found = read_wsl(Machine(root=tmp_path, environ=environ))
    assert (found["version"], found["distro"], found["networking_mode"]) == expected


@pytest.mark.parametrize(
    ("files", "interop"),
    [
        ({}, False),
        ({"WSLInterop": "enabled\ninterpreter /init\n"}, True),
        ({"WSLInterop-late": "enabled\ninterpreter /init\n"}, True),
        ({"WSLInterop": "disabled\ninterpreter /init\n"}, False),
        ({"WSLInterop": "enabled\n", "status": "disabled\n"}, False),
        ({"WSLInterop": "enabled\n", "status": "enabled\n"}, True),
    ],
)
def test_interop(tmp_path: Path, files: dict[str, str], interop: bool) -> None:
    machine = write(tmp_path, {f"/proc/sys/fs/binfmt_misc/{name}": text for name, text in files.items()})
    assert read_wsl(machine)["interop"] is interop


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (ROUTES, "172.31.160.1"),
        ("Iface\tDestination\tGateway\n", None),
        ("eth0\t00000000\t00000000\t0001\n", None),
        ("eth0\t00000000\tnonsense\n", None),
        (None, None),
    ],
)
def test_default_gateway(table: str | None, expected: str | None) -> None:
    assert default_gateway(table) == expected


def resolver(names: dict[str, str]) -> Callable[[str], str]:
    def resolve(name: str) -> str:
        if name not in names:
            raise socket.gaierror("unknown")
        return names[name]

    return resolve


def answering(*hosts: str) -> Callable[..., tuple[str | None, str | None]]:
    def ask(port: int, limit_s: float, host: str) -> tuple[str | None, str | None]:
        assert port == 11434
        return ("0.9.3", None) if host in hosts else (None, None)

    return ask


@pytest.mark.parametrize(
    ("mode", "names", "answers", "local", "host", "words"),
    [
        ("nat", {"host.docker.internal": FOREIGN}, ["host.docker.internal"], True, "host.docker.internal:11434", ""),
        # The name exists for containers only (NemoClaw #8127); with NAT, Windows is the gateway.
        ("nat", {"172.31.160.1": FOREIGN}, ["172.31.160.1"], False, "172.31.160.1:11434", ""),
        (None, {"172.31.160.1": FOREIGN}, ["172.31.160.1"], False, "172.31.160.1:11434", ""),
        ("nat", {"172.31.160.1": FOREIGN}, [], False, None, "host.docker.internal does not resolve"),
        ("nat", {"172.31.160.1": FOREIGN}, [], False, None, "Nothing answers at 172.31.160.1:11434"),
        # With NAT, an address of this Linux is this Linux.
        ("nat", {"host.docker.internal": OWN}, ["host.docker.internal"], True, None, "resolves to this Linux itself"),
        ("mirrored", {"host.docker.internal": OWN}, ["host.docker.internal"], False, "host.docker.internal:11434", ""),
        ("mirrored", {"127.0.0.1": "127.0.0.1"}, ["127.0.0.1"], False, "127.0.0.1:11434", ""),
        ("mirrored", {"host.docker.internal": OWN}, ["host.docker.internal"], True, None, "share port 11434"),
    ],
)
def test_the_ollama_of_windows(
    tmp_path: Path,
    mode: str | None,
    names: dict[str, str],
    answers: list[str],
    local: bool,
    host: str | None,
    words: str,
) -> None:
    machine = write(tmp_path, {"/proc/net/route": ROUTES, "/proc/net/tcp": LISTENING if local else ""})
    side = find_windows_ollama(machine, 11434, mode, answering(*answers), resolver(names))
    assert (side.host, side.daemon_version) == (host, "0.9.3" if host else None)
    assert words in (side.problem or "")


@pytest.mark.parametrize(
    ("names", "url", "expected"),
    [
        ({"host.docker.internal": FOREIGN}, "http://host.docker.internal:11434/v1", None),
        # What Windows gives out anew at each start is looked up at each use.
        ({"172.31.160.1": FOREIGN}, "http://host.docker.internal:11434/v1", "http://172.31.160.1:11434/v1"),
        (
            {"host.docker.internal": OWN, "172.31.160.1": FOREIGN},
            "http://host.docker.internal/v1",
            "http://172.31.160.1/v1",
        ),
        ({}, "http://host.docker.internal:11434/v1", None),
        ({"172.31.160.1": FOREIGN}, "http://gpu.example:11434/v1", None),
    ],
)
def test_a_route_to_windows_outlives_its_address(
    tmp_path: Path, names: dict[str, str], url: str, expected: str | None
) -> None:
    release = "6.6.87.2-microsoft-standard-WSL2"
    machine = write(tmp_path, {"/proc/net/route": ROUTES, "/proc/sys/kernel/osrelease": release})
    assert reach_windows(machine, url, resolver(names)) == (expected or url)
    plain = write(tmp_path / "linux", {"/proc/net/route": ROUTES, "/proc/sys/kernel/osrelease": "6.1.0-13-amd64"})
    assert reach_windows(plain, url, resolver(names)) == url


@pytest.mark.parametrize(
    ("mode", "windows", "local", "daemon", "both"),
    [
        ("nat", Side("w:11434", "0.9.3"), True, "0.9.0", True),
        ("nat", Side(problem="nothing"), True, "0.9.0", False),
        # One daemon, seen on two addresses.
        ("mirrored", Side("127.0.0.1:11434", "0.9.3"), False, None, False),
        ("mirrored", Side(problem="shared"), True, "0.9.0", False),
    ],
)
def test_both_sides(tmp_path: Path, mode: str, windows: Side, local: bool, daemon: str | None, both: bool) -> None:
    machine = write(tmp_path, {"/proc/net/tcp": LISTENING if local else ""})
    facts: dict[str, Any] = {"daemon_version": "0.9.0"}
    tell_sides_apart(machine, facts, windows, 11434, mode)
    assert (facts["daemon_version"], facts["both_running"]) == (daemon, both)
    assert facts["windows"] == windows._asdict()
