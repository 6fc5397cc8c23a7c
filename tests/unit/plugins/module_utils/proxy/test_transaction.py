# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the auth proxy's transaction. The transaction itself runs on a host with systemd: tests/real/test_gate_killed.py."""

from __future__ import annotations

import grp
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import tell_openness
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import service, transaction
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import Gate, ProxySettings

OLLAMA = {"port": 11434, "address": "127.0.0.1", "scope": "loopback", "family": "ipv4", "uid": 1000, "user": "lab"}
OLLAMA |= {"pid": 7, "process": "ollama"}
OPEN = {**OLLAMA, "address": "0.0.0.0", "scope": "any"}
UNSEEN = {**OPEN, "address": "::", "family": "ipv6", "process": None, "user": None, "pid": None}
CLOSED = "Nothing on port 11434 is open to the network right now."


@pytest.mark.parametrize(
    ("listeners", "says"),
    [
        ([OLLAMA], CLOSED),
        ([], CLOSED),
        ([{**OPEN, "port": 80}], CLOSED),
        (None, "check with ss -ltn whether port 11434 is open"),
        ([OPEN, OLLAMA], "without a token: ollama of the user lab listens on 0.0.0.0. Stop it"),
        ([UNSEEN], "a process of the user 1000 listens on ::. Stop it"),
        ([OPEN], "if its environment has OLLAMA_HOST=127.0.0.1:11434."),
    ],
)
def test_how_open_a_host_is_that_gets_no_proxy(listeners: list[dict[str, Any]] | None, says: str) -> None:
    assert says in tell_openness(listeners, [11434])


@pytest.fixture
def gate() -> Gate:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return Gate("ollama", first.getsockname()[1], upstream_port=second.getsockname()[1])


def host(root: Path, *programs: str, systemd: bool = True) -> Machine:
    for program in (*programs, *(["systemctl"] if systemd else [])):
        path = root / "usr/bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    if systemd:
        (root / "run/systemd/system").mkdir(parents=True)
    return Machine(root)


@pytest.mark.parametrize(
    ("programs", "systemd", "may_install", "changes", "code", "says"),
    [
        (["nginx"], True, False, {}, None, ""),
        (["apt-get"], True, True, {}, None, ""),
        (["apt-get"], True, False, {}, "package_not_installed", "host_package"),
        (
            [],
            True,
            True,
            {},
            "package_manager_missing",
            "no package manager was found to install it. Install nginx",
        ),
        (["nginx"], False, False, {}, "systemd_missing", "does not run systemd. Boot the host with systemd"),
        (["nginx"], False, False, {}, "systemd_missing", "Nothing was changed. Nothing on port"),
        (["nginx"], True, False, {"port": 80}, "proxy_settings_invalid", "between 1024 and 65535"),
    ],
)
def test_what_stands_against_it(
    tmp_path: Path,
    gate: Gate,
    programs: list[str],
    systemd: bool,
    may_install: bool,
    changes: dict[str, Any],
    code: str | None,
    says: str,
) -> None:
    desired = transaction.Desired(ProxySettings([gate._replace(**changes)]), find_account())
    machine = host(tmp_path, *programs, systemd=systemd)
    if code is None:
        assert transaction.foresee(machine, desired, may_install).endswith("/nginx")
        return
    with pytest.raises(Failure) as stopped:
        transaction.foresee(machine, desired, may_install)
    assert (stopped.value.code, says in stopped.value.message) == (code, True), stopped.value.message


def test_whoever_holds_the_port_is_named(tmp_path: Path, gate: Gate) -> None:
    with socket.create_server(("127.0.0.1", gate.port)), pytest.raises(Failure) as stopped:
        transaction.foresee(host(tmp_path, "nginx"), transaction.Desired(ProxySettings([gate]), find_account()))
    assert stopped.value.code == "port_taken"


class AsRoot:
    """The module os with another user, for the transaction alone: whoever runs the tests works on files as himself."""

    def __init__(self, uid: int = 0) -> None:
        self._uid = uid

    def geteuid(self) -> int:
        return self._uid

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class FakeSystemd:
    """Says what it is told, and keeps what it is asked for: the real one is asked on a host that runs it."""

    def __init__(self, active: str, enabled: bool, stale: bool) -> None:
        self.active, self.enabled, self.stale, self.pid = active, enabled, stale, 0
        self.done: list[str] = []

    def __call__(self, _machine: Machine) -> FakeSystemd:
        return self

    def is_running(self, _machine: Machine) -> bool:
        return True

    def show(self, _unit: str) -> FakeSystemd:
        return self

    def do(self, verb: str, *_names: str) -> None:
        self.done.append(verb)


