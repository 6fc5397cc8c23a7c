# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon that is a unit, or should be: a double answers, and files of a folder are the kernel's tables and systemd's answers.

With systemd itself it is molecule's scenario ollama_service; here are the cases that a host cannot be brought into, or not safely.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.presence import Found
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.service import converge
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.wish import Report, Wish

PID = 4242
LOOPBACK, ANY = "0100007F", "00000000"
# Restarting moves the listener to loopback, stopping ends it; everything is written down.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{root}/orders
case "$*" in
  *" show other.service"*) cat {root}/other ;;
  *" show "*) cat {root}/shown ;;
  *" daemon-reload" | *" enable ollama.service") ;;
  *" restart "*) cp {root}/loopback {root}/proc/net/tcp ;;
  *" stop ollama.service") : >{root}/proc/net/tcp ;;
  *) echo "this stand-in knows no $*"; exit 1 ;;
esac
"""


class Host:
    """A machine in a folder, with the double's port in its tables."""

    def __init__(self, root: Path, double: Any) -> None:
        self.root = root
        self.port = double.server_address[1]
        self.machine = Machine(root=root, environ={"PATH": "/usr/bin"})
        for folder in ("run/systemd/system", "usr/bin", f"proc/{PID}/fd", "proc/net", "etc/systemd/system"):
            (root / folder).mkdir(parents=True)
        (root / "usr/bin/systemctl").write_text(SYSTEMCTL.format(root=root), encoding="utf-8")
        (root / "usr/bin/systemctl").chmod(0o755)
        (root / "loopback").write_text(self._socket(LOOPBACK), encoding="utf-8")
        self.service(pid=PID, cgroup="ollama.service")

    def _socket(self, address: str) -> str:
        uid = os.getuid()
        return f"  0: {address}:{self.port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {uid} 0 77 1\n"

    def listen(self, address: str, owner: str | None = None) -> Host:
        """Have the socket on an address; owner: name of the process that we may see to hold it."""
        (self.root / "proc/net/tcp").write_text(self._socket(address), encoding="utf-8")
        if owner:
            (self.root / f"proc/{PID}/fd/3").symlink_to("socket:[77]")
            (self.root / f"proc/{PID}/comm").write_text(owner, encoding="utf-8")
        return self

    def service(self, pid: int = 0, cgroup: str = "", name: str = "shown") -> Host:
        """Have the unit's main process, and the daemon's control group."""
        text = (
            f"LoadState=loaded\nActiveState={'active' if pid else 'inactive'}\nMainPID={pid}\nUnitFileState=enabled\n"
            f"Environment=OLLAMA_HOST=127.0.0.1:{self.port}\nResult=success\nNeedDaemonReload=no\n"
        )
        (self.root / name).write_text(text, encoding="utf-8")
        if cgroup:
            (self.root / f"proc/{PID}/cgroup").write_text(f"0::/system.slice/{cgroup}\n", encoding="utf-8")
        return self

    def make(self, state: str = "started", check: bool = False) -> tuple[Report, Found]:
        return converge(self.machine, find_account(), Wish(state, self.port, {}, True, 2), check)

    def failing(self) -> Failure:
        with pytest.raises(Failure) as failed:
            self.make()
        return failed.value

    def orders(self) -> list[str]:
        """Return what systemd was told to do, questions left out."""
        lines = (self.machine.read("/orders") or "").splitlines()
        return [" ".join(line.split()[2:]) for line in lines if " show " not in line]

    def files(self) -> list[str]:
        return self.machine.names("/etc/systemd/system/ollama.service.d")


@pytest.fixture
def host(tmp_path: Path, double: Any) -> Host:
    return Host(tmp_path, double)


@pytest.mark.parametrize("seen", ["ollama", None])
def test_an_exposed_unit_is_restarted_once(host: Host, seen: str | None) -> None:
    # None: root in a container may not see the holder, and the unit's main process of the same user stands for it.
    host.listen(ANY, seen)
    report, found = host.make()
    assert (report.restarted, found.exposed, found.is_units) == (True, False, True)
    assert host.orders() == ["daemon-reload", "restart ollama.service"]
    assert host.files() == ["zz-nemoclaw.conf"]
    assert host.make()[0].actions == []
    assert len(host.orders()) == 2


def test_a_unit_on_loopback_gets_its_drop_in_and_keeps_its_models(host: Host) -> None:
    host.listen(LOOPBACK)
    report, _found = host.make()
    assert (report.changed, report.restarted, host.orders()) == (True, False, ["daemon-reload"])
    assert host.files() == ["zz-nemoclaw.conf"]


