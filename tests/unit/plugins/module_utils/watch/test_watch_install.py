# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch on a host that is a folder: what differs, what is written, what is left.

A double stands for systemd, since these tests may change none; tests/real/test_playbooks_hosts.py has a real one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import UnitState
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch import compare, install, layout
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.watch.layout import WatchSettings
from ansible_collections.nemoclaw.local_inference.plugins.modules import inference_watch

PROGRAM = b"the program"
SUM = hashlib.sha256(PROGRAM).hexdigest()


@dataclass
class Systemd:
    """Knows the units whose files are there, and does what it is told."""

    root: Path
    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def show(self, unit: str) -> UnitState:
        known = (self.root / layout.unit_path(unit)[1:]).exists()
        active = "active" if unit in self.active else "inactive"
        return UnitState(unit, known, active, 0, {}, [], [], False, unit in self.enabled, "success")

    def do(self, verb: str, *names: str) -> None:
        assert verb in ("daemon-reload", "enable", "start", "restart", "stop", "disable", "reset-failed")
        self.said.append(" ".join([verb, *names]))
        for name in names:
            if verb in ("enable", "start"):
                (self.enabled if verb == "enable" else self.active).add(name)
            elif verb in ("disable", "stop"):
                (self.enabled if verb == "disable" else self.active).discard(name)


@pytest.fixture
def host(tmp_path: Path) -> compare.Host:
    for folder in ("etc/systemd/system", "usr/local/lib", "var/lib", "usr/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/bin/python3.11").touch()
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    return compare.Host(Machine(tmp_path), Systemd(tmp_path), os.geteuid())


def wanted(**more: object) -> WatchSettings:
    own = {"user": "lab", "home": "/home/lab", "host": "lab1", "record": "/home/lab/r", "token": "/home/lab/t"}
    return WatchSettings.of({**own, **more})


def put(host: compare.Host, settings: WatchSettings, program: bytes = PROGRAM) -> list[str]:
    """Install, and return what was done; nothing is to be done after it."""
    checksum = hashlib.sha256(program).hexdigest()
    found = compare.compare(host, settings, checksum)
    install.install(host, settings, found, program)
    assert compare.compare(host, settings, checksum) == []
    return [f"{one.action} {Path(one.what).name}" for one in found]


def test_installed_twice_is_installed_once(host: compare.Host) -> None:
    assert put(host, wanted()) == [
        "write nemoclaw-watch.json",
        "write watch.pyz",
        "write nemoclaw-watch.service",
        "write nemoclaw-watch.timer",
        "start nemoclaw-watch.timer",
    ]
    assert host.systemd.said == ["daemon-reload", "enable nemoclaw-watch.timer", "start nemoclaw-watch.timer"]
    assert host.machine.path(layout.APP).read_bytes() == PROGRAM
    assert put(host, wanted()) == []


def test_each_drift_is_found_by_itself_and_mended(host: compare.Host) -> None:
    put(host, wanted())
    app, timer = host.machine.path(layout.APP), host.machine.path(layout.unit_path(layout.TIMER))
    app.chmod(0o777)
    assert put(host, wanted()) == ["write watch.pyz"]
    assert put(host, wanted(), b"a newer one") == ["write watch.pyz"]
    timer.write_text("mine\n")
    host.systemd.said.clear()
    assert put(host, wanted()) == ["write watch.pyz", "write nemoclaw-watch.timer"]
    assert host.systemd.said == ["daemon-reload", "restart nemoclaw-watch.timer"]
    host.systemd.active.clear()
    assert put(host, wanted()) == ["start nemoclaw-watch.timer"]
    host.systemd.enabled.clear()
    assert put(host, wanted()) == ["enable nemoclaw-watch.timer"]
    assert put(host, wanted(interval=30)) == ["write nemoclaw-watch.json", "write nemoclaw-watch.timer"]
    assert put(host, wanted(interval=30, proof=False)) == ["write nemoclaw-watch.json"]


def test_the_units_that_close_come_and_go(host: compare.Host) -> None:
    done = put(host, wanted(close_proxy=True))
    assert {"write nemoclaw-watch-close.path", "write nemoclaw-watch-close.service"} <= set(done)
    assert layout.CLOSE_PATH in host.systemd.active
    assert set(put(host, wanted())) == {
        "write nemoclaw-watch.json",
        "remove nemoclaw-watch-close.path",
        "remove nemoclaw-watch-close.service",
    }
    assert (host.systemd.active, host.systemd.enabled) == ({layout.TIMER}, {layout.TIMER})