@pytest.mark.parametrize(
    ("active", "enabled", "stale", "is_changed", "is_read", "done"),
    [
        ("active", True, False, False, True, []),
        ("active", True, False, False, False, ["reload"]),
        ("reloading", True, False, False, False, ["reload"]),
        ("active", True, False, True, False, ["daemon-reload", "restart"]),
        ("active", True, True, False, True, ["daemon-reload", "restart"]),
        ("active", False, False, False, True, ["enable"]),
        ("active", False, False, False, False, ["enable", "reload"]),
        ("inactive", True, False, False, True, ["restart"]),
        ("failed", False, False, True, False, ["daemon-reload", "enable", "restart"]),
        ("activating", True, False, False, False, ["restart"]),
    ],
)
def test_a_restart_is_only_where_a_reload_will_not_do(
    monkeypatch: pytest.MonkeyPatch,
    active: str,
    enabled: bool,
    stale: bool,
    is_changed: bool,
    is_read: bool,
    done: list[str],
) -> None:
    systemd = FakeSystemd(active, enabled, stale)
    monkeypatch.setattr(service, "Systemd", systemd)
    planned = service.serve(Machine(), is_changed, is_read, check_mode=True)
    assert systemd.done == [], "check mode only says it"
    assert service.serve(Machine(), is_changed, is_read, check_mode=False) == planned
    assert systemd.done == done
    assert [one.split()[0].replace("start", "restart").replace("rerestart", "restart") for one in planned] == [
        one for one in done if one != "daemon-reload"
    ]


def test_only_root_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "os", AsRoot(1000))
    with pytest.raises(Failure) as stopped:
        transaction.remove(Machine(), 0, check_mode=True)
    assert stopped.value.code == "root_needed"


def test_another_run_is_waited_for_and_then_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transaction, "_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(transaction, "os", AsRoot())
    with transaction._alone(0, check_mode=False):
        with pytest.raises(Failure) as stopped, transaction._alone(0.3, check_mode=False):
            pass
        with transaction._alone(0, check_mode=True):
            pass
    assert stopped.value.code == "rotation_running"
    with transaction._alone(0, check_mode=False):
        pass


def test_a_disk_that_is_full_is_a_failure_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transaction, "_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(transaction, "os", AsRoot())
    with pytest.raises(Failure) as stopped, transaction._alone(0, check_mode=False):
        raise OSError(28, "No space left on device")
    assert (stopped.value.code, "No space left" in stopped.value.message) == ("gate_unwritable", True)