def test_the_users_own_unit_gets_the_drop_in(host: Host) -> None:
    host.listen(ANY, "ollama").service(pid=PID, cgroup="other.service", name="other")
    report, _found = host.make()
    assert report.path == "/etc/systemd/system/other.service.d/zz-nemoclaw.conf"
    assert host.orders() == ["daemon-reload", "restart other.service"]


@pytest.mark.parametrize(
    ("name", "text", "overruled"),
    [
        ("zzz.conf", "[Service]\nEnvironment=OLLAMA_HOST=0.0.0.0\n", True),
        ("zzz.conf", "[Service]\nEnvironment=\n", True),
        ("zzz.conf", "[Service]\nEnvironmentFile=-/etc/default/ollama\n", True),
        ("aaa.conf", "[Service]\nEnvironmentFile=/etc/default/ollama\n", True),
        ("zzz.conf", "[Service]\nEnvironmentFile=-/etc/default/nothing\n", False),
        ("zzz.conf", "[Service]\n# Environment=OLLAMA_HOST=0.0.0.0\nEnvironment=A=1\n", False),
        ("zzz.txt", "[Service]\nEnvironment=OLLAMA_HOST=0.0.0.0\n", False),
        ("override.conf", "[Service]\nEnvironment=OLLAMA_HOST=0.0.0.0\n", False),
    ],
)
def test_check_mode_foresees_who_overrules_the_drop_in(host: Host, name: str, text: str, overruled: bool) -> None:
    folder = host.root / "etc/systemd/system/ollama.service.d"
    folder.mkdir()
    (folder / name).write_text(text, encoding="utf-8")
    (host.root / "etc/default").mkdir()
    (host.root / "etc/default/ollama").write_text("OLLAMA_HOST=0.0.0.0\n", encoding="utf-8")
    host.listen(ANY, "ollama")
    if not overruled:
        assert "restart ollama.service" in host.make(check=True)[0].actions
        return
    with pytest.raises(Failure) as failed:
        host.make(check=True)
    assert failed.value.code == "drop_in_overruled"
    where = "/etc/default/ollama" if "EnvironmentFile" in text else f"/etc/systemd/system/ollama.service.d/{name}"
    assert failed.value.details["files"] == [where]
    assert (host.orders(), host.files()) == ([], [name])


@pytest.mark.parametrize("cgroup", ["ssh.service", "docker.service"])
def test_a_unit_that_only_holds_the_process_is_left_alone(host: Host, cgroup: str) -> None:
    host.listen(ANY, "ollama").service(pid=0, cgroup=cgroup).service(pid=1, name="other")
    report, _found = host.make(check=True)
    assert report.path == "/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf"
    assert f"stop process {PID}" in report.actions


def test_by_hand_on_loopback_is_accepted_with_a_warning(host: Host) -> None:
    host.listen(LOOPBACK, "ollama").service(pid=0, cgroup="ssh.service").service(pid=1, name="other")
    report, found = host.make()
    assert (found.is_units, report.restarted, host.orders()) == (False, False, ["daemon-reload"])
    assert "nothing starts it again" in report.warnings[0]


def test_another_users_exposed_daemon_needs_root(host: Host) -> None:
    host.listen(ANY).service(pid=0)
    assert host.failing().code == "root_needed"
    assert (host.orders(), host.files()) == ([], [])


def test_a_containers_port_is_named_and_nothing_is_stopped(host: Host) -> None:
    host.listen(ANY, "docker-proxy").service(pid=0, cgroup="docker.service").service(pid=1, name="other")
    failure = host.failing()
    assert (failure.code, "publish it on 127.0.0.1" in failure.message) == ("ollama_exposed", True)
    assert (host.orders(), host.files()) == ([], [])


def test_what_restarting_does_not_repair_fails(host: Host) -> None:
    host.listen(ANY)
    (host.root / "loopback").write_text((host.root / "proc/net/tcp").read_text(encoding="utf-8"), encoding="utf-8")
    failure = host.failing()
    assert (failure.code, failure.details["listeners"][0]["scope"]) == ("ollama_exposed", "any")


def test_stop_and_remove(host: Host) -> None:
    host.listen(LOOPBACK).make()
    removed, _found = host.make("absent")
    assert (removed.changed, host.files()) == (True, [])
    assert "user's own settings" in removed.warnings[0]
    assert not host.make("absent")[0].changed
    assert host.make("stopped", check=True)[0].actions == ["stop ollama.service"]
    stopped, found = host.make("stopped")
    assert (stopped.changed, found.running) == (True, False)
    host.service(pid=0)
    assert not host.make("stopped")[0].changed


def test_a_daemon_that_is_not_ours_is_not_stopped(host: Host) -> None:
    host.listen(LOOPBACK).service(pid=0)
    with pytest.raises(Failure) as failed:
        host.make("stopped")
    assert failed.value.code == "ollama_not_stopped"
