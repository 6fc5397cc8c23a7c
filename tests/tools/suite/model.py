"""What a stage is, and how one ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from .run import Run


class StageFailed(Exception):
    """The stage could not go on; the sentence says why, the log has the rest."""


class StageSkipped(Exception):
    """Something that the stage needs is not on this machine; the sentence says what and how to get it."""


@dataclass
class Counts:
    """How many test cases (or checks, where the tool has no cases) passed, failed and were skipped, and why."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.reasons += other.reasons


@dataclass(frozen=True)
class Stage:
    """One line of output: a function that runs commands and fills the counts of its L{Run}.

    Attributes:
        name: What `bin/test NAME` runs and .cache/test-logs/NAME.log is called.
        about: One phrase for `bin/test --list`.
        function: Does the work; raises StageFailed or StageSkipped.
        needs: Stages whose results it reads; when both were asked for, it runs after them.
        quick: Part of `bin/test --quick`.
        full: Part of a plain `bin/test`.
        budget: Seconds that it may take on two quiet cores while others run beside it; past them bin/test says so.
        load: How many cores it keeps busy, by measurement: one that mostly waits lets others run beside it.
        chooses: What the word after the colon of `bin/test NAME:WORD` chooses; empty where nothing can be chosen.

    """

    name: str
    about: str
    function: Callable[[Run], None]
    needs: tuple[str, ...] = ()
    quick: bool = False
    full: bool = True
    budget: int = 60
    load: float = 1.0
    chooses: str = ""


@dataclass
class Outcome:
    """A finished stage: seconds, those of the CPU, counts, the sentence that goes on its line, what to show of its log.

    failures: where in the log, should it have failed. shown: lines, whichever way it ended.
    """

    stage: Stage
    seconds: float
    cpu_seconds: float
    counts: Counts
    reason: str = ""
    failures: list[tuple[int, int]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return self.counts.failed > 0
