# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim of a rollout on a host: one run has it, whoever comes second is told whose it is, and nothing is left of it."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route import claim
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.claim import (
    claim_path,
    read_claim,
    release,
    take,
)

FIRST: dict[str, Any] = {
    "user": "mia",
    "host": "laptop",
    "machine": "5a",
    "boot": "b",
    "pid_namespace": "pid:[1]",
    "pid": 7,
    "process_started": "100",
    "since": "2026-12-01T02:00:00Z",
}
SECOND = {**FIRST, "user": "tom", "machine": "6b"}
ME = find_account()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return claim_path(str(tmp_path / ".nemoclaw" / "local-inference.json"))


def test_a_second_one_is_told_whose_it_is_until_the_first_ends(path: str) -> None:
    assert Path(path).name == "local-inference.rollout.json"
    assert take(path, ME, FIRST) is None
    assert take(path, ME, {**FIRST, "since": "later"}) is None, "a host under two names is claimed twice"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (Path(path).parent, Path(path))] == [0o700, 0o600]
    assert {name: value for name, value in (take(path, ME, SECOND) or {}).items() if name != "made_folder"} == FIRST
    assert not release(path, ME, SECOND), "not its own"
    assert release(path, ME, FIRST)
    assert not Path(path).parent.exists(), "nothing is left"
    assert not release(path, ME, FIRST)
    assert take(path, ME, SECOND) is None


@pytest.mark.parametrize("name", ["host", "machine", "boot", "pid_namespace", "pid", "process_started"])
def test_each_part_tells_two_runs_apart(path: str, name: str) -> None:
    assert take(path, ME, FIRST) is None
    assert take(path, ME, {**FIRST, name: 8 if name == "pid" else "other"})


def test_one_that_is_gone_is_replaced_and_only_that_one(path: str) -> None:
    assert take(path, ME, FIRST) is None
    found = take(path, ME, SECOND, instead_of={**FIRST, "pid": 8})
    assert found is not None
    assert take(path, ME, SECOND, instead_of=found) is None
    assert not release(path, ME, FIRST)
    assert release(path, ME, SECOND)
    assert not Path(path).parent.exists()


def test_a_folder_with_something_else_stays(path: str) -> None:
    assert take(path, ME, FIRST) is None
    record = Path(path).with_name("local-inference.json")
    record.touch()
    assert release(path, ME, FIRST)
    assert list(record.parent.iterdir()) == [record]
    record.unlink()
    assert take(path, ME, FIRST) is None
    assert release(path, ME, FIRST)
    assert record.parent.exists(), "it was there before the claim"


def test_of_many_at_once_one_has_it(path: str) -> None:
    Path(path).parent.mkdir()
    found: list[Any] = []
    runs = [{**FIRST, "pid": number} for number in range(16)]
    threads = [threading.Thread(target=lambda one=one: found.append(take(path, ME, one))) for one in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in found if one is None] == [None]
    assert {one["pid"] for one in found if one} == {json.loads(Path(path).read_text(encoding="utf-8"))["pid"]}
    assert [one.name for one in Path(path).parent.iterdir()] == [Path(path).name]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"{", b'{"pid": "7"}', json.dumps({**FIRST, "host": ["a"]}).encode(), b'{"pid":7}' * 9999],
)
def test_what_is_no_claim_is_in_nobodys_way(path: str, content: bytes) -> None:
    Path(path).parent.mkdir()
    Path(path).write_bytes(content)
    assert read_claim(path) is None
    assert take(path, ME, FIRST) is None
    assert take(path, ME, SECOND)


def test_what_the_owner_of_the_host_wrote_there_is_cut(path: str) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(json.dumps({**FIRST, "user": "x" * 3000, "more": "y"}), encoding="utf-8")
    found = read_claim(path) or {}
    assert (len(found["user"]), "more" in found) == (253, False)


def test_a_folder_that_somebody_else_locks_is_waited_for_not_for_ever(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(path).parent.mkdir()
    pauses: list[float] = []
    monkeypatch.setattr(claim.time, "sleep", pauses.append)
    with claim._alone_in(Path(path).parent), pytest.raises(Failure, match="somebody else has locked it"):
        take(path, ME, FIRST)
    assert 5 < sum(pauses) < 20
    assert take(path, ME, FIRST) is None


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="Check that the file system has room") as caught:
        take(str(tmp_path / "file" / "local-inference.rollout.json"), ME, FIRST)
    assert caught.value.code == "rollout_claim_unwritable"
