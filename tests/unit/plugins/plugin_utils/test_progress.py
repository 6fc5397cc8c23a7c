# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a progress: in a log, and in terminals of any size."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.progress import (
    Block,
    Pace,
    draw_bar,
    format_seconds,
    format_size,
    line,
    progress_of,
)

GIB = 1024**3
PULL = {
    "phase": "download",
    "message": "Pulling qwen3.5:9b",
    "unit": "bytes",
    "percent": 58.2,
    "completed": int(3.86 * GIB),
    "total": int(6.63 * GIB),
    "rate": 43_200_000,
    "seconds_left": 66,
    "elapsed": 95,
}
LOAD = {
    "phase": "load",
    "message": "Loading qwen3.5:9b",
    "unit": "bytes",
    "percent": None,
    "completed": None,
    "total": None,
    "rate": None,
    "seconds_left": None,
    "elapsed": 41,
}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 * 1024, "150 KiB"),
        (43_200_000, "41.2 MiB"),
        (6.63 * GIB, "6.6 GiB"),
        (5000 * GIB, "4.9 TiB"),
        (1024**6, "1048576 TiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (66, "1 min 06 s"),
        (3600, "1 h 00 min"),
        (93_900, "26 h 05 min"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (PULL, "Pulling qwen3.5:9b: 58 %, 3.9 of 6.6 GiB, 41.2 MiB/s, 1 min 06 s left"),
        (LOAD, "Loading qwen3.5:9b: 41 s so far"),
        (
            {**PULL, "rate": 0, "seconds_left": None},
            "Pulling qwen3.5:9b: 58 %, 3.9 of 6.6 GiB, 0 B/s, 1 min 35 s so far",
        ),
        (
            {**PULL, "total": None, "percent": None, "seconds_left": None},
            "Pulling qwen3.5:9b: 3.9 GiB, 41.2 MiB/s, 1 min 35 s so far",
        ),
        (
            {
                **LOAD,
                "message": "Loading weights",
                "unit": "files",
                "completed": 3,
                "total": 9,
                "percent": 33.3,
                "rate": 1,
            },
            "Loading weights: 33 %, 3 of 9 files, 41 s so far",
        ),
        ({"phase": "start"}, "start: under way"),
        ({}, "Working: under way"),
    ],
)
def test_lines(progress: dict[str, Any], text: str) -> None:
    assert line(progress) == text


@pytest.mark.parametrize(
    "hostile",
    [
        {"message": "\033[2J\033[H owned\n\a", "percent": "99", "completed": True, "total": [1], "rate": {}},
        {"percent": float("nan"), "completed": float("inf"), "total": -1, "rate": -5, "elapsed": 10**400},
        {"percent": 10**9, "completed": 10**30, "total": 1, "unit": "\033[31m", "message": "x" * 10_000},
        {"phase": 7, "message": None, "seconds_left": 10**15, "unit": None, "elapsed": None},
        {"message": ["a"], "percent": 50, "total": 0, "completed": 0, "unit": "bytes"},
    ],
)
@pytest.mark.parametrize("columns", [1, 40, 80, 300])
def test_what_a_host_says_cannot_spoil_the_terminal(hostile: dict[str, Any], columns: int) -> None:
    assert line(hostile).isprintable()
    assert draw_bar("spark-1", hostile, columns).isprintable()
    assert len(draw_bar("spark-1", hostile, columns)) <= max(columns - 1, 20)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (
            200,
            "spark-1  Pulling qwen3.5:9b  [#################-------------]  58 %  3.9 of 6.6 GiB  41.2 MiB/s  1 min 06 s left",
        ),
        (100, "spark-1  Pulling qwen3.5:9b  [#####-----]  58 %  3.9 of 6.6 GiB  41.2 MiB/s  1 min 06 s left"),
        (80, "spark-1  Pulling qwen3.5:9b  [#####-----]  58 %  41.2 MiB/s  1 min 06 s left"),
        (70, "spark-1  Pulling qwen3.5:9b  58 %  41.2 MiB/s  1 min 06 s left"),
        (60, "spark-1  Pulling qwen3.5:9b  58 %  1 min 06 s left"),
        (40, "spark-1  Pulling qwen3.5:9b  58 %"),
        (30, "spark-1  Pulling qwen3.5:9..."),
        (5, "spark-1  Pulling ..."),
    ],
)
def test_bars_fit_the_terminal(columns: int, text: str) -> None:
    assert draw_bar("spark-1", PULL, columns) == text


