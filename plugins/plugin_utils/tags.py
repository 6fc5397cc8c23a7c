# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Tags with which nothing of a playbook would run, and the run would end well all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import context

from ..module_utils.failure import Failure

_PLAN = "plan"


def refuse_tags(run: Sequence[str], skipped: Sequence[str], has_plan: bool = True) -> list[Failure]:
    """Return why these tags would leave everything out and end well; nothing where all of the playbook runs, or its plan alone."""
    harmless = ("all", "untagged", _PLAN) if has_plan else ("all", "untagged")
    named = [one for one in run if one not in harmless]
    if not named and "untagged" not in skipped:
        return []
    words = f"--tags {','.join(named)}" if named else "--skip-tags untagged"
    hint = (
        "Leave it out: what is in order is not touched. --tags plan shows what would be done, and"
        if has_plan
        else "Leave it out;"
    )
    return [
        Failure(
            "tags_unsupported",
            f"With {words} nothing of this playbook would run. {hint} -e nemoclaw_hosts chooses hosts.",
        )
    ]


def refuse_other_tags(task: Any, task_vars: Mapping[str, Any], has_plan: bool = False) -> tuple[list[Failure], bool]:
    """Return the refusal of the run's tags, and whether it holds for nobody but a playbook of the user's own, which is passed over.

    Tags that the user gave the import of this playbook are theirs: with one of them all of it runs.
    """
    own = set(task.tags) - {"always", _PLAN}
    run, skipped = (task_vars.get(f"ansible_{name}_tags", []) for name in ("run", "skip"))
    found = [] if own & {*run} else refuse_tags(run, skipped, has_plan)
    return found, bool(found) and not _is_by_itself()


def _is_by_itself() -> bool:
    """Tell whether the user runs a playbook of this collection, and not one of their own, whose tags may be for other parts of it."""
    playbooks = Path(__file__).resolve().parents[2] / "playbooks"
    given = [str(one) for one in context.CLIARGS.get("args") or []]
    return any(one.startswith("nemoclaw.local_inference.") or Path(one).resolve().parent == playbooks for one in given)
