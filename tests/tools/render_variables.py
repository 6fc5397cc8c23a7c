#!/usr/bin/env python3
# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Render the tables of variables in README.md and docs/variables.md from the roles' argument_specs.

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
START, END = "<!-- variables:start -->", "<!-- variables:end -->"
TARGETS = ("README.md", "docs/variables.md")

# ansible-doc's markup (docs.ansible.com, "Ansible markup"): a letter or two and what stands in parentheses.
_CODE = re.compile(r"\b(?:RV|O|V|C|E)\(((?:\\.|[^)\\])*)\)")
_PLUGIN = re.compile(r"\b(?:M|P)\(([^)#]*)(?:#[^)]*)?\)")
_EMPHASIS = re.compile(r"\bI\(([^)]*)\)")
_STRONG = re.compile(r"\bB\(([^)]*)\)")
_LINK = re.compile(r"\bL\(([^,)]*),\s*([^)]*)\)")
_URL = re.compile(r"\bU\(([^)]*)\)")

# What a default looks at, in its order: a variable of the inventory, an environment variable, a value.
_SOURCE = re.compile(
    r"lookup\('ansible\.builtin\.env', '(?P<environment>\w+)'\)"
    r"|default\((?P<value>'[^']*'|\d+|true|false)[,)]"
    r"|\b(?P<setting>(?:nemoclaw|compatible)_\w+)\b"
)


@dataclass
class Setting:
    """A setting of the wizard, as the defaults of the roles read it."""

    name: str
    environment: str
    default: str
    about: str
    readers: list[str] = field(default_factory=list)


def to_markdown(text: str) -> str:
    """Return a text with ansible-doc's markup as Markdown that may stand in a cell of a table."""
    text = _CODE.sub(lambda match: f"`{_unescape(match.group(1)).rpartition('#')[2].rpartition(':')[2]}`", text) \
        if False else _CODE.sub(_code, text)
    text = _PLUGIN.sub(r"`\1`", text)
    text = _EMPHASIS.sub(r"*\1*", text)
    text = _STRONG.sub(r"**\1**", text)
    text = _LINK.sub(r"[\1](\2)", text)
    text = _URL.sub(r"<\1>", text)
    return " ".join(text.split()).replace("|", "\\|")
