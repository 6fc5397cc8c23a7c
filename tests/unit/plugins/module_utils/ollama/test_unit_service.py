# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon that is a unit, or should be: a double answers, and files of a folder are the kernel's tables and systemd's answers.

With systemd itself it is molecule's scenario ollama_service; here are the cases that a host cannot be brought into, or not safely.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import archive as install
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import dropin, presence, upgrade
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.installation import Installation
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.presence import Found
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service import converge
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service_plan import Desired, Report

PID = 4242
LOOPBACK, ANY, CARD = "0100007F", "00000000", "0500A8C0"
# Restarting moves the listener to loopback, stopping ends it; everything is written down.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{root}/orders
case "$*" in
  "--user show "*) cat {root}/users ;;
  *" show other.service"*) cat {root}/other ;;
  *" show "*)
    cat {root}/shown
    ours={root}/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf
    [ -f $ours ] && echo "Environment=$(sed -n 's/^Environment=//p' $ours | tr '\n' ' ')" || : ;;
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

    def _socket(self, address: str, inode: int = 77, uid: int | None = None) -> str:
        uid = os.getuid() if uid is None else uid
        return f"  0: {address}:{self.port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1\n"

    def listen(self, address: str, owner: str | None = None, uid: int | None = None) -> Host:
        """Have the socket on an address; owner: name of the process that we may see to hold it."""
        (self.root / "proc/net/tcp").write_text(self._socket(address, uid=uid), encoding="utf-8")
        if owner:
            self._hold(PID, 77, owner)
        return self

    def also(self, address: str, pid: int, cgroup: str = "") -> Host:
        """Have a second daemon on another address."""
        with (self.root / "proc/net/tcp").open("a", encoding="utf-8") as table:
            table.write(self._socket(address, pid))
        self._hold(pid, pid, "ollama")
        (self.root / f"proc/{pid}/cgroup").write_text(f"0::/system.slice/{cgroup}\n", encoding="utf-8")
        return self

    def _hold(self, pid: int, inode: int, name: str) -> None:
        (self.root / f"proc/{pid}/fd").mkdir(parents=True, exist_ok=True)
        (self.root / f"proc/{pid}/fd/3").unlink(missing_ok=True)
        (self.root / f"proc/{pid}/fd/3").symlink_to(f"socket:[{inode}]")
        (self.root / f"proc/{pid}/comm").write_text(name, encoding="utf-8")

    def contained(self, pid: int = PID) -> Host:
        """Have a process see another file system, as in a container."""
        (self.root / "image").mkdir()
        (self.root / f"proc/{pid}/root").symlink_to(self.root / "image")
        return self

    def without_systemd(self) -> Host:
        (self.root / "run/systemd/system").rmdir()
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

    def shown(self, line: str) -> Host:
        """Have systemd say one thing more of the unit."""
        with (self.root / "shown").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        return self

    def make(self, state: str = "started", check: bool = False) -> tuple[Report, Found]:
        return converge(self.machine, find_account(), Desired(state, self.port, {}, True, 2), check)

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


@pytest.mark.parametrize("check", [True, False])
def test_an_environment_file_of_a_pattern_that_opens_it_is_named_without_a_restart(host: Host, check: bool) -> None:
    host.listen(ANY, "ollama").shown("EnvironmentFiles=/etc/ollama.d/*.env (ignore_errors=yes)")
    (host.root / "etc/ollama.d").mkdir()
    (host.root / "etc/ollama.d/lan.env").write_text("OLLAMA_HOST=0.0.0.0:11434\n", encoding="utf-8")
    with pytest.raises(Failure) as failed:
        host.make(check=check)
    assert failed.value.code == "drop_in_overruled"
    assert "/etc/ollama.d/lan.env:1 (OLLAMA_HOST=0.0.0.0:11434)" in failed.value.message
    assert (host.files(), "restart ollama.service" in host.orders()) == ([], False)


