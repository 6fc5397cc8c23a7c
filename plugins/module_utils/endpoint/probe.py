# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The account of a run: one entry for each probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASSED, FAILED, WARNED, SKIPPED = "passed", "failed", "warned", "skipped"


@dataclass
class Probe:
    """One probe: C(latency) in seconds is that of the last try, C(status) its HTTP status, C(reason) is for people."""

    name: str
    api: str
    outcome: str = SKIPPED
    latency: float | None = None
    tries: int = 0
    status: int | None = None
    reason: str = "not reached"
    extras: dict[str, Any] = field(default_factory=dict)

    def as_result(self) -> dict[str, Any]:
        """Return the entry as a module gives it back."""
        latency = None if self.latency is None else round(self.latency, 3)
        return {
            "name": self.name,
            "api": self.api,
            "outcome": self.outcome,
            "latency": latency,
            "tries": self.tries,
            "status": self.status,
            "reason": self.reason,
            **self.extras,
        }
