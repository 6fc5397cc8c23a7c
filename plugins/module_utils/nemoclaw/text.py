# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What NemoClaw prints: which of it is the cause of an end, and which shows that anything goes on (upstream-facts N41)."""

from __future__ import annotations

import re
from collections.abc import Sequence

LINE_LIMIT = 4096  # bytes; Docker's progress has no line ends

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# "Still building sandbox image... (15s elapsed)" says that it waits, and not that anything goes on.
_HEARTBEAT = re.compile(r"^\W*Still\b")
# The first words of what it says after the cause: advice, what it releases, and where to read more.
_ADVICE = re.compile(
    r"Onboarding did not finish|nemoclaw onboard --resume|Completed steps are skipped|Validation details were omitted|Onboard aborted|"
    r"Stopped host|Released |See more help|Fix options|Suggested fix|Next steps|Run:|Run '|OpenShell inference route update failed|USAGE|"
    r"Verify the fix worked|Usage:|The sandbox build runs|This operation belongs"
)
# What it, or OpenShell below it, marks as the cause: a cross, a multiplication sign, or "Error:" behind an angle quotation mark.
_MARK = re.compile(r"^(?:Error: *)?[\u2717\u00d7] *|^ *\u203a? *Error: *")
_FAILS = re.compile(
    r"\b(?:fail(?:ed|s|ure)?|invalid|cannot|could not|can't|not|no such|refused|denied|unsupported|required|missing|nonexistent|"
    r"unknown|errors?)\b",
    re.IGNORECASE,
)
# Check marks, warning and information signs, frames, arrows and bullets.
_DRAWN = re.compile(r"^[\s\u2717\u00d7\u2713\u26a0\u24d8\u2139\u2500-\u257f\u25b6\u203a\u2022=#>-]+|[\s\u2500=]+$")
_STEP_HEAD = re.compile(r"^\[\d+/\d+\]")
_CAUSE_LINES = 3


def text_of(line: bytes) -> str:
    """Return a line as it is shown, without colours."""
    return _ANSI.sub("", line[:LINE_LIMIT].decode("utf-8", "replace")).rstrip()


def cause_of(lines: Sequence[str]) -> str:
    """Return what its last lines say of the cause: NemoClaw gives advice after it, and a summary of what it has released.

    What it marks counts, of the step that it ended in; else the last line that says that something failed.
    """
    heads = [at for at, line in enumerate(lines) if _STEP_HEAD.match(line.strip())]
    step = [line for line in lines[heads[-1] + 1 if heads else 0 :] if _DRAWN.sub("", line)]
    marked = [at for at, line in enumerate(step) if _MARK.match(line.strip())]
    if marked:
        first = marked[-1]
        while first - 1 in marked:
            first -= 1
        return _until_advice(step[first:])
    said = [line for line in step if not _ADVICE.match(_bare(line))]
    failing = [at for at, line in enumerate(said) if _FAILS.search(line)]
    return _until_advice(said[failing[-1] if failing else -1 :]) or (_bare(lines[-1]) if lines else "nothing")


def _until_advice(lines: Sequence[str]) -> str:
    found: list[str] = []
    for line in lines:
        bare = _bare(line)
        if _ADVICE.match(bare) or len(found) == _CAUSE_LINES:
            break
        found.append(bare)
    return " ".join(found)


def _bare(line: str) -> str:
    """Return a line without the marks and frames that it is drawn with."""
    return _DRAWN.sub("", _MARK.sub("", line.strip()))


def is_heartbeat(line: str) -> bool:
    """Tell whether a line says only that it still waits."""
    return bool(_HEARTBEAT.match(line))


class News:
    """Tells output that shows progress from output that shows only that it still waits for the same."""

    def __init__(self) -> None:
        self._awaited = ""

    def are_in(self, lines: Sequence[str], begun: str) -> bool:
        """Take whole lines and one that has only begun."""
        found = bool(begun.strip()) and not is_heartbeat(begun)
        for line in lines:
            if is_heartbeat(line):
                awaited = re.sub(r"\W*\(.*|\d+", "", line)
                found = found or awaited != self._awaited
                self._awaited = awaited
            else:
                found = found or bool(line.strip())
        return found