@pytest.mark.parametrize("check", [True, False])
def test_what_a_start_with_our_drop_in_did_not_close_is_not_restarted_again(host: Host, check: bool) -> None:
    # ExecStart= is a script of the user's, which sets the address itself: systemd does not know.
    host.listen(ANY, "ollama").make()
    host.listen(ANY, "ollama").shown(f"ExecMainStartTimestampMonotonic={time.monotonic() * 1e6:.0f}")
    (host.root / f"proc/{PID}/environ").write_bytes(b"PATH=/bin\0OLLAMA_HOST=0.0.0.0\0")
    unit = host.root / "etc/systemd/system/ollama.service"
    unit.write_text("[Service]\nExecStart=/opt/start-ollama.sh\n", encoding="utf-8")
    host.shown(f"FragmentPath={unit.relative_to(host.root).as_posix().join(['/', ''])}")
    with pytest.raises(Failure) as failed:
        host.make(check=check)
    assert failed.value.code == "drop_in_overruled"
    assert f"process {PID} was given OLLAMA_HOST=0.0.0.0" in failed.value.message
    assert "/etc/systemd/system/ollama.service:2" in failed.value.message
    assert host.orders().count("restart ollama.service") == 1


def test_a_service_on_the_loopback_of_ipv6_is_brought_to_127_0_0_1(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "identify", lambda daemon: None)  # the double is on 127.0.0.1
    six = f"  0: 00000000000000000000000001000000:{host.port:04X} 00000000000000000000000000000000:0000 0A "
    six += f"00000000:00000000 00:00000000 00000000 {os.getuid()} 0 77 1\n"
    (host.root / "proc/net/tcp6").write_text(six, encoding="utf-8")
    host.listen(LOOPBACK, "ollama")
    (host.root / "proc/net/tcp").write_text("", encoding="utf-8")
    report, found = host.make(check=True)
    assert (report.actions[-1], found.is_local) == ("restart ollama.service", False)
    script = (host.root / "usr/bin/systemctl").read_text(encoding="utf-8")
    script = script.replace(f"cp {host.root}/loopback", f": >{host.root}/proc/net/tcp6; cp {host.root}/loopback")
    (host.root / "usr/bin/systemctl").write_text(script, encoding="utf-8")
    report, found = host.make()
    assert (report.restarted, found.is_local) == (True, True)
    assert host.make()[0].actions == []


