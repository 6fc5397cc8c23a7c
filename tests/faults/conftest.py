# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults: a row for each kind that a test of this folder went through, and where other tests break off what is not here."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness import Table

# It takes hours: by hand, and a provider at a time (FAULTS_PROVIDERS).
collect_ignore = [] if os.environ.get("FAULTS_EVERY") == "1" else ["test_every.py"]
_TESTS = Path(__file__).parents[1]
# What is broken off beside the engine, the gateway or the proxy that its tests run, and clocks that jump.
_ELSEWHERE = {
    "a container is replaced": "unit/plugins/module_utils/containers/test_managed.py",
    "a container downloads": "unit/plugins/module_utils/containers/test_oneshot.py",
    "a worker of a long task, and its clock": "unit/plugins/module_utils/jobs/test_job.py",
    "an upgrade of Ollama that does not work": "unit/plugins/module_utils/ollama/test_install_killed.py",
    "packages are unpacked": "unit/plugins/module_utils/host/test_packages.py",
    "tokens, and the clock of their overlap": "unit/plugins/module_utils/proxy/test_keep.py",
    "the auth proxy": "real/test_gate_killed.py",
    "the route of sandboxes": "real/test_sandbox_route_killed.py",
}
_HEAD = ("work", "fault", "steps", "next run", "third run", "the one before")


@pytest.fixture(scope="session", autouse=True)
def _hears_ctrl_c() -> None:
    """A shell has its jobs in the background ignore SIGINT, and whatever the tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    terminalreporter.write_line("")
    for work, name in _ELSEWHERE.items():
        if (_TESTS / name).exists():
            terminalreporter.write_line(f"elsewhere: {work}  (tests/{name})")
