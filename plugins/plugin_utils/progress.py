# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How the progress of a host is shown: as a bar that fits a terminal, or as a line of a log.

What a host says of itself is not trusted: numbers are numbers or nothing, and texts cannot paint on the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TextIO

# A log shows a host at least this often: a job that prints nothing looks dead. In the first minute somebody may watch; an hour of it is
# not to fill the log of a fleet.
LIFE_S, LATER_LIFE_S = 10.0, 30.0
_FIRST_MINUTE_S = 60.0
# Length of the bar and what stands beside it, from wide terminals to narrow ones.
_EVERYTHING, _ESSENTIAL = ("share", "amount", "rate", "time"), ("share", "rate", "time")
_LAYOUTS: tuple[tuple[int, tuple[str, ...]], ...] = (
    *((length, _EVERYTHING) for length in (30, 20, 10)),
    *((length, _ESSENTIAL) for length in (20, 10, 0)),
    (0, ("share", "time")),
    (0, ("share",)),
)
# With fewer columns than this nothing can be said.
_NARROWEST = 20
_TEXT_LIMIT = 120
_NUMBERS = ("percent", "completed", "total", "rate", "seconds_left", "elapsed")
_TEXTS = ("phase", "message", "unit")
_LARGEST = 1e18


def progress_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a module said that is not finished, None for every other result."""
    progress = result.get("progress")
    return progress if result.get("finished") is False and isinstance(progress, dict) else None


def format_size(count: float) -> str:
    """Return bytes for people: 1024-based, three digits at most."""
    return _scaled(count, _unit_of(count))


def _unit_of(count: float) -> int:
    return min(4, max(0, int(math.log(count, 1024)))) if count >= 1 else 0


def _scaled(count: float, unit: int, name: bool = True) -> str:
    value = count / 1024**unit
    text = f"{value:.1f}" if unit and value < 100 else f"{value:.0f}"
    return f"{text} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}" if name else text


def format_seconds(seconds: float) -> str:
    """Return a time for people: 42 s, 1 min 06 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def number_of(progress: Mapping[str, Any], name: str) -> float | None:
    """Return a number that makes sense, None for everything else."""
    value: Any = progress.get(name)
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST
    return float(value) if is_one else None


def printable(text: Any) -> str:
    """Return a text on one line, short, and without what would paint on a terminal."""
    line = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_TEXT_LIMIT]


def message_of(progress: Mapping[str, Any]) -> str:
    """Return what is done."""
    return printable(progress.get("message") or progress.get("phase") or "Working")


def facts(progress: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known, in the order in which it is read: C(share), C(amount), C(rate), C(time) left or elapsed."""
    percent, completed, total, rate, left, elapsed = (number_of(progress, name) for name in _NUMBERS)
    is_bytes = progress.get("unit") == "bytes"
    found = {}
    if percent is not None:
        found["share"] = f"{percent:.0f} %"
    if completed is not None and total:
        unit = _unit_of(total)
        found["amount"] = (
            f"{_scaled(completed, unit, name=False)} of {_scaled(total, unit)}"
            if is_bytes
            else f"{completed:.0f} of {total:.0f} {printable(progress.get('unit'))}"
        )
    elif completed and is_bytes:
        found["amount"] = format_size(completed)
    if rate is not None and is_bytes:
        found["rate"] = f"{format_size(rate)}/s"
    if left is not None:
        found["time"] = f"{format_seconds(left)} left"
    elif elapsed is not None:
        found["time"] = f"{format_seconds(elapsed)} so far"
    return found


def line(progress: Mapping[str, Any]) -> str:
    """Return a line for a log."""
    return f"{message_of(progress)}: {', '.join(facts(progress).values()) or 'under way'}"


class Look(str):
    """What is printed of one look at a host: a line, which also holds what a callback draws in its place.

    Ansible's own callbacks print the text. It travels from Ansible's worker to its parent, so it is made of plain values.
    """

    host: str
    progress: dict[str, Any]

    @classmethod
    def of(cls, host: str, label: str, progress: Mapping[str, Any]) -> Look:
        """Return the line of a host, which people know as C(label)."""
        look = cls(f"progress: [{label}] => {line(progress)}")
        look.host = host
        look.progress = {name: number_of(progress, name) for name in _NUMBERS}
        look.progress.update({name: printable(progress[name]) for name in _TEXTS if progress.get(name)})
        return look


def draw_bar(host: str, progress: dict[str, Any], columns: int) -> str:
    """Return a line for a terminal: as much as fits, and at last the text is cut."""
    room, known, percent = max(columns - 1, _NARROWEST), facts(progress), number_of(progress, "percent")
    for length, names in _LAYOUTS:
        if percent is None and length:
            continue
        done = min(length, int(length * (percent or 0) / 100))
        drawing = [f"[{'#' * done}{'-' * (length - done)}]"] if length else []
        parts = [text for name, text in known.items() if name in names]
        whole = "  ".join([host, message_of(progress), *drawing, *parts])
        if len(whole) <= room:
            return whole
    return f"{whole[: room - 3]}..."


class Pace:
    """When the next line of one host is due in a log: rarely, and in time even where a look takes twice as long as the one before."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._seen: float | None = None
        self._shown: float | None = None
        self._about: tuple[Any, str] | None = None

    def is_due(self, progress: dict[str, Any], now: float) -> bool:
        """Take a look into account and return whether to print it: it is news, or the next look would come too late."""
        about = progress.get("phase"), message_of(progress)
        interval = now - self._seen if self._seen is not None else 0
        if self._first is None:
            self._first = now
        life = LIFE_S if now - self._first < _FIRST_MINUTE_S else LATER_LIFE_S
        due = about != self._about or self._shown is None or now + 2 * interval - self._shown >= life
        self._seen, self._about = now, about
        if due:
            self._shown = now
        return due


class Block:
    """The lowest lines of a terminal, which change in place.

    Args:
        out: The terminal.
        size: Returns its columns and rows, which may change.

    """

    def __init__(self, out: TextIO, size: Callable[[], tuple[int, int]]) -> None:
        self._out = out
        self._size = size
        self._drawn: list[str] = []

    def draw(self, bars: dict[str, dict[str, Any]]) -> None:
        """Show the progress of these hosts in place of what was there."""
        columns, rows = self._size()
        width = min(max(map(len, bars), default=0), columns // 4)
        lines = [draw_bar(host.ljust(width), progress, columns) for host, progress in bars.items()]
        room = max(1, rows - 2)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... and {len(lines) - room + 1} hosts more"]
        self._out.write(self._erasure() + "".join(f"{text}\n" for text in lines))
        self._out.flush()
        self._drawn = lines

    def erase(self) -> None:
        """Take it away, and leave the cursor where it began."""
        if self._drawn:
            self._out.write(self._erasure())
            self._out.flush()
            self._drawn = []

    def _erasure(self) -> str:
        # A terminal that became narrower has wrapped the lines.
        columns = max(1, self._size()[0])
        height = sum(max(1, math.ceil(len(text) / columns)) for text in self._drawn)
        return f"\033[{height}A\r\033[J" if height else ""
