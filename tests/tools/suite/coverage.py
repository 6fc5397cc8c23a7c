"""The gate on how much of plugins/module_utils the tests reach: unit tests and real servers together.

Integration is not measured: every start of Ansible and of a module would take half as long again, for one line in a hundred.
"""

from __future__ import annotations

import re

from . import paths, tree, venvs
from .model import StageFailed
from .run import Run

MINIMUM = 95  # per cent of lines
_STAGES = ("units-3.13", "real")
_SETTINGS = """\
# Stages measure copies of the collection: all are the same sources.
[paths]
collection =
    {root}/plugins
    */ansible_collections/nemoclaw/local_inference/plugins
"""


def gate(run: Run) -> None:
    """Combine the data of the stages that measured, and fail below the minimum."""
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    data = [file for stage in _STAGES for file in sorted((paths.COVERAGE / stage).glob("*coverage*"))]
    if not data:
        raise StageFailed("no stage has measured anything: run `bin/test units-3.13 coverage`")
    settings = paths.COVERAGE / "settings.ini"
    settings.write_text(_SETTINGS.format(root=root), encoding="utf-8")
    coverage = [tools / "coverage"]
    env = {"COVERAGE_FILE": str(paths.COVERAGE / "combined"), "COVERAGE_RCFILE": str(settings)}
    run.command([*coverage, "combine", "--keep", "--quiet", *data], cwd=root, env=env)
    # The number is read from the table's columns Stmts and Miss.
    start = run.position()
    run.command([*coverage, "report", "--show-missing", "--include", "plugins/module_utils/*"], cwd=root, env=env)
    table = run.printed_since(start)
    total = re.search(r"^TOTAL\s+(\d+)\s+(\d+)", table, re.MULTILINE)
    if not total:
        raise StageFailed("coverage reported no total")
    lines, missed = int(total.group(1)), int(total.group(2))
    reached = 100 * (lines - missed) / lines
    seen = f"{reached:.1f} % of {lines} lines of module_utils"
    run.verdict(seen, reached >= MINIMUM, f"the minimum is {MINIMUM} %")
    if reached >= MINIMUM:
        run.counts.reasons.append(seen)