class Lab:
    """A host in a folder: its files, a systemd that does what it is told, and a proof that is what the test says."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systemd = FakeSystemd("inactive", enabled=False, stale=False)
        self.refused: Failure | None = None
        self.complaint = ""
        self.ran: list[str] = []
        me, group = find_account(), grp.getgrgid(os.getegid()).gr_name
        self.account = me._replace(home=str(root / "home"))
        (root / "home").mkdir()
        self.paths = {name: root / name.lower() for name in ("CONFIG", "UNIT_PATH", "TOKENS", "RUN", "STATE", "_LOCK")}
        self.paths |= {
            "TEMP": self.paths["STATE"] / "temp",
            "BEFORE": self.paths["STATE"] / "before",
            "LOADED": root / "loaded",
        }
        for name, path in self.paths.items():
            self._replace(monkeypatch, name, str(path))
        for name, value in {
            "ACCOUNT": group,
            "Systemd": self.systemd,
            "foresee": lambda *_arguments, **_words: "/usr/sbin/nginx",
            "find_gate": self.find_gate,
            "free_ports": lambda *_arguments: [],
            "bring_to_loopback": lambda *_arguments: [],
            "compare_gates": self.compare,
            "prove_gates": self.prove,
            "make_folders": lambda: self.paths["RUN"].mkdir(exist_ok=True),
            "_run": self.run,
        }.items():
            self._replace(monkeypatch, name, value)
        monkeypatch.setattr(transaction, "os", AsRoot())
        monkeypatch.setattr(self.systemd, "do", self.do)
        self.has_account = False

    @staticmethod
    def _replace(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
        """Replace it in the transaction and in its steps, where they have it."""
        having = [one for one in (transaction, service) if hasattr(one, name)]
        assert having, name
        for one in having:
            monkeypatch.setattr(one, name, value)

    def do(self, verb: str, *_names: str) -> None:
        systemd = self.systemd
        systemd.done.append(verb)
        systemd.active = {"restart": "active", "disable": "inactive"}.get(verb, systemd.active)
        systemd.enabled = {"enable": True, "disable": False}.get(verb, systemd.enabled)

    def run(self, _machine: Machine, program: str, *_words: str) -> str:
        self.ran.append(Path(program).name)
        self.has_account = {"useradd": True, "userdel": False}.get(Path(program).name, self.has_account)
        return self.complaint if self.ran[-1] == "nginx" else ""

    def find_gate(self, _machine: Machine) -> dict[str, Any]:
        gates = [{"name": "ollama", "port": 11435, "probe_path": "/v1/models"}]
        return {"nginx": "", "account": self.has_account, "unit": self.paths["UNIT_PATH"].exists(), "gates": gates}

    def compare(
        self, _gates: object, _account: object, _path: str, _user: str, _unit: str, files: list[dict[str, str]]
    ) -> dict[str, Any]:
        found = [{"path": one["path"], "content": transaction._content(one["path"])} for one in files]
        wrong = [new["path"] for new, old in zip(files, found) if new["content"] != old["content"]]
        runs = self.systemd.active == "active" and not self.paths["BEFORE"].exists()
        return {"converged": not wrong and runs and not self.refused, "found": found, "wrong": wrong, "gates": []}

    def prove(self, *_arguments: object) -> list[dict[str, Any]]:
        if self.refused and "max_body_size 7m" not in self.paths["CONFIG"].read_text():
            return []
        if self.refused:
            raise self.refused
        return [{"name": "ollama", "outcome": "serving"}]

    def desired(self, overlap: int = 3600, **settings: Any) -> transaction.Desired:
        return transaction.Desired(
            ProxySettings([Gate("ollama", 11435, upstream_port=11434)], **settings), self.account, None, overlap
        )

    def ensure(self, check_mode: bool = False, **settings: Any) -> transaction.Report:
        return transaction.ensure(Machine(), self.desired(**settings), check_mode)

    def texts(self) -> list[str | None]:
        return [transaction._content(str(self.paths[name])) for name in ("CONFIG", "UNIT_PATH", "BEFORE")]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


DOES_NOT = {"max_body_size": "7m"}


def test_from_nothing_to_a_proxy_and_back(lab: Lab) -> None:
    planned = lab.ensure(check_mode=True)
    assert lab.texts() == [None, None, None]
    made = lab.ensure()
    assert made.actions == planned.actions
    assert (lab.systemd.done, lab.ran) == (["daemon-reload", "enable", "restart"], ["useradd", "nginx"])
    assert (made.gates[0]["outcome"], lab.texts()[2]) == ("serving", None)
    assert (lab.ensure().actions, lab.ensure().as_result()["changed"]) == ([], False)
    changed = lab.ensure(read_timeout=7)
    assert [one.split()[0] for one in changed.actions] == ["write", "reload"]
    gone = transaction.remove(Machine(), 0, check_mode=False)
    assert gone.as_result()["changed"]
    assert (lab.texts(), lab.has_account) == ([None, None, None], False)
    assert transaction.remove(Machine(), 0, check_mode=False).actions == []


def test_what_does_not_serve_makes_room_for_what_did(lab: Lab) -> None:
    lab.ensure()
    before = lab.texts()
    lab.refused = Failure("backend_down", "It is down.")
    with pytest.raises(Failure, match=r"It is down\. The previous auth proxy is restored and works\.") as stopped:
        lab.ensure(**DOES_NOT)
    assert (stopped.value.code, lab.texts()) == ("backend_down", before)


def test_after_a_run_that_was_killed_the_way_back_leads_to_what_was_proved(lab: Lab) -> None:
    lab.ensure()
    before = lab.texts()
    with pytest.MonkeyPatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(transaction, "prove_gates", lambda *_arguments: (one for one in ()).throw(KeyboardInterrupt))
        lab.ensure(memory_max="1G", **DOES_NOT)
    assert lab.texts()[2] is not None
    lab.refused = Failure("backend_down", "It is down.")
    with pytest.raises(Failure, match="restored and works"):
        lab.ensure(memory_max="1G", **DOES_NOT)
    assert lab.texts() == before
    lab.refused = None
    assert lab.ensure().actions == []


def test_what_never_served_is_taken_away(lab: Lab) -> None:
    lab.refused = Failure("backend_down", "It is down.")
    with pytest.raises(Failure, match=r"none remains\. The token stays\."):
        lab.ensure(**DOES_NOT)
    assert lab.texts() == [None, None, None]
    assert Path(lab.desired().token_file).exists()


def test_a_home_that_takes_no_token_leaves_nothing_of_the_proxy(lab: Lab, tmp_path: Path) -> None:
    """The account and the file of tokens were made before the token could not be: they stayed, and nobody named them."""
    (tmp_path / "home").rmdir()
    with pytest.raises(Failure, match=r"There was no auth proxy before, and none remains\.$") as stopped:
        lab.ensure()
    assert (stopped.value.code, lab.ran, lab.has_account) == ("token_unwritable", ["useradd", "userdel"], False)
    assert not lab.paths["TOKENS"].exists()
    (tmp_path / "home").mkdir()
    lab.ensure()
    shutil.rmtree(tmp_path / "home")
    with pytest.raises(Failure, match=r"the file system has space\.$"):
        lab.ensure()
    assert lab.has_account, "what was there before stays"


def test_nothing_of_ours_is_put_back_where_nothing_was_changed(lab: Lab) -> None:
    lab.ensure(**DOES_NOT)
    lab.refused = Failure("backend_down", "It is down.")
    with pytest.raises(Failure, match=r"^It is down\.$"):
        lab.ensure(**DOES_NOT)
    assert lab.texts()[2] is None


def test_nginx_has_a_say_before_anything_is_replaced(lab: Lab) -> None:
    lab.ensure()
    before, lab.complaint = lab.texts(), "bind() to 198.51.100.7:11435 failed"
    with pytest.raises(Failure, match=r"bind\(\) to 198.51.100.7:11435 failed") as stopped:
        lab.ensure(listen=["198.51.100.7"])
    assert (stopped.value.code, lab.texts()) == ("proxy_config_refused", before)


def test_a_rotation_its_end_and_one_that_is_taken_back(lab: Lab) -> None:
    with pytest.raises(Failure) as stopped:
        transaction.rotate(Machine(), lab.desired(), check_mode=False)
    assert stopped.value.code == "proxy_missing"
    lab.ensure()
    file = Path(lab.desired().token_file)
    first = file.read_text()
    assert transaction.rotate(Machine(), lab.desired(), check_mode=True).as_result()["changed"]
    assert file.read_text() == first
    rotated = transaction.rotate(Machine(), lab.desired(), check_mode=False)
    assert file.read_text() != first
    assert (
        "remains valid until the role proxy, or its tasks_from=drop_previous, runs at least 3600 seconds"
        in rotated.summary
    )
    ended = transaction.commit(Machine(), lab.desired(), check_mode=False)
    assert (ended.as_result()["changed"], ended.summary.endswith("The previous one is no longer valid.")) == (
        True,
        True,
    )
    assert not transaction.commit(Machine(), lab.desired(), check_mode=False).as_result()["changed"]
    second = file.read_text()
    with pytest.MonkeyPatch.context() as silent, pytest.raises(Failure) as stopped:
        silent.setattr(
            transaction,
            "prove_gates",
            lambda *_arguments: (one for one in ()).throw(Failure("proxy_silent", "No answer.")),
        )
        transaction.rotate(Machine(), lab.desired(), check_mode=False)
    assert (stopped.value.code, stopped.value.message) == (
        "proxy_silent",
        "No answer. The token was not rotated: the previous one remains valid.",
    )
    assert [one.read_text() for one in file.parent.iterdir()] == [second]


def test_workers_that_take_connections_are_told_by_their_titles(tmp_path: Path) -> None:
    (tmp_path / "proc/7/task/7").mkdir(parents=True)
    (tmp_path / "proc/7/task/7/children").write_text("8 9 10 ")
    for pid, title in ((8, "nginx: worker process"), (9, "nginx: worker process is shutting down"), (10, "sh")):
        (tmp_path / f"proc/{pid}").mkdir()
        (tmp_path / f"proc/{pid}/cmdline").write_text(title + "\0")
    assert service._accepting(Machine(tmp_path), 7) == {8}
    assert service._accepting(Machine(tmp_path), 0) == set()
