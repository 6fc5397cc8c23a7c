# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Share, rate and time left, from reports and a clock."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Meter, Position


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def follow(*reports: tuple[float, Position]) -> dict[str, Any]:
    """Return what is known after reports, each with the seconds that went by before it."""
    clock = Clock()
    meter = Meter("Pulling a:1b", clock)
    for seconds, position in reports:
        clock.now += seconds
        meter.take(position)
    return meter.as_result()


def test_before_anything_is_known() -> None:
    assert follow() == {
        "phase": "start",
        "message": "Pulling a:1b",
        "unit": "bytes",
        "percent": None,
        "completed": None,
        "total": None,
        "rate": None,
        "seconds_left": None,
    }


@pytest.mark.parametrize(
    ("completed", "total", "percent"),
    [
        (0, 1000, 0.0),
        (333, 1000, 33.3),
        (1000, 1000, 100.0),
        (1001, 1000, 100.0),
        (5, None, None),
        (5, 0, None),
        (None, 9, None),
    ],
)
def test_share(completed: int | None, total: int | None, percent: float | None) -> None:
    assert follow((0, Position("download", completed, total)))["percent"] == percent


def test_rate_and_time_left() -> None:
    seen = follow(*((1, Position("download", done * 10, 1000)) for done in range(11)))
    assert (seen["rate"], seen["seconds_left"]) == (10, 90)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    fast = [(1.0, Position("download", done * 100, 10_000)) for done in range(21)]
    slow = [(1.0, Position("download", 2000 + done, 10_000)) for done in range(1, 21)]
    assert follow(*fast)["rate"] == 100
    assert follow(*fast, *slow)["rate"] == 1


def test_a_line_that_stands_still_has_no_end_in_sight() -> None:
    still = [(1.0, Position("download", 500, 1000))] * 20
    assert (follow(*still)["rate"], follow(*still)["seconds_left"]) == (0, None)


def test_what_was_there_before_does_not_count_as_speed() -> None:
    """A resumed download begins with what an earlier one brought."""
    assert follow((0, Position("download", 900, 1000)), (1, Position("download", 910, 1000)))["rate"] == 10


def test_another_phase_starts_anew() -> None:
    clock = Clock()
    meter = Meter("Pulling a:1b", clock)
    assert meter.take(Position("download", 10, 100)) is True
    clock.now += 1
    assert meter.take(Position("download", 20, 100)) is False
    assert meter.take(Position("load", message="Loading a:1b")) is True
    seen = meter.as_result()
    assert (seen["message"], seen["percent"], seen["rate"]) == ("Loading a:1b", None, None)
    meter.take(Position("check"))
    assert meter.as_result()["message"] == "Loading a:1b"


def test_a_second_file_of_the_same_phase() -> None:
    seen = follow(
        (0, Position("download", 100, 100)), (1, Position("download", 0, 100)), (1, Position("download", 7, 100))
    )
    assert seen["rate"] == 7


def test_many_reports_cost_little() -> None:
    clock = Clock()
    meter = Meter("Pulling a:1b", clock)
    for count in range(16 * 60):
        clock.now += 1 / 16
        meter.take(Position("download", count, 10_000))
    assert len(meter._samples) <= 32
    assert meter.as_result()["rate"] == 16
