# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container engine a host has, asked over real sockets."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.docker_engine import (
    Endpoint,
    describe_engine,
    find_context_host,
    find_engine,
    may_use_socket,
    parse_docker_host,
    unreachable_engine,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)

ALICE = Account("alice", 1000, 1000, "/home/alice", (1000, 998))
ANSWERS = {
    "/version": json.dumps({"Version": "28.0.4", "ApiVersion": "1.48", "Components": [{"Name": "Engine"}]}).encode(),
    "/info": json.dumps({"CgroupVersion": "2", "Runtimes": {"runc": {}}, "OperatingSystem": "Debian"}).encode(),
}
Serve = Callable[..., Path]


def machine_at(root: Path, **environ: str) -> Machine:
    return Machine(root=root, environ={"PATH": "/usr/bin", **environ}, system="Linux", architecture="x86_64")


@pytest.mark.parametrize(
    ("name", "kind", "version", "cgroup", "nvidia", "rootless"),
    [
        ("cpu-recorded", "native", "20.10.24+dfsg1", "1", False, False),
        ("dgx-spark", "native", "28.3.3", "2", True, False),
        ("wsl-rtx-laptop", "desktop", "28.3.2", "2", True, False),
        ("podman", "podman", "5.5.2", "2", False, False),
        ("colima", "colima", "28.0.4", "2", False, False),
        ("rootless", "native", "28.0.4", "2", False, True),
    ],
)
def test_engines(
    machine_named: Callable[[str], Machine],
    name: str,
    kind: str,
    version: str,
    cgroup: str,
    nvidia: bool,
    rootless: bool,
) -> None:
    engine = find_engine(machine_named(name), ALICE)
    assert engine["reachable"] is True
    assert (engine["code"], engine["reason"]) == (None, None)
    assert (engine["kind"], engine["version"], engine["cgroup_version"]) == (kind, version, cgroup)
    assert (engine["nvidia_runtime"], engine["rootless"]) == (nvidia, rootless)
    assert engine["runtimes"] == sorted(engine["runtimes"]) != []


@pytest.mark.parametrize(
    ("commands", "kind", "code", "words"),
    [
        ([], "none", "absent", "No container engine is installed"),
        (["docker"], "none", "absent", "The docker command is installed"),
        (["docker", "dockerd"], "native", "daemon_stopped", "systemctl start docker)"),
        (["podman"], "podman", "daemon_stopped", "systemctl start podman.socket"),
    ],
)
def test_without_a_socket(
    tmp_path: Path, write_command: Callable, commands: list[str], kind: str, code: str, words: str
) -> None:
    for command in commands:
        write_command(tmp_path / "usr/bin" / command, "exit 64")
    engine = find_engine(machine_at(tmp_path), ALICE)
    assert (engine["kind"], engine["reachable"], engine["code"]) == (kind, False, code)
    assert words in engine["reason"]


@pytest.mark.parametrize("sign", ["mnt/wsl/docker-desktop", "mnt/c/Program Files/Docker/Docker"])
def test_a_docker_desktop_that_does_not_run_is_not_absent(tmp_path: Path, write_command: Callable, sign: str) -> None:
    (tmp_path / sign).mkdir(parents=True)
    write_command(tmp_path / "usr/bin/docker", "exit 64")
    engine = find_engine(machine_at(tmp_path), ALICE)
    assert (engine["kind"], engine["reachable"], engine["code"]) == ("desktop", False, "daemon_stopped")
    assert "start it on Windows" in engine["reason"]


