# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The note of a change of the route that is under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import Note
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import Journal

PREVIOUS = {"provider": "a", "model": "m", "timeout": 180}
TARGET = {"provider": "b", "model": "m"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / ".nemoclaw" / "local-inference.json"), find_account())


@pytest.mark.parametrize("previous", [PREVIOUS, {"provider": "a", "sandbox": "s"}, None])
def test_it_is_kept_and_removed(journal: Journal, tmp_path: Path, previous: dict[str, object] | None) -> None:
    assert journal.read() is None
    journal.write(Note(previous, [TARGET]))
    assert journal.read() == Note(previous, [TARGET])
    path = tmp_path / ".nemoclaw" / "local-inference.json.change"
    assert path.stat().st_mode & 0o777 == 0o600
    journal.remove()
    journal.remove()
    assert journal.read() is None


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"previous": 1, "positions": []}', '{"previous": {}, "positions": []}']
)
def test_what_cannot_be_read_says_nothing(journal: Journal, tmp_path: Path, text: str) -> None:
    journal.write(Note(PREVIOUS, []))
    (tmp_path / ".nemoclaw" / "local-inference.json.change").write_text(text, encoding="utf-8")
    assert journal.read() is None


@pytest.mark.parametrize(
    ("now", "explained"),
    [({**TARGET, "timeout": 60}, True), (PREVIOUS, False), ({**TARGET, "model": "x"}, False), (None, False)],
)
def test_it_counts_where_that_run_led_the_sandboxes(now: dict[str, object] | None, explained: bool) -> None:
    assert Note(PREVIOUS, [TARGET]).explains(now) is explained


def test_where_it_cannot_be_written_nothing_may_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Failure, match="Nothing was changed") as caught:
        Journal(str(tmp_path / "file" / "record.json"), find_account()).write(Note(None))
    assert caught.value.code == "route_record_unwritable"