def test_a_crash_loop_is_left_at_the_third_crash(host: Host) -> None:
    # As systemd counts: 0 after the start by hand, one more for each start of its own.
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host.port = closed.getsockname()[1]
    host.service(pid=0)
    journal = host.root / "usr/bin/journalctl"
    said = "Error: mkdir /root/private/models: permission denied"
    journal.write_text(
        f"#!/bin/sh\necho 'Started ollama.service.'\necho '{said}'\necho 'ollama.service: Failed'\n", encoding="utf-8"
    )
    journal.chmod(0o755)
    loop = f"""n=$(cat {host.root}/n 2>/dev/null || echo 0); echo $((n+1)) >{host.root}/n
      sed 's/ActiveState=.*/ActiveState=activating/' {host.root}/shown; echo SubState=auto-restart; echo NRestarts=$((n/3))"""
    script = (host.root / "usr/bin/systemctl").read_text(encoding="utf-8")
    script = script.replace(f"cat {host.root}/shown", loop).replace(
        f"cp {host.root}/loopback", f"rm -f {host.root}/n; : cp"
    )
    (host.root / "usr/bin/systemctl").write_text(script, encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(Failure) as failed:
        converge(host.machine, find_account(), Desired("started", host.port, {}, True, 60), False)
    assert time.monotonic() - started < 20
    assert failed.value.code == "ollama_not_started"
    assert f"has crashed 3 times (success). Its log says: {said}." in failed.value.message
    assert failed.value.details["last_logs"][1] == said


@pytest.mark.parametrize("seen", ["ollama", None])
def test_an_exposed_unit_is_restarted_once(host: Host, seen: str | None) -> None:
    # None: root in a container may not see the holder, and the unit's main process of the same user stands for it.
    host.listen(ANY, seen)
    report, found = host.make()
    assert (report.restarted, found.exposed, found.own is not None) == (True, False, True)
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
        ("aaa.conf", "[Service]\nEnvironmentFile=-/etc/default/oll*\n", True),
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


def test_a_unit_that_only_holds_the_process_is_left_alone(host: Host) -> None:
    host.listen(ANY, "ollama").service(pid=0, cgroup="ssh.service").service(pid=1, name="other")
    report, _found = host.make(check=True)
    assert report.path == "/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf"
    assert f"stop process {PID}" in report.actions


# What a container on the host's network is called by its engine (Docker, Podman's Quadlet, Kubernetes), seen with
# `docker run --network host ollama/ollama`: a process named ollama, of root, with files that are not this host's.
@pytest.mark.parametrize("cgroup", ["docker-1a2b.scope", "ollama.service/libpod-payload-1a2b", "kubepods.slice/x"])
@pytest.mark.parametrize("systemd", [True, False])
@pytest.mark.parametrize("check", [True, False])
def test_a_container_on_the_hosts_network_is_not_touched(host: Host, cgroup: str, systemd: bool, check: bool) -> None:
    host.listen(ANY, "ollama").service(pid=1, cgroup=cgroup).contained()
    if not systemd:
        host.without_systemd()
    with pytest.raises(Failure) as failed:
        host.make(check=check)
    assert failed.value.code == "ollama_exposed"
    assert f"a container on the host's own network (process {PID})" in failed.value.message
    assert (host.orders(), host.files()) == ([], [])
    with pytest.raises(Failure) as failed:
        host.make("stopped", check=check)
    assert failed.value.code == "ollama_not_stopped"


def test_a_hardened_service_is_no_container(host: Host) -> None:
    # RootDirectory= or a snap: the unit's main process with files of its own is the unit's all the same.
    host.listen(ANY, "ollama").service(pid=PID, cgroup="ollama.service").contained()
    assert host.make(check=True)[0].actions[-1] == "restart ollama.service"


@pytest.mark.parametrize("systemd", [True, False])
def test_nobody_is_started_as_who_has_no_name(host: Host, systemd: bool) -> None:
    host.listen(ANY, "ollama", uid=2_000_000_123).service(pid=0, cgroup="ssh.service").service(pid=1, name="other")
    if not systemd:
        host.without_systemd()
    failure = host.failing()
    assert (failure.code, "has no name on this host" in failure.message) == ("ollama_exposed", True)
    assert host.orders() == []


@pytest.mark.parametrize("systemd", [True, False])
def test_of_two_daemons_the_exposed_one_is_stopped(host: Host, systemd: bool) -> None:
    # 127.0.0.1 sorts before 192.168.0.5; the healthy one must not be taken for the other.
    host.listen(LOOPBACK, "ollama").service(pid=PID, cgroup="ollama.service").also(CARD, 5555, "session-1.scope")
    if not systemd:
        host.without_systemd()
    report, _found = host.make(check=True)
    assert [action for action in report.actions if not action.startswith("write")] == ["stop process 5555"]


def test_a_service_that_another_daemon_keeps_from_loopback(host: Host) -> None:
    host.listen(CARD, "ollama").service(pid=PID, cgroup="ollama.service").also(LOOPBACK, 5555, "session-1.scope")
    failure = host.failing()
    assert (failure.code, "stop the one or the other" in failure.message) == ("ollama_exposed", True)
    assert (host.orders(), host.files()) == ([], [])


# gnome-terminal is a service of the user's desktop, with a session for each shell that it opens.
@pytest.mark.parametrize(
    ("main", "session", "is_users"), [(1, 77, False), (PID, 77, True), (77, 77, True), (0, 5, True)]
)
def test_a_terminal_of_the_desktop_is_no_unit_of_ollama(host: Host, main: int, session: int, is_users: bool) -> None:
    host.listen(ANY, "ollama").service(pid=0)
    (host.root / f"proc/{PID}/cgroup").write_text(
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/terminal.service\n", encoding="utf-8"
    )
    (host.root / f"proc/{PID}/stat").write_text(f"{PID} (ollama) S 1 {PID} {session} 0\n", encoding="utf-8")
    (host.root / "users").write_text(f"{main}\n", encoding="utf-8")
    if not is_users:
        assert f"stop process {PID}" in host.make(check=True)[0].actions
        return
    failure = host.failing()
    assert (failure.code, "systemctl --user edit terminal.service" in failure.message) == ("ollama_exposed", True)


@pytest.mark.parametrize("failing", ["again", "for good"])
def test_a_drop_in_that_keeps_the_service_from_running_is_taken_back(host: Host, failing: str) -> None:
    host.listen(LOOPBACK).make()
    before = host.machine.read("/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf")
    with (host.root / "shown").open("a", encoding="utf-8") as shown:
        shown.write(f"Environment=OLLAMA_HOST=127.0.0.1:{host.port} BAD=1\n")
    # It does not come up with the variable, and with the old drop-in only where it is not broken otherwise.
    down = (
        "true"
        if failing == "for good"
        else f"grep -q BAD {host.root}/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf"
    )
    script = (host.root / "usr/bin/systemctl").read_text(encoding="utf-8")
    script = script.replace(
        f"cp {host.root}/loopback {host.root}/proc/net/tcp", f"if {down}; then false; else true; fi"
    )
    (host.root / "usr/bin/systemctl").write_text(script, encoding="utf-8")
    with pytest.raises(Failure) as failed:
        converge(host.machine, find_account(), Desired("started", host.port, {"BAD": "1"}, True, 2), False)
    assert failed.value.code == "systemd_failed"
    ending = "answers with it again" if failing == "again" else "does not answer either"
    assert ending in failed.value.message
    assert host.machine.read("/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf") == before
    assert host.orders()[-4:] == ["daemon-reload", "restart ollama.service"] * 2


def test_a_drop_in_that_systemd_does_not_accept_is_taken_back(host: Host) -> None:
    complaint = "/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf:5: Invalid environment assignment"
    analyze = host.root / "usr/bin/systemd-analyze"
    analyze.write_text(f"#!/bin/sh\necho '{complaint}'\necho 'other.service: Nice=99 is ignored'\n", encoding="utf-8")
    analyze.chmod(0o755)
    failure = host.listen(ANY).failing()
    assert (failure.code, complaint in failure.message) == ("drop_in_refused", True)
    assert (host.files(), host.orders()) == ([], ["daemon-reload", "daemon-reload"])


# What an upgrade does about a daemon that it may not restart.
@pytest.mark.parametrize("kind", ["container", "users", "stranger"])
def test_a_daemon_that_an_upgrade_does_not_restart(host: Host, kind: str) -> None:
    host.listen(LOOPBACK, "docker-proxy" if kind == "stranger" else "ollama").service(pid=0)
    if kind == "container":
        host.contained()
    if kind == "users":
        (host.root / f"proc/{PID}/cgroup").write_text(
            "0::/user.slice/user@1000.service/app.slice/ollama.service\n", encoding="utf-8"
        )
    with pytest.raises(Failure) as failed:
        upgrade.find_running(host.machine, host.port, "0.1.0", "/usr/local/bin/ollama")
    assert failed.value.code == "daemon_not_ours"
    assert "Nothing was changed" in failed.value.message


@pytest.mark.parametrize(("version", "code"), [("0.32.9", None), ("0.9.3", "daemon_not_ours")])
def test_a_container_stops_an_installation_only_where_it_is_too_old(
    host: Host, double: Any, version: str, code: str | None
) -> None:
    double.version = version
    host.listen(LOOPBACK, "ollama").service(pid=0).contained()
    archive = host.root / "ollama.tgz"
    archive.write_bytes(b"x")
    known = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    place = str(host.root / "prefix")
    desired = install.Desired(
        "0.32.9", None, "archive", "user", str(archive), known, None, None, place, host.port, True, 1, 1
    )
    machine = Machine(root=host.root, environ={"PATH": "/usr/bin"})
    run = Installation(machine, find_account(), desired, lambda position: None)
    if code:
        with pytest.raises(Failure) as failed:
            run.converge(True)
        assert failed.value.code == code
        return
    (action,) = run.converge(True).actions
    assert action.startswith("install ")


def test_a_drop_in_that_closes_an_open_daemon_stays_even_if_it_does_not_start(host: Host) -> None:
    host.listen(ANY)
    script = (host.root / "usr/bin/systemctl").read_text(encoding="utf-8")
    (host.root / "usr/bin/systemctl").write_text(script.replace("cp ", "false "), encoding="utf-8")
    assert host.failing().code == "systemd_failed"
    assert host.files() == ["zz-nemoclaw.conf"]


def test_by_hand_on_loopback_is_accepted_with_a_warning(host: Host) -> None:
    host.listen(LOOPBACK, "ollama").service(pid=0, cgroup="ssh.service").service(pid=1, name="other")
    report, found = host.make()
    assert (found.own, report.restarted, host.orders()) == (None, False, ["daemon-reload"])
    assert "at the next boot the service runs in its place" in report.warnings[-1]


@pytest.mark.parametrize(("user", "code"), [("nobody", "root_needed"), ("root", "ollama_exposed")])
def test_an_exposed_daemon_that_we_may_not_see(
    host: Host, monkeypatch: pytest.MonkeyPatch, user: str, code: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam(user).pw_uid)
    host.listen(ANY).service(pid=0)
    failure = host.failing()
    assert (failure.code, "become: true" in failure.message) == (code, code == "root_needed")
    assert (host.orders(), host.files()) == ([], [])


@pytest.mark.parametrize("check", [True, False])
def test_a_program_that_was_replaced_while_it_runs_is_looked_for(host: Host, check: bool) -> None:
    host.listen(ANY, "ollama").without_systemd()
    (host.root / f"proc/{PID}/exe").symlink_to("/usr/bin/ollama (deleted)")
    if not check:  # without a program anywhere, the sentence is true
        assert host.failing().code == "ollama_not_installed"
        return
    (host.root / "usr/bin/ollama").write_text("#!/bin/sh\n", encoding="utf-8")
    (host.root / "usr/bin/ollama").chmod(0o755)
    report, _found = host.make(check=True)
    assert report.actions[1].startswith("start /usr/bin/ollama serve as ")


def test_a_daemon_that_is_no_service_is_a_warning(host: Host) -> None:
    host.listen(LOOPBACK, "ollama").service(pid=0)
    (host.root / "shown").write_text("LoadState=not-found\n", encoding="utf-8")
    report, _found = host.make()
    assert (report.changed, "after a reboot" in report.warnings[0]) == (False, True)


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
    assert not host.machine.exists("/etc/systemd/system/ollama.service.d")  # empty, and ours
    assert "user's own settings" in removed.warnings[0]
    assert not host.make("absent")[0].changed
    assert host.make("stopped", check=True)[0].actions == ["stop ollama.service"]
    stopped, found = host.make("stopped")
    assert (stopped.changed, found.running) == (True, False)
    host.service(pid=0)
    assert not host.make("stopped")[0].changed


def test_our_drop_in_is_removed_wherever_it_is_and_whoever_has_the_port(host: Host) -> None:
    # It was written for the user's own unit, which does not run now; a stranger that never answers has the port.
    folder = host.root / "etc/systemd/system/other.service.d"
    host.listen(ANY, "ollama").service(pid=PID, cgroup="other.service", name="other").make()
    assert [path.name for path in folder.iterdir()] == ["zz-nemoclaw.conf"]
    (host.root / "etc/systemd/system/mine.service.d").mkdir()
    mine = host.root / "etc/systemd/system/mine.service.d/zz-nemoclaw.conf"
    mine.write_text("[Service]\n", encoding="utf-8")
    host.service(pid=0, name="other").service(pid=0)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        host.port = hung.getsockname()[1]
        host.listen(ANY, "nginx")
        planned, _found = host.make("absent", check=True)
        assert planned.actions == ["remove /etc/systemd/system/other.service.d/zz-nemoclaw.conf"]
        assert list(folder.iterdir()) != []
        removed, _found = host.make("absent")
    assert (removed.changed, removed.path, folder.exists()) == (True, planned.path, False)
    assert removed.before.endswith('"\n') and removed.after == ""
    assert mine.exists(), "it does not say that it is ours"


def test_a_daemon_that_is_not_ours_is_not_stopped(host: Host) -> None:
    host.listen(LOOPBACK).service(pid=0)
    with pytest.raises(Failure) as failed:
        host.make("stopped")
    assert failed.value.code == "ollama_not_stopped"


# What the service gets besides its address.


def memory(host: Host, mib: int) -> Host:
    (host.root / "proc/meminfo").write_text(
        f"MemTotal: {mib * 1024} kB\nMemAvailable: {mib * 512} kB\n", encoding="utf-8"
    )
    return host


def drop_in(host: Host) -> dict[str, str]:
    return dropin.variables(host.machine.read("/etc/systemd/system/ollama.service.d/zz-nemoclaw.conf") or "")


def ask(host: Host, check: bool = False, **more: Any) -> Report:
    desired = Desired("started", host.port, more.pop("environment", {}), True, 2, 16384, "a:1b")
    return converge(host.machine, find_account(), desired, check)[0]


def test_a_context_for_agents_is_set_once_and_stays(host: Host) -> None:
    memory(host.listen(LOOPBACK, "ollama"), 64_000)
    assert "context of 16384 tokens" in ask(host, check=True).context
    report = ask(host)
    assert "ollama_context_length" in report.context
    assert drop_in(host)["OLLAMA_CONTEXT_LENGTH"] == "16384"
    (host.root / f"proc/{PID}/environ").write_bytes(b"OLLAMA_CONTEXT_LENGTH=16384\0")
    again = ask(memory(host, 100))
    assert (again.changed, again.context) == (False, "")


def test_no_context_is_set_where_the_memory_is_too_small(host: Host) -> None:
    report = ask(memory(host.listen(LOOPBACK, "ollama"), 4000))
    assert "stays at Ollama's default" in report.context
    assert "ollama_context_length" in report.context
    assert "OLLAMA_CONTEXT_LENGTH" not in drop_in(host)


def test_what_is_loaded_with_enough_context_is_not_restarted(host: Host, double: Any) -> None:
    double.loaded, double.context_length = ["a:1b"], 32768
    report = ask(memory(host.listen(LOOPBACK, "ollama"), 64_000))
    assert (report.context, report.restarted, "OLLAMA_CONTEXT_LENGTH" in drop_in(host)) == ("", False, False)


@pytest.mark.parametrize("kind", ["line", "file"])
@pytest.mark.parametrize(("value", "said"), [("8192", True), ("65536", False)])
def test_the_owners_context_stays(host: Host, kind: str, value: str, said: bool) -> None:
    memory(host.listen(LOOPBACK, "ollama"), 64_000)
    path = "/etc/default/ollama" if kind == "file" else "/etc/systemd/system/ollama.service.d/override.conf"
    text = (
        f"OLLAMA_CONTEXT_LENGTH={value}\n"
        if kind == "file"
        else f"[Service]\nEnvironment=OLLAMA_CONTEXT_LENGTH={value}\n"
    )
    (host.root / path.lstrip("/")).parent.mkdir(parents=True)
    (host.root / path.lstrip("/")).write_text(text, encoding="utf-8")
    host.shown(f"EnvironmentFiles={path}" if kind == "file" else f"DropInPaths={path}")
    report = ask(host)
    assert (f"by {path}:{1 if kind == 'file' else 2}" in report.context) == said
    assert "OLLAMA_CONTEXT_LENGTH" not in drop_in(host)


def test_the_owners_keep_alive_is_told(host: Host) -> None:
    host.listen(LOOPBACK, "ollama")
    assert host.make()[0].keep_alive is None
    (host.root / "etc/default").mkdir()
    (host.root / "etc/default/ollama").write_text("OLLAMA_KEEP_ALIVE=-1\n", encoding="utf-8")
    host.shown("EnvironmentFiles=/etc/default/ollama (ignore_errors=yes)")
    assert host.make()[0].keep_alive == "-1"


@pytest.mark.parametrize("address", [ANY, LOOPBACK])
def test_the_environment_of_a_daemon_started_by_hand_goes_into_the_drop_in(host: Host, address: str) -> None:
    # It is closed and the service takes its place now, or it is on loopback and the service does at the next boot.
    host.listen(address, "ollama").service(pid=0, cgroup="ssh.service").service(pid=1, name="other")
    store = host.root / "data/models"
    store.mkdir(parents=True)
    given = "OLLAMA_HOST=0.0.0.0\0OLLAMA_MODELS=/data/models\0OLLAMA_NUM_PARALLEL=4\0HOME=/root\0"
    given += "OLLAMA_API_KEY=canary-5a\0PATH=/bin\0"
    (host.root / f"proc/{PID}/environ").write_text(given, encoding="utf-8")
    planned = host.make(check=True)[0]
    if address == LOOPBACK:
        host.make()
        wanted = {"OLLAMA_HOST": f"127.0.0.1:{host.port}", "OLLAMA_MODELS": "/data/models", "OLLAMA_NUM_PARALLEL": "4"}
        assert drop_in(host) == wanted
        host.service(pid=PID, cgroup="ollama.service")  # after a boot
        assert host.make()[0].actions == []
        assert drop_in(host) == wanted
    assert "OLLAMA_MODELS=/data/models" in planned.after
    assert "OLLAMA_NUM_PARALLEL=4" in planned.after
    assert "canary" not in planned.after + str(planned.warnings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")
def test_a_store_that_the_service_may_not_write_is_said(host: Host) -> None:
    host.listen(LOOPBACK, "ollama").service(pid=0, cgroup="ssh.service").shown("User=nobody").service(
        pid=1, name="other"
    )
    (host.root / "data").mkdir(mode=0o700)
    (host.root / f"proc/{PID}/environ").write_text("OLLAMA_MODELS=/data\0", encoding="utf-8")
    report = host.make(check=True)[0]
    assert "chown -R nobody /data" in report.warnings[0]
    assert "OLLAMA_MODELS" not in report.after


def test_what_was_open_is_said_with_who_was_connected(host: Host) -> None:
    host.listen(ANY, "ollama")
    peer = f"  1: 0500A8C0:{host.port:04X} 0700A8C0:D431 01 00000000:00000000 00:00000000 00000000 0 0 5 1\n"
    local = f"  2: 0100007F:{host.port:04X} 0100007F:D432 01 00000000:00000000 00:00000000 00000000 0 0 6 1\n"
    with (host.root / "proc/net/tcp").open("a", encoding="utf-8") as table:
        table.write(peer + peer.replace("D431", "D433") + local)
    for check in (True, False):
        report = host.make(check=check)[0]
        assert report.closed and report.closed["clients"] == [{"address": "192.168.0.7", "connections": 2}]
        (warning,) = report.warnings
        assert f"it listened on 0.0.0.0 (ollama {PID} of user " in warning
        assert "Connected just now: 192.168.0.7 (2 connections)." in warning
        assert "auth proxy" in warning
        assert ("would be closed" if check else "is closed to them now") in warning
    assert host.make()[0].closed is None
