# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a validation found: an entry for each probe, filled as it goes, so that a failure shows how far it came."""

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


# From best to worst: what a whole run is worth is the worst of its probes.
STRUCTURED, MALFORMED, ABSENT, LEAKED, UNSUPPORTED = "structured", "malformed", "absent", "leaked", "unsupported"
BEST_FIRST = (STRUCTURED, MALFORMED, ABSENT, LEAKED, UNSUPPORTED)


@dataclass
class Report:
    """The result of C(endpoint_validate); see its RETURN documentation for each field."""

    api: str
    model: str | None
    base_url: str = ""
    api_requested: str = ""
    fallback_reason: str | None = None
    models: list[str] = field(default_factory=list)
    context_window: int | None = None
    probes: list[Probe] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def tool_calling(self) -> str | None:
        """The worst verdict on the API that was taken; None where none was reached."""
        verdicts = [
            probe.extras["tool_calling"]
            for probe in self.probes
            if probe.api == self.api and probe.extras.get("tool_calling")
        ]
        return max(verdicts, key=BEST_FIRST.index) if verdicts else None

    def warn(self, what: str | None) -> None:
        """Add a warning, once; nothing for None."""
        if what and what not in self.warnings:
            self.warnings.append(what)

    def as_result(self) -> dict[str, Any]:
        """Return the result keys of the module."""
        return {
            "api": self.api,
            "api_requested": self.api_requested,
            "fallback_reason": self.fallback_reason,
            "base_url": self.base_url,
            "model": self.model,
            "models": self.models,
            "context_window": self.context_window,
            "tool_calling": self.tool_calling,
            "probes": [probe.as_result() for probe in self.probes],
            "elapsed": round(self.elapsed, 3),
        }
