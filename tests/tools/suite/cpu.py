"""How busy the cores of this machine are: what stages start beside others by, and what a run took in all."""

from __future__ import annotations

import os
import time
from pathlib import Path

# How long what was started last may take until it computes as it will.
SETTLED_S = 15.0
# An idle core is lost, and one that is busy for nine tenths is not idle.
IDLE = 0.3


def busy_seconds() -> float:
    """Return how long the cores have been busy since the machine started: by everything, servers and containers as well."""
    user, nice, system, _idle, _waiting, interrupts, soft, *_others = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split()[1:9]
    )
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


class Meter:
    """Tells whether cores were idle since the last thing began or ended."""

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self.restart()

    def restart(self) -> None:
        """Forget what was before."""
        self._since, self._busy = time.monotonic(), busy_seconds()

    def idle(self) -> bool:
        """Tell whether at least a part of a core was idle for as long as it takes to settle, and begin anew."""
        seconds, busy = time.monotonic() - self._since, busy_seconds() - self._busy
        if seconds < SETTLED_S:
            return False
        self.restart()
        return self._cores - busy / seconds >= IDLE
