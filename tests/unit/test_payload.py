# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module takes to a host: its own source and all of module_utils that it imports, each file compressed as Ansible packs it."""

from __future__ import annotations

import ast
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted((PLUGINS / "modules").glob("*.py"))
# Those whose work goes on in a worker when their call has ended.
LONG = [
    module
    for module in MODULES
    if "LongWork" in "".join(one.read_text() for one in PLUGINS.glob(f"action/{module.name}"))
]
# The bar of docs/benchmarks.md, which has the figures. Documentation of a module may lie in a file beside it, which does not travel.
BAR = 250 * 1024


@functools.cache
def compressed(path: Path) -> int:
    return len(zlib.compress(path.read_bytes()))


@functools.cache
def imported(path: Path) -> frozenset[Path]:
    """Return the files of ours that a file imports, in functions and for type checks as well: Ansible packs all of them."""
    return _of(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def imported_at_once(path: Path) -> frozenset[Path]:
    """Return the files of ours that a file imports when it is imported itself."""
    return _of(path, ast.parse(path.read_text(encoding="utf-8")).body)


def _of(path: Path, nodes: Iterable[ast.AST]) -> frozenset[Path]:
    found = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.level)
    return frozenset(one for node in found for one in _files(path, node))


def _files(path: Path, node: ast.ImportFrom) -> Iterator[Path]:
    place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    candidates = [place, *(place / one.name for one in node.names)]
    yield from (one.with_suffix(".py") for one in candidates if one.with_suffix(".py").is_file())


def payload(module: Path, imports: Callable[[Path], frozenset[Path]] = imported) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
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


@pytest.mark.parametrize("module", LONG, ids=lambda path: path.stem)
def test_a_worker_needs_nothing_from_the_archive_that_is_gone(module: Path) -> None:
    """Ansible removes the archive of a module when its call ends, and the worker of a long task goes on."""
    # Chosen before the worker begins, by whether there is NemoClaw and what the gateway can do.
    backends = ("nemoclaw/backend.py", "openshell/attached_route.py")
    chosen = set().union(*(payload(PLUGINS / "module_utils" / one, imported_at_once) for one in backends))
    late = payload(module) - payload(module, imported_at_once) - chosen
    assert not late, f"imported in functions: {sorted(str(one.relative_to(PLUGINS)) for one in late)}"


# Design of module_utils: decision 0037.
SMALL, LARGE = 100, 500


def test_a_file_of_the_domain_has_one_subject_and_reads_in_one_sitting() -> None:
    """A small one with a single reader is a part of it, unless it is compiled only where that reader needs it."""
    files = sorted(PLUGINS.rglob("*.py"))
    domain = [path for path in files if path.is_relative_to(PLUGINS / "module_utils")]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in domain}
    readers = {path: [one for one in files if path in imported(one)] for path in domain}
    crumbs = {
        path: readers[path][0]
        for path in domain
        if lines[path] < SMALL and len(readers[path]) == 1 and path in imported_at_once(readers[path][0])
    }
    assert crumbs == {}
    assert [path for path in domain if lines[path] > LARGE] == []
