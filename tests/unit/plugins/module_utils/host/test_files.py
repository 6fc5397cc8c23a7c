# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose rights a file is touched with, and what is not read. The race itself is in tests/real/test_playbooks_hosts.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Machine,
    find_account,
    only_root_can_change,
    read_file,
    working_on,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.replace import replace_file


@pytest.mark.parametrize(
    ("folder", "alone"),
    [("/", True), ("/etc", True), ("/tmp", False), ("/proc/self/cwd", False), ("/not/there", False), ("etc", False)],
)
def test_where_root_may_work_with_its_own_rights(folder: str, alone: bool) -> None:
    assert only_root_can_change(folder) is alone


def test_a_folder_below_a_link_is_not_roots(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    assert not only_root_can_change(str(tmp_path / "link"))


def test_the_own_files_are_worked_on_as_oneself(tmp_path: Path) -> None:
    with working_on(str(tmp_path / "file"), find_account()):
        assert os.geteuid() == find_account().uid


def test_only_ordinary_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")
    assert read_file(tmp_path / "file", 4) == b"cont"
    for place in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        with pytest.raises(OSError):
            read_file(place)
    assert Machine(root=tmp_path).read("/pipe") is None


def test_below_a_folder_with_the_sticky_bit_what_is_roots_stays_roots(tmp_path: Path) -> None:
    is_roots = tmp_path.stat().st_uid == 0
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    assert only_root_can_change(str(folder)) is is_roots
    folder.chmod(0o1777)
    assert not only_root_can_change(str(folder))
    (folder / "below").mkdir(mode=0o755)
    assert only_root_can_change(str(folder / "below")) is is_roots
    folder.chmod(0o777)
    assert not only_root_can_change(str(folder / "below"))


def test_of_two_that_replace_one_file_neither_removes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.replace

    def meanwhile(self: Path, target: str) -> Path:
        monkeypatch.setattr(Path, "replace", original)
        replace_file(target, "second", 0o600)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    replace_file(str(tmp_path / "file"), "first", 0o600)
    assert [one.read_text(encoding="utf-8") for one in tmp_path.iterdir()] == ["first"]