def test_the_link_for_the_node_exporter_follows_its_folder(host: compare.Host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    put(host, wanted(textfile="/one"))
    assert str((tmp_path / "one" / layout.LINK).readlink()) == "/var/lib/nemoclaw-watch/metrics.prom"
    assert "remove nemoclaw-watch.prom" in put(host, wanted(textfile="/two"))
    # By name: glob() of Python 3.9 passes over a link that leads nowhere.
    assert [name for name in ("one", "two") if (tmp_path / name / layout.LINK).is_symlink()] == ["two"]
    install.remove(host)
    assert list((tmp_path / "two").iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "folder"), [("auto", layout.TEXTFILE_FOLDER), ("none", ""), ("/srv/own", "/srv/own")]
)
def test_where_the_node_exporter_looks(host: compare.Host, setting: str, folder: str) -> None:
    assert layout.textfile_folder(host.machine, "auto") == ""
    host.machine.path(layout.TEXTFILE_FOLDER).mkdir(parents=True)
    assert layout.textfile_folder(host.machine, setting) == folder


def test_all_of_it_is_removed_and_nothing_else(host: compare.Host, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    put(host, wanted(close_proxy=True))
    state = host.machine.path(layout.STATE)
    state.mkdir()
    (state / "last.json").write_text("{}")
    (state / "link").symlink_to("/etc")
    install.remove(host)
    assert sorted(tmp_path.rglob("*")) == before
    assert (host.systemd.active, host.systemd.enabled) == (set(), set())
    assert install.leftovers(host) == []


def test_a_removal_that_broke_off_is_finished(host: compare.Host, monkeypatch: pytest.MonkeyPatch) -> None:
    put(host, wanted())
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name == layout.TIMER:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(Failure, match="could not be removed") as caught:
        install.remove(host)
    assert caught.value.code == "watch_not_written"
    assert host.machine.exists(layout.SETTINGS), "by them the next run knows that something is there"
    monkeypatch.setattr(Path, "unlink", unlink)
    install.remove(host)
    assert install.leftovers(host) == []


def test_what_a_host_needs_is_said_before_anything_is_written(host: compare.Host, tmp_path: Path) -> None:
    compare.refuse(host)
    with pytest.raises(Failure, match="cron") as caught:
        compare.refuse(compare.Host(host.machine, None, host.uid))
    assert caught.value.code == "systemd_missing"
    (tmp_path / "usr/bin/python3").unlink()
    (tmp_path / "usr/bin/python3.6").touch()
    (tmp_path / "usr/bin/python3").symlink_to("python3.6")
    with pytest.raises(Failure, match=r"it is Python 3\.6") as caught:
        compare.refuse(host)
    assert caught.value.code == "watch_python_missing"
    assert not host.machine.exists(layout.SETTINGS)


def test_the_diff_shows_texts_and_of_the_program_its_checksum(host: compare.Host) -> None:
    params = {name: one.get("default") for name, one in inference_watch.ARGUMENT_SPEC.items()}
    named = {"user": "root", "host": "lab1", "checksum": SUM}
    shown = inference_watch.Watch({**params, **named}, host).present(check_mode=True)["diff"]
    found = {one["after_header"]: (one["before"], one["after"]) for one in shown}
    assert found[layout.APP] == ("", f"sha256 {SUM}\n")
    assert '"host": "lab1"' in found[layout.SETTINGS][1]
    assert not host.machine.exists(layout.SETTINGS)


def test_only_root_installs(host: compare.Host) -> None:
    stranger = compare.Host(host.machine, host.systemd, host.uid + 1)
    found = compare.compare(stranger, wanted(), SUM)
    with pytest.raises(Failure) as caught:
        install.install(stranger, wanted(), found, PROGRAM)
    assert caught.value.code == "root_needed"
    assert not host.machine.exists(layout.SETTINGS)


def test_the_settings_hold_no_secret_and_the_service_runs_as_the_user() -> None:
    texts = layout.render_files(wanted(close_proxy=True))
    assert sorted(Path(path).name for path in texts) == [
        "nemoclaw-watch-close.path",
        "nemoclaw-watch-close.service",
        "nemoclaw-watch.json",
        "nemoclaw-watch.service",
        "nemoclaw-watch.timer",
    ]
    assert "\nUser=lab\n" in texts[layout.unit_path(layout.SERVICE)]
    assert "systemctl stop nemoclaw-ollama-proxy.service" in texts[layout.unit_path(layout.CLOSE_SERVICE)]
