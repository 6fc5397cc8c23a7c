# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A decision is Python: no expression in the YAML of roles and playbooks has two conditions.

What is counted, in each ``{{ expression }}``, and in each one of ``when``, ``until``, ``failed_when``, ``changed_when`` and ``that``:

* a comparison, a test (``is``), ``not``, or a plain value where a condition is asked for: one;
* ``a and b``, ``a or b``: what both have together;
* ``a if condition else b``, ``condition | ternary(a, b)``: the condition, and what the values have;
* ``value or other``, as in ``path or omit``, where a value is asked for: one for each ``or``;
* ``value | default(other)``: what the other has, and one at least where it is looked up elsewhere; none where it is a constant, which only
  says what nothing means.

The conditions by which ``select``, ``reject``, ``selectattr`` and ``rejectattr`` filter a list do not count. The items of a list under
``when`` are expressions of their own: each is read, and can fail, alone. A private variable counts as what it holds, so that an expression
cannot hide its second condition in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

REPO = Path(__file__).resolve().parents[2]
FILES = sorted(
    path.relative_to(REPO)
    for folder in ("roles/*/tasks", "roles/*/vars", "roles/*/defaults", "roles/*/handlers", "playbooks")
    for path in REPO.glob(f"{folder}/**/*.yml")
)
CONDITIONS = frozenset(("when", "until", "failed_when", "changed_when", "that"))
LISTS = frozenset(("select", "reject", "selectattr", "rejectattr"))
JINJA = Environment(extensions=["jinja2.ext.do"], autoescape=True)


def conditions(node: nodes.Node, known: Mapping[str, int], asked: bool = False) -> int:
    """Return how many conditions an expression has.

    Args:
        node: The expression, as Jinja reads it.
        known: How many each private variable has.
        asked: Whether the expression is a condition itself, so that a plain value is one.

    """
    if isinstance(node, nodes.And) or (isinstance(node, nodes.Or) and asked):
        return conditions(node.left, known, True) + conditions(node.right, known, True)
    if isinstance(node, nodes.Or):
        return 1 + conditions(node.left, known) + conditions(node.right, known)
    if isinstance(node, nodes.Not):
        return conditions(node.node, known, True)
    if isinstance(node, nodes.CondExpr):
        values = [node.expr1, *([node.expr2] if node.expr2 else [])]
        return conditions(node.test, known, True) + sum(conditions(one, known) for one in values)
    if isinstance(node, nodes.Filter) and node.name.endswith("ternary"):
        return conditions(node.node, known, True) + sum(conditions(one, known) for one in node.args)
    if isinstance(node, nodes.If):
        return conditions(node.test, known, True) + sum(
            conditions(one, known) for one in (*node.body, *node.elif_, *node.else_)
        )
    inner = sum(conditions(one, known) for one in _parts(node))
    if isinstance(node, nodes.Filter) and node.name in ("default", "d") and node.args:
        return max(inner, int(asked or not _is_constant(node.args[0])))
    if isinstance(node, nodes.Name):
        inner += known.get(node.name, 0)
    if isinstance(node, (nodes.Compare, nodes.Test)):
        return max(inner, 1)
    return max(inner, 1) if asked else inner


def _parts(node: nodes.Node) -> Iterator[nodes.Node]:
    """Return what an expression is made of, without the arguments by which a list is filtered."""
    if isinstance(node, nodes.Filter) and node.name in LISTS:
        if node.node is not None:
            yield node.node
        return
    yield from node.iter_child_nodes()


def _is_constant(node: nodes.Node) -> bool:
    return not list(node.find_all((nodes.Call, nodes.Filter, nodes.CondExpr))) and not [
        one for one in (node, *node.find_all(nodes.Name)) if isinstance(one, nodes.Name) and one.name != "omit"
    ]


def in_text(text: str, known: Mapping[str, int]) -> list[int]:
    """Return how many conditions each expression of a template has; a statement counts with all that is in it."""
    found = []
    for node in JINJA.parse(text).body:
        parts = node.nodes if isinstance(node, nodes.Output) else [node]
        found += [conditions(one, known) for one in parts if not isinstance(one, nodes.TemplateData)]
    return found


