# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""How far a long piece of work is: what it reports, and what a person wants to know of it."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Callable, NamedTuple

# The rate is that of the last so many seconds: long enough to be calm, short enough to show a line that became slow.
WINDOW_S = 15.0
# Reports come up to 16 times a second (Ollama's); the rate needs no more samples than this.
_SAMPLE_S = 0.5


class Position(NamedTuple):
    """Where the work is.

    Attributes:
        phase: Stable lower_case name of what is done now, for example C(download) or C(load).
        completed: How much of it is done, None where nobody knows.
        total: How much there is, None where nobody knows.
        unit: What is counted. C(bytes) are shown as sizes, with a rate and the time left.
        message: What is done, as the start of a sentence: C(Pulling qwen3.5:9b). It stays until another one is given.

    """

    phase: str
    completed: int | None = None
    total: int | None = None
    unit: str = "bytes"
    message: str | None = None


# What the work calls whenever it knows something new, as often as it likes.
Report = Callable[[Position], None]


def silent(position: Position) -> None:
    """Report to nobody: for work that is done within the call."""


class Meter:
    """Work out share, rate and time left from reports.

    Args:
        message: What is done, until a report says something else.
        clock: Monotonic seconds.

    """

    def __init__(self, message: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._at = Position("start", message=message)
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()  # (when, completed) of this phase

    def take(self, position: Position) -> bool:
        """Read a report and return whether another phase has begun."""
        before, self._at = self._at, position._replace(message=position.message or self._at.message)
        if position.phase != before.phase or (position.completed or 0) < (before.completed or 0):
            self._samples.clear()
        now = self._clock()
        if position.completed is not None and (not self._samples or now - self._samples[-1][0] >= _SAMPLE_S):
            self._samples.append((now, position.completed))
            while now - self._samples[0][0] > WINDOW_S:
                self._samples.popleft()
        return position.phase != before.phase

    def as_result(self) -> dict[str, Any]:
        """Return C({phase, message, unit, percent, completed, total, rate, seconds_left}); None is what nobody knows."""
        completed, total, rate = self._at.completed, self._at.total or None, self._rate()
        known = completed is not None and total is not None
        left = max(0, total - completed) if completed is not None and total is not None else None
        return {
            "phase": self._at.phase,
            "message": self._at.message,
            "unit": self._at.unit,
            "percent": min(100.0, round(100 * (completed or 0) / (total or 1), 1)) if known else None,
            "completed": completed,
            "total": total,
            "rate": None if rate is None else round(rate),
            "seconds_left": round(left / rate) if rate and left is not None else None,
        }

    def _rate(self) -> float | None:
        """Return units a second over the window, None before there is enough of it."""
        if not self._samples:
            return None
        since, first = self._samples[0]
        elapsed = self._clock() - since
        return ((self._at.completed or 0) - first) / elapsed if elapsed >= _SAMPLE_S else None
