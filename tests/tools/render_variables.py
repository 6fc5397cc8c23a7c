# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Render the tables of variables in the README.md of each role and in docs/variables.md from the argument_specs and defaults.

    python tests/tools/render_variables.py           writes the tables
    python tests/tools/render_variables.py --check   exits 1 with a diff where a table is not what it would write
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
# The table of settings is plain Python, and is read where it lies.
sys.path.insert(0, str(REPO))

from plugins.module_utils.plan.settings import WIZARD

# In Python, reading the specifications would be most of what this takes; libyaml is not everywhere.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

START, END = "<!-- variables:start -->", "<!-- variables:end -->"

# ansible-doc's markup: one or two capitals, then the text in parentheses, where a backslash takes away a meaning.
_CODE = re.compile(r"\b(RV|O|V|C|E)\(((?:\\.|[^)\\])*)\)")
_OTHER_MARKUP = (
    (re.compile(r"\b[MP]\(([^)#]*)(?:#[^)]*)?\)"), r"`\1`"),
    (re.compile(r"\bI\(([^)]*)\)"), r"*\1*"),
    (re.compile(r"\bB\(([^)]*)\)"), r"**\1**"),
    (re.compile(r"\bL\(([^,)]*),\s*([^)]*)\)"), r"[\1](\2)"),
    (re.compile(r"\bU\(([^)]*)\)"), r"<\1>"),
)

# A default that looks up a setting, with what it is where the setting's own default does not hold.
_LOOKUP = re.compile(
    r"lookup\('nemoclaw\.local_inference\.setting', '(?P<name>\w+)'(?:, default='?(?P<default>\w*)'?)?\)"
)


@dataclass
class Setting:
    """A setting of the wizard, or an environment variable that has no setting beside it."""

    name: str
    environment: list[str]
    default: str
    about: str
    readers: list[str] = field(default_factory=list)


def to_markdown(text: str) -> str:
    """Return a text with ansible-doc's markup as Markdown that may stand in a cell of a table."""
    text = _CODE.sub(_code, text)
    for pattern, replacement in _OTHER_MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(text.split()).replace("|", "\\|")


def _code(match: re.Match[str]) -> str:
    text = re.sub(r"\\(.)", r"\1", match.group(2))
    if match.group(1) in ("O", "RV") and "#" in text:
        text = text.partition("#")[2].rpartition(":")[2]  # another plugin's option: namespace.collection.name#type:option
    return f"`{text}`"


def sources(expression: str) -> list[tuple[str, str]]:
    """Return what a default looks at, in its order, as pairs of kind (setting, environment, value) and text."""
    found = []
    for match in _LOOKUP.finditer(expression):
        one = WIZARD[match["name"]]
        default = one.default if match["default"] is None else match["default"]
        value = str(default).lower() if isinstance(default, bool) else str(default)
        found += [("setting", one.wizard), *(("environment", name) for name in one.environment), ("value", value)]
    return [(kind, text) for kind, text in found if text]


def readable_default(option: dict[str, Any]) -> str:
    """Return an option's default for people; an expression as the list of what it looks at."""
    if option.get("required"):
        return "required"
    default = option.get("default")
    if default is None:
        return ""
    if default == "":
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if not (isinstance(default, str) and "{{" in default):
        return f"`{default}`"
    names = dict.fromkeys(f"`{text}`" for _kind, text in sources(default))
    return f"one of {', '.join(names)}" if " if " in default else ", then ".join(names)


def paragraphs(option: dict[str, Any]) -> list[str]:
    """Return the description, which may be one string or a list of them."""
    description = option.get("description", [])
    return [description] if isinstance(description, str) else description


