# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: a row for each kind that a test of this folder went through."""

from __future__ import annotations

import pytest
from harness import Table

_HEAD = ("work", "fault", "steps", "next run", "third run", "the one before")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    return Table(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows; a test that failed has none, and is named by pytest."""
    passed = terminalreporter.stats.get("passed", [])
    rows = sorted(value for report in passed for name, value in report.user_properties if name == "row")
    if not rows:
        return
    widths = [max(len(line[column]) for line in [_HEAD, *rows]) for column in range(len(_HEAD))]
    terminalreporter.write_line("")
    for line in (_HEAD, ["-" * width for width in widths], *rows):
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