@pytest.mark.parametrize(
    ("percent", "drawing"), [(0, "[" + "-" * 30 + "]"), (100, "[" + "#" * 30 + "]"), (150, "[" + "#" * 30 + "]")]
)
def test_the_ends_of_a_bar(percent: int, drawing: str) -> None:
    assert drawing in draw_bar("spark-1", {**PULL, "percent": percent}, 200)


def test_no_bar_without_a_share() -> None:
    assert draw_bar("spark-1", LOAD, 200) == "spark-1  Loading qwen3.5:9b  41 s so far"


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"finished": False, "progress": LOAD}, LOAD),
        ({"finished": True, "progress": LOAD}, None),
        ({"progress": LOAD}, None),
        ({"finished": False, "progress": "50 %"}, None),
        ({"finished": False}, None),
        ({"finished": 0, "progress": LOAD}, None),
    ],
)
def test_which_results_are_shown(result: dict[str, Any], shown: dict[str, Any] | None) -> None:
    assert progress_of(result) == shown


@pytest.mark.parametrize("interval", [0.3, 1, 2.9, 4.4, 5.5, 7, 9.9])
def test_a_log_shows_life_every_ten_seconds_and_not_much_more_often(interval: float) -> None:
    pace, now, shown = Pace(), 0.0, []
    for _number in range(200):
        now += interval
        if pace.is_due(PULL, now):
            shown.append(now)
    gaps = [later - earlier for earlier, later in zip(shown, shown[1:])]
    late = [later - earlier for earlier, later in zip(shown, shown[1:]) if earlier > interval + 60]
    assert max(gaps[:3]) <= 10
    assert min(gaps) > 10 - 3 * interval
    assert max(gaps) <= 30
    assert all(gap > 30 - 3 * interval for gap in late)


def test_news_are_shown_at_once() -> None:
    pace = Pace()
    assert [pace.is_due(PULL, 1), pace.is_due(PULL, 2), pace.is_due(LOAD, 3), pace.is_due(LOAD, 4)] == [
        True,
        False,
        True,
        False,
    ]


class Terminal(io.StringIO):
    """What can be seen on a terminal that knows what Block and Ansible write, and refuses the rest."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.columns, self.rows = columns, rows

    def size(self) -> tuple[int, int]:
        return self.columns, self.rows

    @property
    def screen(self) -> list[str]:
        return render(self.getvalue(), self.columns)


def render(written: str, columns: int) -> list[str]:
    """Return the lines of a terminal of unlimited height after this was written to it."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\033\[[0-9;]*[A-Za-z]|[^\033]", written):
        found = re.fullmatch(r"\033\[([0-9;]*)([A-Za-z])", token)
        if found and found[2] == "A":
            row = max(0, row - int(found[1]))
        elif found and found[2] == "J":
            lines = [*lines[:row], lines[row][:column]]
        elif found and found[2] == "m":
            continue
        elif token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
        elif token.isprintable():
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
        else:
            raise AssertionError(f"the terminal does not know {token!r}")
        lines += [""] * (row + 1 - len(lines))
    return lines


def test_bars_change_in_place_below_the_output() -> None:
    terminal = Terminal()
    block = Block(terminal, terminal.size)
    terminal.write("TASK\n")
    for percent in (10, 20, 30):
        block.draw({"a": {**PULL, "percent": percent}, "host-b": LOAD})
    assert [text.split("  ", maxsplit=1)[0] for text in terminal.screen] == ["TASK", "a     ".rstrip(), "host-b", ""]
    assert "30 %" in terminal.screen[1]
    block.erase()
    terminal.write("changed: [a]\n")
    block.draw({"host-b": LOAD})
    assert terminal.screen == ["TASK", "changed: [a]", "host-b  Loading qwen3.5:9b  41 s so far", ""]
    block.draw({})
    assert terminal.screen == ["TASK", "changed: [a]", ""]
    block.erase()
    assert terminal.screen == ["TASK", "changed: [a]", ""]


def test_more_hosts_than_rows() -> None:
    terminal = Terminal(rows=6)
    block = Block(terminal, terminal.size)
    for _number in range(2):
        block.draw({f"host-{number}": LOAD for number in range(25)})
    assert len(terminal.screen) == 5
    assert terminal.screen[3] == "... and 22 hosts more"


def test_a_terminal_that_becomes_narrower() -> None:
    terminal = Terminal(columns=100)
    block = Block(terminal, terminal.size)
    terminal.write("TASK\n")
    block.draw({"a": PULL})
    terminal.columns = 40  # it wraps what it shows
    block.draw({"a": PULL})
    assert terminal.screen == ["TASK", "a  Pulling qwen3.5:9b  58 %", ""]