def rows(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a row of the table for each option, and for each one inside it."""
    for name, option in options.items():
        kind = option.get("type", "str")
        kind = f"{kind} of {option['elements']}" if "elements" in option else kind
        about = " ".join(map(to_markdown, paragraphs(option)))
        if "choices" in option:
            about += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        yield f"| `{prefix}{name}` | {kind} | {readable_default(option)} | {about} |"
        yield from rows(option.get("options", {}), f"{prefix}{name}[].")


def load_specs(repo: Path) -> dict[str, dict[str, Any]]:
    """Return the entry points of each role; preflight first, as in a play, so that its defaults are the ones shown.

    What an option looks at stands in defaults/main.yml alone: argument_specs have the fixed value, and for secrets none.
    """
    roles = {}
    for role in sorted(repo.glob("roles/*"), key=lambda path: (path.name != "preflight", path)):
        entry_points = _read(role / "meta" / "argument_specs.yml")["argument_specs"]
        defaults = _read(role / "defaults" / "main.yml")
        for spec in entry_points.values():
            for name, option in spec.get("options", {}).items():
                option["default"] = defaults.get(name, option.get("default"))
        roles[role.name] = entry_points
    return roles


def _read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER) or {}


def role_tables(entry_points: dict[str, Any]) -> str:
    """Return a section for each entry point of a role; that of C(main) needs no heading of its own."""
    sections = []
    for entry_point, spec in entry_points.items():
        heading = [] if entry_point == "main" else [f"### `tasks_from: {entry_point}`", ""]
        lines = [*heading, f"{to_markdown(spec['short_description'])}.", ""]
        lines += ["| variable | type | default | what it does |", "|---|---|---|---|"]
        sections.append("\n".join([*lines, *rows(spec.get("options", {}))]))
    return "\n\n".join(sections)


def settings(repo: Path) -> list[Setting]:
    """Return the settings that the defaults of the roles read, with everything that reads each."""
    found: dict[str, Setting] = {}
    for entry_points in load_specs(repo).values():
        for name, option in entry_points["main"].get("options", {}).items():
            for setting in _settings_in(option):
                known = found.setdefault(setting.name or setting.environment[0], setting)
                known.readers.append(f"`{name}`")
    for playbook in sorted(repo.glob("playbooks/*.yml")):
        text = playbook.read_text(encoding="utf-8").partition("\n- ")[2]
        # With the tasks that it includes.
        for name in re.findall(r"tasks/\w+\.yml", text):
            text += (playbook.parent / name).read_text(encoding="utf-8")
        for key, setting in found.items():
            if re.search(rf"(?<!ansible_facts\.)\b{key}\b", text):
                setting.readers.append(f"playbook `{playbook.stem}`")
    return list(found.values())


def _settings_in(option: dict[str, Any]) -> list[Setting]:
    """Return the settings in one default: an environment variable belongs to the setting before it."""
    listed: list[Setting] = []
    default = option.get("default")
    about = to_markdown(paragraphs(option)[0])
    for kind, text in sources(default) if isinstance(default, str) else []:
        if kind == "setting":
            listed.append(Setting(text, [], "", about))
        elif kind == "value":
            listed[-1].default = text
        elif listed and listed[-1].name:
            listed[-1].environment.append(text)
        else:
            listed.append(Setting("", [text], "", about))
    return listed


def settings_table(repo: Path) -> str:
    """Return the table of the wizard's settings."""
    lines = ["| setting | environment variable | default | what it does | what reads it |", "|---|---|---|---|---|"]
    for setting in settings(repo):
        environment = ", then ".join(f"`{name}`" for name in setting.environment)
        name, default = (f"`{text}`" if text else "" for text in (setting.name, setting.default))
        cells = (name, environment, default)
        lines.append(f"| {' | '.join(cells)} | {setting.about} | {', '.join(setting.readers)} |")
    return "\n".join(lines)


def tables(repo: Path) -> dict[str, str]:
    """Return each page that has tables, and what they have to be."""
    pages = {f"roles/{role}/README.md": role_tables(specs) for role, specs in load_specs(repo).items()}
    return {**pages, "docs/variables.md": settings_table(repo)}


def rendered(text: str, table: str) -> str:
    """Return the text with the table between its markers.

    Raises:
        ValueError: The markers are missing.

    """
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"the file needs {START} and {END}, each once")
    head, tail = text.partition(START)[0], text.partition(END)[2]
    return f"{head}{START}\n\n{table}\n\n{END}{tail}"


def main(arguments: list[str], repo: Path = REPO) -> int:
    """Return 0 when the tables are what they should be, 1 when --check found one that is not."""
    parser = argparse.ArgumentParser(description="Render the tables of variables from the roles.")
    parser.add_argument("--check", action="store_true", help="write nothing; show what differs and exit with 1")
    check = parser.parse_args(arguments).check
    stale = False
    for name, table in tables(repo).items():
        path = repo / name
        before = path.read_text(encoding="utf-8")
        after = rendered(before, table)
        if after != before and check:
            stale = True
            lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
            sys.stdout.writelines(difflib.unified_diff(*lines, name, f"{name} as the roles have it"))
        elif after != before:
            path.write_text(after, encoding="utf-8")
    if stale:
        print("Run: python tests/tools/render_variables.py", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
