# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module takes to a host: its own source and all of module_utils that it imports, each file compressed as Ansible packs it."""

from __future__ import annotations

import ast
import functools
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
# The bar of docs/benchmarks.md, which has the figures. Documentation of a module may lie in a file beside it, which does not travel.
BAR = 250 * 1024


@functools.cache
def compressed(path: Path) -> int:
    return len(zlib.compress(path.read_bytes()))


@functools.cache
def imported(path: Path) -> frozenset[Path]:
    """Return the files of ours that a file imports, in functions and for type checks as well: Ansible packs all of them."""
    return frozenset(
        found
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for found in _files(path, node)
    )


def _files(path: Path, node: ast.ImportFrom) -> Iterator[Path]:
    place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    candidates = [place, *(place / one.name for one in node.names)]
    yield from (one.with_suffix(".py") for one in candidates if one.with_suffix(".py").is_file())


def payload(module: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported(path)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_takes_more_than_the_bar_to_a_host(module: Path) -> None:
    files = payload(module)
    largest = sorted(files, key=compressed)[-5:]
    size = sum(map(compressed, files))
    assert size <= BAR, (
        f"{size} bytes in {len(files)} files, the largest {[str(one.relative_to(PLUGINS)) for one in largest]}"
    )


def test_the_plan_is_among_them() -> None:
    """Guards the search: without what it imports a module would be a few kilobytes."""
    plan = payload(PLUGINS / "modules" / "inference_plan.py")
    assert PLUGINS / "module_utils" / "endpoint" / "validate.py" in plan
    assert len(plan) > 40