def test_socket_of_a_stopped_daemon(short_path: Path) -> None:
    (short_path / "var/run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(short_path / "var/run/docker.sock"))
    engine = find_engine(machine_at(short_path), ALICE)
    assert (engine["kind"], engine["code"]) == ("native", "daemon_stopped")
    assert engine["endpoint"] == "unix:///var/run/docker.sock"


def test_first_socket_that_answers_wins(short_path: Path, serve: Serve) -> None:
    (short_path / "var/run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(short_path / "var/run/docker.sock"))
    serve("/run/user/1000/docker.sock", ANSWERS)
    engine = find_engine(machine_at(short_path), ALICE)
    assert (engine["reachable"], engine["endpoint"]) == (True, "unix:///run/user/1000/docker.sock")


@pytest.fixture
def denied_socket(short_path: Path, serve: Serve) -> Path:
    """Serve an engine on a socket that nobody but root may open, in a folder that everybody may enter."""
    short_path.chmod(0o755)
    path = serve("/var/run/docker.sock", ANSWERS)
    path.chmod(0)
    return path


@pytest.fixture
def ordinary_user() -> Iterator[Account]:
    """Be a user who may not open everything: root becomes nobody for the length of the test."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(find_account("nobody").uid)
    yield find_account()
    os.seteuid(before)


def test_denied_socket(short_path: Path, denied_socket: Path, ordinary_user: Account) -> None:
    engine = find_engine(machine_at(short_path), ordinary_user)
    assert (engine["reachable"], engine["code"]) == (False, "permission_denied")
    assert f"usermod -aG docker {ordinary_user.name}" in engine["reason"]


def test_hanging_engine_ends_with_the_limit(short_path: Path) -> None:
    (short_path / "var/run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short_path / "var/run/docker.sock"))
        silent.listen(5)
        engine = find_engine(machine_at(short_path), ALICE, limit_s=0.2)
    assert (engine["code"], engine["reachable"]) == ("timeout", False)
    assert "0.2 s" in engine["reason"]


@pytest.mark.parametrize(
    ("answers", "status", "words"),
    [
        ({}, 200, "HTTP status 404"),
        (ANSWERS, 500, "HTTP status 500"),
        ({"/version": b"<html>", "/info": b"{}"}, 200, "is not JSON"),
        ({"/version": b"[1]", "/info": b"{}"}, 200, "is not a JSON object"),
        ({"/version": b"\xff\xfe\xfa", "/info": b"{}"}, 200, "is not JSON"),
        ({"/version": b'"' + b"x" * 2_000_000 + b'"', "/info": b"{}"}, 200, "more than 1048576 bytes"),
    ],
)
def test_something_else_on_the_socket(short_path: Path, serve: Serve, answers: dict, status: int, words: str) -> None:
    serve("/var/run/docker.sock", answers, status)
    engine = find_engine(machine_at(short_path), ALICE)
    assert (engine["code"], engine["reachable"]) == ("unexpected_answer", False)
    assert words in engine["reason"]


def test_docker_host_names_a_socket(short_path: Path, serve: Serve) -> None:
    serve("/elsewhere.sock", ANSWERS)
    serve("/var/run/docker.sock", {})
    engine = find_engine(machine_at(short_path, DOCKER_HOST="unix:///elsewhere.sock"), ALICE)
    assert (engine["reachable"], engine["endpoint"]) == (True, "unix:///elsewhere.sock")


def test_docker_host_names_a_closed_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    engine = find_engine(machine_at(tmp_path, DOCKER_HOST=f"tcp://127.0.0.1:{port}"), ALICE)
    assert (engine["code"], engine["endpoint"]) == ("daemon_stopped", f"tcp://127.0.0.1:{port}")
    assert engine["user_has_access"] is None


@pytest.mark.parametrize(
    "environ",
    [
        {"DOCKER_HOST": "ssh://me:secret@elsewhere"},
        {"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1"},
    ],
)
def test_docker_host_that_we_do_not_speak(tmp_path: Path, environ: dict[str, str]) -> None:
    engine = find_engine(machine_at(tmp_path, **environ), ALICE)
    assert (engine["reachable"], engine["code"]) == (False, "unsupported_endpoint")
    assert "secret" not in json.dumps(engine)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("unix:///var/run/docker.sock", Endpoint("unix:///var/run/docker.sock", "/var/run/docker.sock")),
        ("unix://relative", None),
        ("tcp://10.0.0.1:2375", Endpoint("tcp://10.0.0.1:2375", None, "10.0.0.1", 2375)),
        ("tcp://10.0.0.1", Endpoint("tcp://10.0.0.1:2375", None, "10.0.0.1", 2375)),
        ("tcp://[::1]:2375", Endpoint("tcp://[::1]:2375", None, "::1", 2375)),
        ("http://10.0.0.1:1", Endpoint("tcp://10.0.0.1:1", None, "10.0.0.1", 1)),
        ("tcp://", None),
        ("tcp://host:port", None),
        ("tcp://[broken", None),
        ("https://10.0.0.1", None),
        ("/var/run/docker.sock", None),
    ],
)
def test_docker_host(value: str, expected: Endpoint | None) -> None:
    assert parse_docker_host(value) == expected


@pytest.mark.parametrize(
    ("version", "info"),
    [
        ({}, {}),
        ({"Version": None, "Components": None}, {"Runtimes": None, "SecurityOptions": None, "Name": None}),
        ({"Components": ["odd", {"Other": 1}]}, {"Runtimes": ["runc"], "SecurityOptions": "odd", "OperatingSystem": 5}),
    ],
)
def test_odd_answers_of_an_engine(version: dict[str, Any], info: dict[str, Any]) -> None:
    engine = describe_engine(Endpoint("unix:///s", "/s"), version, info)
    assert (engine["kind"], engine["version"], engine["runtimes"], engine["rootless"]) == ("native", None, [], False)


def test_unreachable_and_reachable_have_the_same_keys() -> None:
    answer = describe_engine(Endpoint("unix:///s", "/s"), {}, {})
    assert list(unreachable_engine("timeout", "none", "Hung.")) == list(answer)


@pytest.mark.parametrize(
    ("mode", "uid", "groups", "expected"),
    [
        (0o660, 0, (), True),
        (0o660, os.geteuid(), (), True),
        (0o660, 4242, (os.getegid(),), True),
        (0o600, 4242, (os.getegid(),), False),
        (0o660, 4242, (4242,), False),
        (0o666, 4242, (4242,), True),
    ],
)
def test_access_of_the_owner(short_path: Path, mode: int, uid: int, groups: tuple[int, ...], expected: bool) -> None:
    path = short_path / "docker.sock"
    path.touch()
    path.chmod(mode)
    assert may_use_socket(machine_at(short_path), Account("x", uid, 1, "/", groups), "/docker.sock") is expected


def test_access_to_what_is_not_there(short_path: Path) -> None:
    assert may_use_socket(machine_at(short_path), ALICE, "/docker.sock") is None


def context(root: Path, home: str, name: str, host: str, current: bool = True) -> None:
    """Write a context as C(docker context create) and C(docker context use) do."""
    folder = root / home.lstrip("/") / ".docker"
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


@pytest.mark.parametrize(
    ("environ", "current", "host"),
    [
        ({}, True, "unix:///run/user/1000/docker.sock"),
        ({}, False, ""),
        ({"DOCKER_CONTEXT": "rootless"}, False, "unix:///run/user/1000/docker.sock"),
        ({"DOCKER_CONTEXT": "default"}, True, ""),
        ({"DOCKER_CONTEXT": "not-there"}, True, ""),
    ],
)
def test_the_engine_of_the_accounts_context(tmp_path: Path, environ: dict[str, str], current: bool, host: str) -> None:
    """Both engines run, the user is in the group docker: 0.1.0 took the one of root, which docker of that user does not use."""
    account = find_account()._replace(home="/home/lab")
    context(tmp_path, "/home/lab", "rootless", "unix:///run/user/1000/docker.sock", current)
    machine = Machine(root=tmp_path, environ=environ)
    assert find_context_host(machine, account) == host
    if host:
        assert find_engine(machine, account)["endpoint"] == host
        other = Machine(root=tmp_path, environ={**environ, "DOCKER_HOST": "unix:///run/other.sock"})
        assert find_engine(other, account)["endpoint"] == "unix:///run/other.sock"
