# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Where the variables of a unit come from: which file sets one, in which line, and what wins over C(Environment=) (systemd.exec(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.service.systemd import (
    UnitState,
    parse_environment,
)

_VARIABLE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)


class Setting(NamedTuple):
    """A variable's value in one place.

    Attributes:
        value: None where the place takes the variable away.
        path: The file.
        line: Its line, 0 where only the file is known.

    """

    value: str | None
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


def expand(machine: Machine, pattern: str) -> list[str]:
    """Return the files that an C(EnvironmentFile=) means, which may be a pattern, in the order in which systemd reads them."""
    if not re.search(r"[*?\[]", pattern):
        return [pattern]
    try:
        found = sorted(machine.root.glob(pattern.lstrip("/")))
    except (OSError, ValueError, NotImplementedError):  # not a pattern that Python knows
        return []
    hidden = Path(pattern).name.startswith(".")  # as in a shell, a star does not mean those
    return [f"/{os.path.relpath(path, machine.root)}" for path in found if hidden or not path.name.startswith(".")]


def in_units(machine: Machine, state: UnitState, name: str) -> list[Setting]:
    """Return what the unit's own files set, by C(Environment=), in the order in which they are read; the last one counts."""
    found = []
    for path in state.files:
        for line, value in assigned(machine, path, "Environment"):
            if not value.strip():
                found.append(Setting(None, path, line))
            elif name in parse_environment(value):
                found.append(Setting(parse_environment(value)[name], path, line))
    return found


def in_files(machine: Machine, state: UnitState, name: str) -> list[Setting]:
    """Return what its C(EnvironmentFile=)s set, in the order in which they are read; the last one counts."""
    return [
        Setting(value, path, line)
        for pattern in state.environment_files
        for path in expand(machine, pattern)
        for line, key, value in _variables(machine.read(path) or "")
        if key == name
    ]


def beside(machine: Machine, state: UnitState, name: str) -> Setting | None:
    """Return what wins over every file: the command itself, or C(UnsetEnvironment=); None without one."""
    said = re.search(rf"(?<![A-Za-z0-9_]){name}=([^\s;]*)", state.command)
    if said:
        return Setting(said[1].strip("\"'"), *_place(machine, state, "ExecStart", f"{name}="))
    if name in (word.partition("=")[0] for word in state.unset):
        return Setting(None, *_place(machine, state, "UnsetEnvironment", name))
    return None


def command_of(machine: Machine, state: UnitState) -> Setting:
    """Return where the unit's command stands, for what nothing but the command can have set."""
    return Setting(None, *_place(machine, state, "ExecStart", ""))


def beaten_by(machine: Machine, state: UnitState, name: str, value: str, ours: str) -> Setting | None:
    """Return what keeps a variable from being what our drop-in says, None where nothing does.

    Args:
        machine: The host.
        state: The unit as systemd understood it, since that skips lines which it cannot read (ollama issue 7892).
        name: The variable.
        value: What it has to be.
        ours: Name of our own drop-in, which is not to blame.

    """
    last = beside(machine, state, name)
    if last is None:
        files = in_files(machine, state, name)
        last = files[-1] if files else None
    if last is not None:
        return last if last.value != value else None
    if state.environment.get(name) == value:
        return None
    others = [one for one in in_units(machine, state, name) if Path(one.path).name != ours]
    return others[-1] if others else Setting(state.environment.get(name), "another file of the unit", 0)


def assigned(machine: Machine, path: str, name: str) -> Iterator[tuple[int, str]]:
    """Yield line and value of each C(NAME=) in a unit's file, lines that a backslash continues joined."""
    for line, text in _logical_lines(machine.read(path) or ""):
        found = re.match(rf"\s*{name}\s*=(.*)", text, re.DOTALL)
        if found:
            yield line, found[1]


def _place(machine: Machine, state: UnitState, name: str, text: str) -> tuple[str, int]:
    found = [(path, line) for path in state.files for line, value in assigned(machine, path, name) if text in value]
    return found[-1] if found else (f"{name}= of {state.name}", 0)


def _variables(text: str) -> Iterator[tuple[int, str, str]]:
    for line, content in _logical_lines(text):
        found = _VARIABLE.match(content)
        if found:
            value = found[2].strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            yield line, found[1], value


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number; comments are left out, and one that ends in a backslash has the next one behind it."""
    started, held = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("#", ";")):
            continue
        started = started or number
        if line.endswith("\\"):
            held += f"{line[:-1]} "
            continue
        yield started, held + line
        started, held = 0, ""
    if held:
        yield started, held
