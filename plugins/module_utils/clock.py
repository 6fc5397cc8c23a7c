# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Time limits that hold: one deadline for all that a module does."""

from __future__ import annotations

import time
from typing import Callable


class Deadline:
    """A point in time that cannot be moved.

    Args:
        seconds: How long from now.
        clock: Where the time comes from; monotonic, so that a corrected system clock changes nothing.
        sleep: How to wait.

    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self.sleep = sleep
        self._clock = clock
        self._start = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.seconds - self.elapsed)