def in_condition(text: str, known: Mapping[str, int]) -> list[int]:
    body = JINJA.parse("{{ (" + text + ") }}").body
    return [conditions(one, known, True) for one in body[0].nodes]  # type: ignore[attr-defined]


def strings(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Return every text of a file with the key that it stands under."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from strings(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from strings(value, key)
    elif isinstance(content, str):
        yield key, content


def variables(content: Any) -> Iterator[tuple[str, str]]:
    """Return the private variables that a file sets, with the text that each is made of."""
    for key, text in strings(content):
        if key.startswith("__"):
            yield key, text


def private(texts: Mapping[str, list[str]]) -> dict[str, int]:
    """Return how many conditions each private variable has, with those of the variables that it is made of."""
    known = dict.fromkeys(texts, 0)
    for _again in texts:
        new = {name: max(max(in_text(one, known), default=0) for one in of_name) for name, of_name in texts.items()}
        if new == known:
            break
        known = new
    return known


def beside(path: Path) -> list[Path]:
    """Return the files whose private variables an expression of this one may read: its own and those of its role."""
    return [
        path,
        *([vars_] if path.parts[0] == "roles" and (vars_ := Path(*path.parts[:2], "vars/main.yml")) in FILES else []),
    ]


def load(path: Path) -> Any:
    return yaml.load((REPO / path).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def with_two(content: Any, known: Mapping[str, int]) -> list[str]:
    """Return the texts that have an expression with two conditions."""
    found = []
    for key, text in strings(content):
        counts = in_condition(text, known) if key in CONDITIONS and "{{" not in text else in_text(text, known)
        if max(counts, default=0) > 1:
            found.append(f"{key}: {text} ({max(counts)})")
    return found


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("when", "a", 1),
        ("when", "a.b | length > 0", 1),
        ("when", "not a", 1),
        ("when", "a or b", 2),
        ("when", "not (a and b is defined)", 2),
        ("when", "not a | default(false)", 1),
        ("when", "a | selectattr('x', 'equalto', 1) | rejectattr('y') | length > 0", 1),
        ("when", "a == (b or c)", 1),
        ("name", "{{ a }} and {{ b or omit }}", 1),
        ("name", "{{ a | default('', true) }}", 0),
        ("name", "{{ a | default([]) | default({'x': 1}, true) }}", 0),
        ("name", "{{ a | default(omit) }}", 0),
        ("name", "{{ a | default(b.c) }}", 1),
        ("name", "{{ a | default(b if c else d) }}", 1),
        ("name", "{{ a | default(b, true) or omit }}", 2),
        ("name", "{{ a or b or omit }}", 2),
        ("name", "{{ 'x' if a == 1 else 'y' }}", 1),
        ("name", "{{ 'x' if a else 'y' if b else 'z' }}", 2),
        ("name", "{{ a | ternary(b, c) }}", 1),
        ("name", "{{ a is failed | ternary(b, c | ternary(d, e)) }}", 2),
        ("name", "{{ {'a': b if c else d, 'e': f | ternary(g, h)} | i }}", 2),
        ("name", "{% if a %}{{ b or c }}{% endif %}", 2),
        # By what they hold: one has a condition of its own.
        ("name", "{{ __one or omit }}", 2),
        ("name", "{{ __two }}", 1),
        ("name", "{{ __three }}", 2),
    ],
)
def test_what_counts_as_a_condition(key: str, text: str, expected: int) -> None:
    known = private({"__one": ["{{ a if b else c }}"], "__two": ["{{ __one }}"], "__three": ["{{ __two or d }}"]})
    counts = in_condition(text, known) if key in CONDITIONS else in_text(text, known)
    assert max(counts, default=0) == expected


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_expression_has_two_conditions(path: Path) -> None:
    texts: dict[str, list[str]] = {}
    for one in beside(path):
        for name, text in variables(load(one)):
            texts.setdefault(name, []).append(text)
    assert with_two(load(path), private(texts)) == []
