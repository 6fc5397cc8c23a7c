# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last failure, beside the record."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import (
    MESSAGE_LIMIT,
    last_path,
    read_last,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import keep_last

FAILURE = {"when": "2026-11-30T14:05:09Z", "playbook": "site", "code": "auth_failed", "message": "No."}


def test_it_is_kept_until_a_success(tmp_path: Path) -> None:
    folder = tmp_path / ".nemoclaw"
    path = last_path(str(folder / "local-inference.json"))
    assert path == str(folder / "local-inference.last.json")
    me = find_account()
    assert read_last(path) is None
    assert keep_last(path, me, FAILURE, check_mode=True)
    assert not folder.exists()
    assert keep_last(path, me, FAILURE, check_mode=False)
    assert read_last(path) == FAILURE
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder, Path(path))] == [0o700, 0o600]
    assert keep_last(path, me, None, check_mode=True)
    assert read_last(path) == FAILURE
    assert keep_last(path, me, None, check_mode=False)
    assert not keep_last(path, me, None, check_mode=False)
    assert list(folder.iterdir()) == []


def test_a_message_without_end_is_cut(tmp_path: Path) -> None:
    path = str(tmp_path / "local-inference.last.json")
    keep_last(path, find_account(), {**FAILURE, "message": "x" * 10 * MESSAGE_LIMIT}, check_mode=False)
    assert (read_last(path) or {})["message"] == "x" * MESSAGE_LIMIT


@pytest.mark.parametrize(
    "content", [b"\xff", b"[]", b"{", b'{"when": 1, "playbook": "site", "code": "a", "message": "b"}']
)
def test_what_is_none_is_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "local-inference.last.json"
    path.write_bytes(content)
    assert read_last(str(path)) is None


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="cannot be saved in"):
        keep_last(str(tmp_path / "file" / "local-inference.last.json"), find_account(), FAILURE, check_mode=False)
