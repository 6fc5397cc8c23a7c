# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Ollama installed and upgraded below a folder of its own; for a whole host it is molecule's scenario ollama_install."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import healthy_process
import ollama_archives
import ollama_server
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.systemd import Systemd
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Position
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.archive import Desired, Result
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.client import (
    ask_ollama_daemon,
    find_ollama_client,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.installation import Installation

NEW, OLD = ollama_archives.VERSION, ollama_archives.OLD_VERSION
without_systemd = pytest.mark.skipif(
    Systemd.is_running(Machine()), reason="this machine has systemd, and its own Ollama would be looked at"
)


# Of Staging, for Ollama.
FOLDER = ".nemoclaw-ollama"


@pytest.fixture(scope="module")
def archives(ollama_home: Path, tmp_path_factory: pytest.TempPathFactory) -> ollama_archives.Archives:
    return ollama_archives.make(ollama_home, tmp_path_factory.mktemp("archives"))


@pytest.fixture
def files(archives: ollama_archives.Archives) -> Iterator[ollama_archives.FileServer]:
    with ollama_archives.serving(Path(archives.tgz.path).parent) as server:
        yield server


PREVIOUS = ".nemoclaw-ollama-previous"


class Host:
    """A prefix, and runs of the module's code on it."""

    def __init__(self, prefix: Path, archives: ollama_archives.Archives) -> None:
        self.prefix = prefix
        self.port = ollama_server.free_port()
        self.progress: list[Position] = []
        self.machine = Machine(environ={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": archives.libraries})
        self._archives = archives

    def install(
        self, archive: ollama_archives.Archive | None = None, check_mode: bool = False, **options: Any
    ) -> Result:
        return self._installation(archive or self._archives.tgz, options).converge(check_mode)

    def restore(self, check_mode: bool = False) -> Result:
        return self._installation(self._archives.tgz, {}).restore(check_mode)

    def settle(self, check_mode: bool = False) -> Result:
        return self._installation(self._archives.tgz, {}).settle(check_mode)

    def _installation(self, archive: ollama_archives.Archive, options: dict[str, Any]) -> Installation:
        desired = {
            "version": NEW,
            "minimum_version": None,
            "method": "archive",
            "mode": "user",
            "url": archive.path,
            "checksum": archive.checksum,
            "jetpack_url": None,
            "jetpack_checksum": None,
            "prefix": str(self.prefix),
            "port": self.port,
            "restart": True,
            "timeout": 20,
            "stall_timeout": 10,
            **options,
        }
        report = self.progress.append
        return Installation(self.machine, find_account(), Desired(**desired), report)

    @property
    def version(self) -> str | None:
        """What the program says that is there now."""
        if not (self.prefix / "bin" / "ollama").exists():
            return None
        alone = Machine(environ={**self.machine.environ, "PATH": f"{self.prefix}/bin", "OLLAMA_HOST": "127.0.0.1:9"})
        version: str | None = find_ollama_client(alone, find_account())["version"]
        return version

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.prefix.iterdir())


@pytest.fixture
def host(tmp_path: Path, archives: ollama_archives.Archives) -> Host:
    return Host(tmp_path / "prefix", archives)


@pytest.fixture
def old_host(host: Host, archives: ollama_archives.Archives) -> Host:
    """A host that has the old version, with a library that the new one has not."""
    host.install(archives.old, version=OLD)
    (host.prefix / "lib" / "ollama" / "old.so").touch()
    return host


@pytest.mark.parametrize(
    ("packing", "scheme"), [("tgz", "path"), ("zst", "path"), ("tgz", "file"), ("zst", "http"), ("tgz", "redirect")]
)
def test_installs_once(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives, packing: str, scheme: str
) -> None:
    archive: ollama_archives.Archive = getattr(archives, packing)
    url = {
        "path": archive.path,
        "file": f"file://{archive.path}",
        "http": f"{files.url}/whole/{archive.name}?signature=1",
        "redirect": f"{files.url}/redirect/{archive.name}",
    }[scheme]

    foreseen = host.install(url=url, checksum=archive.checksum, check_mode=True)
    assert not host.prefix.exists()
    result = host.install(url=url, checksum=archive.checksum)

    assert (foreseen.changed, foreseen.actions, foreseen.size) == (True, result.actions, result.size)
    assert (result.previous_version, result.version, host.version) == (None, NEW, NEW)
    assert result.size == Path(archive.path).stat().st_size
    assert result.path == str(host.prefix / "bin" / "ollama")
    assert result.source == url.partition("?")[0].removeprefix("file://")
    assert host.names == ["bin", "lib"]
    assert (host.prefix / "bin" / "ollama").stat().st_mode & 0o777 == 0o755
    asked = len(files.asked)
    again = host.install(url=url, checksum=archive.checksum)
    assert (again.changed, again.version, again.source, len(files.asked)) == (False, NEW, None, asked)
    downloads = [position for position in host.progress if position.phase == "download"]
    assert bool(downloads) == (scheme in ("http", "redirect"))
    assert {(position.completed, position.total) for position in downloads[-1:]} <= {(result.size, result.size)}
    assert {position.message for position in downloads} <= {f"Downloading {archive.name}"}
    assert [position.phase for position in host.progress[-2:]] == ["unpack", "prove"]


def test_upgrades_what_is_too_old_and_nothing_else(old_host: Host) -> None:
    assert not old_host.install(minimum_version="0.9.0").changed
    assert old_host.version == OLD
    result = old_host.install(minimum_version="0.9.2")
    assert (result.previous_version, result.version, old_host.version) == (OLD, NEW, NEW)
    assert not (old_host.prefix / "lib" / "ollama" / "old.so").exists()
    assert old_host.install(version="0.9.1").changed is False, "it never goes back"


@pytest.mark.parametrize("behaviour", ["signed", "headless"])
def test_a_server_that_refuses_head(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives, behaviour: str
) -> None:
    url = f"{files.url}/{behaviour}/{archives.tgz.name}?X-Amz-Signature=s3cret"
    planned = host.install(url=url, check_mode=True)
    assert (planned.changed, planned.size) == (True, None)
    assert host.install(url=url).changed
    assert host.version == NEW
    assert [method for method, *_rest in files.asked] == ["HEAD", "GET"]


def test_what_an_upgrade_replaced_is_kept_until_it_is_settled(old_host: Host) -> None:
    assert old_host.install(minimum_version="0.9.0", keep_previous=True).previous is None, "nothing was replaced"
    assert (old_host.restore().changed, old_host.settle().changed) == (False, False)
    assert old_host.install(keep_previous=True).previous == OLD
    assert old_host.names == [PREVIOUS, "bin", "lib"]
    planned, planned_end = old_host.restore(check_mode=True), old_host.settle(check_mode=True)
    assert (planned.actions, planned.version) == ([f"put Ollama {OLD} back in {old_host.prefix}"], OLD)
    assert (planned_end.actions, old_host.version) == ([f"remove Ollama {OLD}, which was kept"], NEW)
    assert old_host.restore().actions == planned.actions
    assert (old_host.version, old_host.names) == (OLD, ["bin", "lib"])
    assert (old_host.prefix / "lib" / "ollama" / "old.so").exists()
    old_host.install(keep_previous=True)
    assert old_host.settle().changed
    assert (old_host.version, old_host.names, old_host.restore().changed) == (NEW, ["bin", "lib"], False)


def test_nothing_is_kept_of_an_upgrade_that_failed(old_host: Host, archives: ollama_archives.Archives) -> None:
    with pytest.raises(Failure):
        old_host.install(archives.broken_program, keep_previous=True)
    assert (old_host.version, old_host.names) == (OLD, ["bin", "lib"])


def bad(code: str, archive: str = "tgz", behaviour: str = "", **options: Any) -> Any:
    return pytest.param(code, archive, behaviour, options, id=f"{code}-{archive}-{behaviour or 'path'}")


@pytest.mark.parametrize(
    ("code", "name", "behaviour", "options"),
    [
        bad("download_interrupted", behaviour="cut"),
        bad("download_stalled", behaviour="stall", stall_timeout=0.5),
        bad("archive_not_found", behaviour="missing"),
        bad("download_refused", behaviour="denied"),
        bad("download_unreachable", url="http://127.0.0.1:1/ollama.tgz"),
        bad("download_unreachable", "zst", url="http://no-such-host.invalid/ollama.tgz"),
        bad("archive_not_found", url="/no/such/file.tgz"),
        bad("archive_unreadable", url="/proc"),
        bad("checksum_mismatch", checksum=f"sha256:{'0' * 64}"),
        bad("checksum_mismatch", behaviour="whole", checksum=f"sha256:{'0' * 64}"),
        bad("checksum_missing", checksum=None),
        bad("checksum_invalid", checksum="md5:1234"),
        bad("version_mismatch", "old"),
        bad("ollama_unusable", "broken_program"),
        bad("archive_invalid", "not_ollama"),
        bad("version_invalid", version="latest"),
        bad("version_invalid", "zst", minimum_version="1.0.0"),
        bad("url_invalid", url="ftp://mirror.example/ollama.tgz"),
        bad("url_credentials", url="https://me:secret@mirror.example/ollama.tgz"),
        bad("method_invalid", method="script"),
    ],
)
def test_what_goes_wrong_leaves_the_old_one(
    old_host: Host,
    files: ollama_archives.FileServer,
    archives: ollama_archives.Archives,
    code: str,
    name: str,
    behaviour: str,
    options: dict[str, Any],
) -> None:
    archive: ollama_archives.Archive = getattr(archives, name)
    url = f"{files.url}/{behaviour}/{archive.name}" if behaviour else archive.path
    with pytest.raises(Failure) as failed:
        old_host.install(**{"url": url, "checksum": archive.checksum, **options})
    assert failed.value.code == code
    assert failed.value.message.count(". ") >= 1
    assert "secret" not in failed.value.message
    assert old_host.version == OLD
    assert (old_host.prefix / "lib" / "ollama" / "old.so").exists()
    assert old_host.names == ["bin", "lib"]
    if behaviour == "cut":
        assert failed.value.details["completed"] * 2 == pytest.approx(failed.value.details["total"], abs=2)


@pytest.mark.parametrize("near", [True, False])
def test_a_web_proxy_is_for_what_is_outside(
    host: Host,
    files: ollama_archives.FileServer,
    archives: ollama_archives.Archives,
    monkeypatch: pytest.MonkeyPatch,
    near: bool,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1" if near else files.url)
    host.install(url=f"{files.url if near else 'http://mirror.invalid'}/whole/{archives.tgz.name}")
    assert files.asked == [("GET", "whole", None)]
    assert host.version == NEW


def test_a_connection_that_breaks_is_taken_up_again(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives
) -> None:
    host.install(url=f"{files.url}/resumable/{archives.tgz.name}")
    half = Path(archives.tgz.path).stat().st_size // 2
    assert files.asked == [("GET", "resumable", None), ("GET", "resumable", f"bytes={half}-")]
    assert host.version == NEW
    assert host.names == ["bin", "lib"]


def test_the_next_run_goes_on_where_the_last_one_ended(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives
) -> None:
    content = Path(archives.tgz.path).read_bytes()
    (host.prefix / FOLDER / "new").mkdir(parents=True)
    (host.prefix / FOLDER / "new" / "bin").touch()  # of a run that was killed
    (host.prefix / FOLDER / f"{archives.tgz.checksum.removeprefix('sha256:')}.part").write_bytes(content[:1000])
    host.install(url=f"{files.url}/resumable/{archives.tgz.name}")
    assert files.asked == [("GET", "resumable", "bytes=1000-")]
    assert host.version == NEW
    assert host.names == ["bin", "lib"]


def test_a_part_that_does_not_belong_to_the_file_is_not_kept(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives
) -> None:
    host.prefix.joinpath(FOLDER).mkdir(parents=True)
    (host.prefix / FOLDER / f"{archives.tgz.checksum.removeprefix('sha256:')}.part").write_bytes(b"other")
    with pytest.raises(Failure) as failed:
        host.install(url=f"{files.url}/resumable/{archives.tgz.name}")
    assert failed.value.code == "checksum_mismatch"
    host.install(url=f"{files.url}/whole/{archives.tgz.name}")
    assert host.version == NEW


def test_a_stalled_try_is_taken_up_by_the_next_run(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives
) -> None:
    for _number in range(2):
        with pytest.raises(Failure) as failed:
            host.install(url=f"{files.url}/stall/{archives.tgz.name}", stall_timeout=0.3)
        assert failed.value.code == "download_stalled"
    assert host.version is None
    host.install(url=f"{files.url}/resumable/{archives.tgz.name}")
    half = Path(archives.tgz.path).stat().st_size // 2
    assert files.asked[-1] == ("GET", "resumable", f"bytes={half}-"), "with what came before the silence"
    assert host.version == NEW


def test_only_one_run_at_a_time(host: Host) -> None:
    (host.prefix / FOLDER).mkdir(parents=True)
    lock = os.open(host.prefix / FOLDER, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(Failure) as failed:
        host.install()
    os.close(lock)
    assert failed.value.code == "install_running"
    assert host.install().changed


def test_zstd_is_asked_for_before_the_download(
    host: Host, files: ollama_archives.FileServer, archives: ollama_archives.Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Machine.find_command

    def without_zstd(machine: Machine, name: str, *more: Any) -> str | None:
        return None if name == "zstd" else find(machine, name, *more)

    monkeypatch.setattr(Machine, "find_command", without_zstd)
    options = {"url": f"{files.url}/whole/{archives.zst.name}", "checksum": archives.zst.checksum}
    assert "zstd" in host.install(check_mode=True, **options).warnings[0]
    with pytest.raises(Failure) as failed:
        host.install(**options)
    assert failed.value.code == "zstd_missing"
    assert [method for method, *_rest in files.asked] == ["HEAD"]


# The daemon that runs the program.


@pytest.fixture
def running(old_host: Host, tmp_path: Path) -> Iterator[Host]:
    """A host whose old daemon runs, with a variable of its own."""
    environment = {
        **old_host.machine.environ,
        "HOME": str(tmp_path),
        "OLLAMA_HOST": f"127.0.0.1:{old_host.port}",
        "OLLAMA_MODELS": str(tmp_path / "models"),
        "MARK": "kept",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [old_host.prefix / "bin" / "ollama", "serve"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    healthy_process.wait_for(process, (old_host.port, "/api/version"), tmp_path / "log", ollama_server.START_LIMIT)
    yield old_host
    for pid in pids_of(old_host):
        os.kill(pid, 15)
    process.wait(10)


def pids_of(host: Host) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and f"OLLAMA_HOST=127.0.0.1:{host.port}".encode() in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@without_systemd
def test_the_daemon_is_restarted_as_it_was_started(running: Host) -> None:
    (before,) = pids_of(running)
    result = running.install()
    assert (result.daemon_restarted, result.daemon_version) == (True, NEW)
    assert ask_ollama_daemon(running.port) == (NEW, None)
    (after,) = (pid for pid in pids_of(running) if pid != before)
    assert b"MARK=kept" in Path(f"/proc/{after}/environ").read_bytes()
    assert running.install().changed is False


@without_systemd
def test_the_daemon_is_left_alone_where_that_is_wanted(running: Host) -> None:
    result = running.install(restart=False)
    assert (result.daemon_restart_needed, result.daemon_restarted, result.version) == (True, False, NEW)
    assert ask_ollama_daemon(running.port) == (OLD, None)
    (before,) = pids_of(running)
    late = running.install()
    assert (late.actions, late.daemon_version) == ([f"restart process {before}"], NEW)
    assert (late.daemon_restarted, late.daemon_restart_needed) == (True, False)


@without_systemd
def test_a_new_daemon_that_does_not_start_gives_way_to_the_old_one(running: Host, tmp_path: Path) -> None:
    program = b'#!/bin/sh\n[ "$1" = serve ] && { echo no >&2; exit 1; }\necho ollama version is 0.9.3\n'
    broken = ollama_archives.pack(tmp_path / "dies.tgz", {"bin/ollama": program, "lib/ollama/new.so": b""})
    with pytest.raises(Failure) as failed:
        running.install(broken, timeout=2)
    assert failed.value.code == "daemon_not_upgraded"
    assert running.version == OLD
    assert sorted(path.name for path in (running.prefix / "lib" / "ollama").iterdir()) == [
        "libggml-base.so",
        "nemoclaw-manifest.json",
        "old.so",
    ]
    deadline = Deadline(20)
    while ask_ollama_daemon(running.port)[0] is None and deadline.remaining:
        deadline.sleep(0.05)
    assert ask_ollama_daemon(running.port) == (OLD, None)


@without_systemd
def test_what_a_run_left_that_was_broken_off_before_the_restart(running: Host, tmp_path: Path) -> None:
    program = b'#!/bin/sh\n[ "$1" = serve ] && { echo no >&2; exit 1; }\necho ollama version is 0.9.3\n'
    broken = ollama_archives.pack(tmp_path / "dies.tgz", {"bin/ollama": program, "lib/ollama/new.so": b""})
    running.install(broken, keep_previous=True, restart=False)
    with pytest.raises(Failure) as failed:
        running.install(broken, keep_previous=True, timeout=2)
    assert failed.value.code == "daemon_not_upgraded"
    assert f"Ollama {OLD}, which served before an earlier run was interrupted, is restored" in failed.value.message
    assert (running.version, running.names) == (OLD, ["bin", "lib"])
    deadline = Deadline(20)
    while ask_ollama_daemon(running.port)[0] is None and deadline.remaining:
        deadline.sleep(0.05)
    assert ask_ollama_daemon(running.port) == (OLD, None)


@without_systemd
def test_the_daemon_goes_back_with_its_program(running: Host) -> None:
    assert running.install(keep_previous=True).daemon_version == NEW
    result = running.restore()
    assert (result.daemon_restarted, result.daemon_version, running.version) == (True, OLD, OLD)
    assert ask_ollama_daemon(running.port) == (OLD, None)


@without_systemd
def test_a_daemon_of_another_program_is_named_before_anything_changes(
    running: Host, tmp_path: Path, archives: ollama_archives.Archives
) -> None:
    other = Host(tmp_path / "other", archives)
    other.port = running.port
    with pytest.raises(Failure) as failed:
        other.install()
    assert failed.value.code == "ollama_elsewhere"
    assert not other.prefix.exists()


def test_the_script_method_says_what_it_is_for(host: Host) -> None:
    with pytest.raises(Failure) as failed:
        host.install(method="script", mode="system", url="/install.sh", checksum=None)
    assert failed.value.code == "method_invalid"
