# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation that is killed at each step that it takes on the disk, and what the next run makes of what it left."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.archive import Desired, Result
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.client import find_ollama
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.installation import Installation

OLD, NEW = "0.31.1", "0.32.9"
STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
KILLED = 9


def pack(path: Path, version: str, library: str) -> tuple[str, str]:
    """Return path and checksum of an archive whose program tells its version."""
    program = f"#!/bin/sh\necho ollama version is {version}\n"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {
            "bin/ollama": program,
            f"lib/ollama/{library}": library,
            "lib/ollama/base.so": version,
        }.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("bin") else 0o644
            tar.addfile(member, io.BytesIO(content.encode()))
    return str(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


class Host:
    """A prefix in a folder, and what a play does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = folder / "prefix"
        self.old, self.new = pack(folder / "old.tgz", OLD, "old.so"), pack(folder / "new.tgz", NEW, "new.so")

    def installation(self, version: str = NEW, archive: tuple[str, str] | None = None, **more: object) -> Installation:
        url, checksum = archive or (self.old if version == OLD else self.new)
        desired = {
            "version": version, "minimum_version": None, "method": "archive", "mode": "user", "url": url, "checksum": checksum,
            "jetpack_url": None, "jetpack_checksum": None, "prefix": str(self.prefix), "port": 9, "restart": True, "timeout": 1,
            "stall_timeout": 1, "keep_previous": True, **more,
        }  # fmt: skip
        machine = Machine(environ={"PATH": os.environ["PATH"]})
        return Installation(machine, find_account(), Desired(**desired), lambda position: None)  # type: ignore[arg-type]

    def facts(self) -> dict[str, str | None]:
        """Return what the role is told before it decides whether anything has to be installed."""
        machine = Machine(environ={"PATH": f"{self.prefix}/bin"})
        return find_ollama(machine, find_account(), 9)

    def play(self) -> None:
        """Do as the role does where the new one does not prove itself: install it, and bring the old one back."""
        facts = self.facts()
        kept = Result(None, None, None, None, None)
        if facts["client_version"] != NEW or facts["kept_version"] or facts["damage"]:
            kept = self.installation().converge(False)
        if kept.previous:
            self.installation().restore(False)

    @property
    def content(self) -> dict[str, str]:
        """Return every file below the prefix."""
        manifests = (client.MANIFEST.name, client.MANIFEST_COPY.name)
        files = (path for path in self.prefix.rglob("*") if path.is_file() and path.name not in manifests)
        return {str(path.relative_to(self.prefix)): path.read_text(encoding="utf-8") for path in files}


def kill_at(step: int, inside: Path, work: Callable[[], object]) -> bool:
    """Do the work in a process of its own that ends as by SIGKILL at the given step on the disk; tell whether it came that far."""
    pid = os.fork()
    if pid == 0:
        count = itertools.count(1)

        def audit(event: str, details: tuple[object, ...]) -> None:
            writes = event != "open" or (isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR))
            if event in STEPS and writes and str(details[0]).startswith(str(inside)) and next(count) == step:
                os._exit(KILLED)

        sys.addaudithook(audit)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


# Threads of other tests' servers may be there; the child uses none of their locks.
@pytest.mark.filterwarnings("ignore:This process")
def test_an_upgrade_that_does_not_work_is_killed_at_any_step(tmp_path: Path) -> None:
    """One that works, with the module itself and by all kinds of faults, is in tests/faults."""
    (tmp_path / OLD).mkdir()
    whole = Host(tmp_path / OLD)
    whole.installation(OLD).converge(False)
    for step in itertools.count(1):
        (tmp_path / str(step)).mkdir()
        host = Host(tmp_path / str(step))
        host.installation(OLD).converge(False)
        killed = kill_at(step, host.prefix, host.play)
        host.play()
        assert host.content == whole.content, f"killed at step {step}"
        assert host.facts()["kept_version"] is None
        if not killed:
            break
    assert step > 25


def test_a_kept_version_comes_back_where_the_next_run_cannot_install(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation(OLD).converge(False)
    before = host.content
    host.installation().converge(False)
    (host.prefix / "bin/ollama").unlink()  # as between the two renames of a swap
    bad = (host.new[0], f"sha256:{'0' * 64}")
    with pytest.raises(Failure) as failed:
        host.installation(archive=bad).converge(False)
    assert failed.value.code == "checksum_mismatch"
    assert f"Ollama {OLD}, which served before an earlier run was interrupted, is restored" in failed.value.message
    assert host.content == before


# What is new enough and broken all the same.


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda prefix: (prefix / "lib/ollama/new.so").unlink(), "new.so is missing"),
        (lambda prefix: (prefix / "lib/ollama/new.so").write_text("n"), "new.so has 1 bytes instead of 6"),
        (lambda prefix: shutil.rmtree(prefix / "lib/ollama"), "lib/ollama/base.so is missing"),
        (lambda prefix: None, None),
    ],
)
def test_a_damaged_installation_is_repaired(tmp_path: Path, harm: Callable[[Path], object], said: str | None) -> None:
    host = Host(tmp_path)
    host.installation().converge(False)
    whole = host.content
    assert host.facts()["checksum"] == host.new[1]
    harm(host.prefix)
    damage = host.facts()["damage"]
    assert (said in str(damage)) if said else damage is None
    assert host.installation().converge(False).changed == bool(said)
    assert host.content == whole
    assert (host.facts()["damage"], host.facts()["kept_version"]) == (None, None)
    assert not host.installation().converge(False).changed


def test_a_damaged_newer_one_is_not_replaced_by_an_older_one(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation().converge(False)
    (host.prefix / "lib/ollama/new.so").unlink()
    with pytest.raises(Failure) as failed:
        host.installation(OLD).converge(False)
    assert failed.value.code == "ollama_damaged"
    assert f"ollama_version) to {NEW}" in failed.value.message


def test_installed_again_never_means_an_older_one(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation().converge(False)
    with pytest.raises(Failure) as failed:
        host.installation(OLD, reinstall=True).converge(False)
    assert (failed.value.code, "that was asked for" in failed.value.message) == ("ollama_damaged", True)


def test_installed_again_where_that_is_asked_for_and_from_another_archive(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation(archive=pack(tmp_path / "no-runner.tgz", NEW, "other.so")).converge(False)
    assert not host.installation(checksum=None).converge(False).changed
    (action,) = host.installation().converge(True).actions
    assert "once more, since it is from another archive" in action
    assert host.installation().converge(False).changed
    assert (host.prefix / "lib/ollama/new.so").exists()
    assert not host.installation().converge(False).changed
    assert host.installation(reinstall=True).converge(False).actions[0].endswith("since that was asked for")


def test_what_comes_back_is_not_judged_by_the_manifest_of_what_it_replaces(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation(OLD).converge(False)
    for path in (client.MANIFEST, client.MANIFEST_COPY):  # somebody else installed it
        (host.prefix / path).unlink()
    host.installation().converge(False)
    assert host.facts()["recorded_version"] == NEW
    host.installation().restore(False)
    facts = host.facts()
    assert (facts["client_version"], facts["recorded_version"], facts["damage"]) == (OLD, None, None)
    assert host.installation().converge(False).previous == OLD


def test_a_program_that_is_slow_to_tell_its_version_is_kept_all_the_same(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation(OLD).converge(False)
    program = host.prefix / "bin/ollama"
    program.write_text(f"#!/bin/sh\nsleep 3.2\necho ollama version is {OLD}\n", encoding="utf-8")
    assert host.installation().converge(False).previous == OLD


def test_what_another_installer_made_is_left_alone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.installation().converge(False)
    (host.prefix / client.MANIFEST).write_text("{", encoding="utf-8")  # or none at all
    with (host.prefix / "bin/ollama").open("a", encoding="utf-8") as program:
        program.write("# another build\n")
    (host.prefix / "lib/ollama/new.so").unlink()
    assert (host.facts()["damage"], host.facts()["checksum"]) == (None, None)
    assert not host.installation().converge(False).changed
