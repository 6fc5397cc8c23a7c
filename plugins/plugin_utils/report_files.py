# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The folder of a report: documents of hosts, runs, and what is made of them. All of it is the user's own: folders 0700, files 0600.

documents/HOST.json    the last document of each host
runs/TIME.json         the states of a run, for the history
report.json, report.html, junit.xml, metrics.prom
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..module_utils.failure import Failure
from ..module_utils.host.replace import replace_file
from ..module_utils.status import document
from .report import (
    as_json,
    as_junit,
    as_metrics,
    fleet_of,
    problem_of_document,
    problem_of_run,
    run_of,
)
from .report_page import as_html

# Runs beyond that are removed: of an hourly collector that is six weeks.
_RUNS_KEPT = 1000
# File systems take 255 bytes; beside it come a hash, the ending, and what a file is called while it is written.
_LONGEST_NAME = 200


def file_name(host: str) -> str:
    """Return the name of a host's document: names of an inventory may have a slash, or be C(..)."""
    name = quote(host, safe="")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(host.encode()).hexdigest()[:16]}"
    return f"%2E{name[1:]}.json" if name.startswith(".") else f"{name}.json"


def keep(folder: Path, documents: Iterable[dict[str, Any]], when: str) -> list[dict[str, Any]]:
    """Write the documents of a run and the run itself, and return the documents as they were written.

    Raises:
        Failure: C(report_unwritable).

    """
    kept = []
    for one in documents:
        path = folder / "documents" / file_name(one["host"])
        known = _read(path, problem_of_document)
        made = document.remember(one, known if isinstance(known, dict) else None)
        _write(path, document.render(made))
        kept.append(made)
    _write(folder / "runs" / f"{when.replace(':', '')}.json", json.dumps(run_of(when, kept), ensure_ascii=False) + "\n")
    for old in sorted((folder / "runs").glob("*.json"))[:-_RUNS_KEPT]:
        old.unlink(missing_ok=True)
    return kept


def merge(known: Iterable[dict[str, Any]], collected: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the documents as they would be after a run."""
    found = {one["host"]: one for one in known}
    for one in collected:
        found[one["host"]] = document.remember(one, found.get(one["host"]))
    return list(found.values())


def read_fleet(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the fleet of a folder, and a sentence for each file that is passed over."""
    problems: list[str] = []
    found: dict[str, list[Any]] = {}
    for name, problem_of in (("documents", problem_of_document), ("runs", problem_of_run)):
        read = {path: _read(path, problem_of) for path in sorted((folder / name).glob("*.json"))}
        problems += [f"{path} is passed over: {one}." for path, one in read.items() if isinstance(one, str)]
        found[name] = [one for one in read.values() if isinstance(one, dict)]
    return fleet_of(found["documents"], found["runs"]), problems


def write_report(folder: Path, fleet: dict[str, Any], check_mode: bool) -> bool:
    """Write what differs of the report, and tell whether something did.

    Raises:
        Failure: C(report_unwritable).

    """
    texts = {
        "report.json": as_json(fleet),
        "report.html": as_html(fleet),
        "junit.xml": as_junit(fleet),
        "metrics.prom": as_metrics(fleet),
    }
    changed = False
    for name, text in texts.items():
        path = folder / name
        try:
            is_same = path.read_text(encoding="utf-8") == text
        except (OSError, UnicodeDecodeError):
            is_same = False
        if not is_same:
            changed = True
            if not check_mode:
                _write(path, text)
    return changed


def _read(path: Path, problem_of: Callable[[Any], str | None]) -> Any:
    """Return the content of a file, or as a text why it is of no use; None where it is not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # Half a pair of UTF-16, which JSON can hold and no file.
        json.dumps(content, ensure_ascii=False).encode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"it cannot be read ({error})"
    return problem_of(content) or content


def _write(path: Path, text: str) -> None:
    try:
        for folder in (
            (path.parent.parent, path.parent) if path.parent.name in ("documents", "runs") else (path.parent,)
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(str(path), text, 0o600)
    except OSError as error:
        raise Failure(
            "report_unwritable",
            f"Wrote {path} on this controller, and got: {error}. Nothing on the hosts was changed. Name a folder of your own with "
            "collect_path.",
        ) from error
