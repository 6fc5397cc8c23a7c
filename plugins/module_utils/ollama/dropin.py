# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The environment of Ollama's service, and the drop-in by which it is set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..failure import Failure
from ..host.machine import Machine
from ..host.systemd import UnitState, parse_environment

_NAMED = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)


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
        found = _NAMED.match(content)
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


# systemd reads drop-ins in the order of their names and the last OLLAMA_HOST counts. This name comes after override.conf,
# which `systemctl edit` writes and every guide tells users to put OLLAMA_HOST=0.0.0.0 in.
FILE_NAME = "zz-nemoclaw.conf"
_UNITS = "/etc/systemd/system"
_SIGN = "# Written by nemoclaw.local_inference (module ollama_service)."
_HEAD = f"""\
{_SIGN} It keeps Ollama on loopback, so that the proxy with its token is the
# only way to it from the network. Changes here are lost: put your own settings into another file of this folder.
[Service]
"""
_ADOPTED = """\
# What a daemon that was started by hand was given, and the service has to have in its place. Set in the inventory (ollama_environment), or
# taken out here, it stays as you have it.
"""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# DGX Spark needs it where Ollama brings that library (upstream-facts N7).
_SPARK_LIBRARY = "cuda_v13"
_LIBRARY_FOLDERS = ("/usr/local/lib/ollama", "/usr/lib/ollama", "/lib/ollama")


def path_for(unit: str) -> str:
    """Return where our drop-in for a unit lies."""
    return f"{_UNITS}/{unit}.d/{FILE_NAME}"


def wanted_environment(port: int, more: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of the service.

    Raises:
        Failure: C(environment_invalid) for what cannot stand in a unit, and for OLLAMA_HOST, which is ours.

    """
    for name, value in more.items():
        if not _VARIABLE.fullmatch(name) or name == "OLLAMA_HOST" or not str(value).isprintable():
            raise Failure(
                "environment_invalid",
                f"The variable {name!r} cannot be set for the service: OLLAMA_HOST is set by the option port (ollama_port), names have "
                "letters, digits and underscores, and values one line.",
            )
    return {"OLLAMA_HOST": f"127.0.0.1:{port}", **{name: str(value) for name, value in more.items()}}


def spark_environment(machine: Machine, platform: str, binary: str | None) -> dict[str, str]:
    """Return what a DGX Spark needs besides, empty elsewhere and where Ollama has no such library."""
    if platform != "dgx-spark":
        return {}
    folders = list(_LIBRARY_FOLDERS)
    if binary:
        own = os.path.realpath(machine.path(binary))
        folders.insert(0, "/" + os.path.relpath(Path(own).parent.parent / "lib" / "ollama", machine.root))
    found = any(machine.exists(f"{folder}/{_SPARK_LIBRARY}") for folder in folders)
    return {"OLLAMA_LLM_LIBRARY": _SPARK_LIBRARY} if found else {}


def render(environment: Mapping[str, str], adopted: Mapping[str, str] | None = None) -> str:
    """Return the text of the drop-in; C(adopted) is what a daemon was given that somebody started by hand."""
    taken = _ADOPTED + _lines(adopted) if adopted else ""
    return _HEAD + _lines(environment) + taken


def variables(text: str) -> dict[str, str]:
    """Return what a drop-in of ours sets."""
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    found: dict[str, str] = {}
    for line in lines:
        found.update(parse_environment(line.replace("%%", "%")))
    return found


def adopted(text: str) -> dict[str, str]:
    """Return what of it was taken over from a daemon that somebody started by hand."""
    return variables(text.partition(_ADOPTED)[2])


def _lines(environment: Mapping[str, str]) -> str:
    return "".join(f"Environment={_quote(f'{name}={value}')}\n" for name, value in environment.items())


def _quote(word: str) -> str:
    """Quote as systemd.syntax(7) wants it; a percent sign would begin a specifier."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def read(machine: Machine, path: str) -> str | None:
    """Return the drop-in's text, None when there is none."""
    return machine.read(path)


def find(machine: Machine) -> dict[str, str]:
    """Return C({path: text}) of our drop-ins for whichever unit; another file of that name is somebody else's."""
    folders = [f"{_UNITS}/{name}" for name in machine.names(_UNITS) if name.endswith(".service.d")]
    texts = {f"{folder}/{FILE_NAME}": machine.read(f"{folder}/{FILE_NAME}") for folder in folders}
    return {path: text for path, text in texts.items() if text and text.startswith(_SIGN)}


def foresee(machine: Machine, state: UnitState, path: str, wanted: Mapping[str, str]) -> UnitState:
    """Return what systemd would make of our drop-in if it were written: for check mode, which cannot ask it.

    Files that systemd has not read yet count as well, since writing ours is followed by a daemon-reload.
    """
    folder = str(Path(path).parent)
    on_disk = [f"{folder}/{name}" for name in machine.names(folder) if name.endswith(".conf")]
    unread = [one for one in on_disk if one not in state.files]
    drop_ins = sorted([*state.files, *unread], key=os.path.basename)
    environment = {**state.environment, **wanted}
    for later in (one for one in drop_ins if Path(one).name > FILE_NAME and one.endswith(".conf")):
        for _line, value in assigned(machine, later, "Environment"):
            environment = {**environment, **parse_environment(value)} if value.strip() else {}
    more = [value.strip().lstrip("-") for one in unread for _line, value in assigned(machine, one, "EnvironmentFile")]
    return state._replace(
        environment=environment, files=drop_ins, environment_files=[*state.environment_files, *filter(None, more)]
    )


def overruled_by(machine: Machine, state: UnitState, wanted: Mapping[str, str]) -> Failure | None:
    """Return why the next start would not get what is wanted, None where it would."""
    found = {name: beaten_by(machine, state, name, value, FILE_NAME) for name, value in wanted.items()}
    beaten = {name: setting for name, setting in found.items() if setting is not None}
    if not beaten:
        return None
    return overruled(
        beaten,
        f"The service {state.name} would not start with the required {', '.join(beaten)}, because {_places(beaten)} overrides our drop-in.",
    )


def overruled(beaten: Mapping[str, Setting], why: str) -> Failure:
    """Return the failure for variables that something else sets."""
    files = [one.path for one in beaten.values() if one.path.startswith("/")]
    return Failure(
        "drop_in_overruled",
        f"{why} Remove that line, then run this again. Nothing was restarted.",
        variables=list(beaten),
        files=list(dict.fromkeys(files)),
        places=list(dict.fromkeys(map(str, beaten.values()))),
    )


def _places(beaten: Mapping[str, Setting]) -> str:
    # Of the address the value is shown, which may be the whole riddle; of other variables it might be a secret.
    host = beaten.get("OLLAMA_HOST")
    shown = {str(one): "" for one in beaten.values()}
    if host:
        shown[str(host)] = f" (OLLAMA_HOST={host.value})" if host.value is not None else " (it takes OLLAMA_HOST away)"
    return ", ".join(f"{place}{value}" for place, value in shown.items())
