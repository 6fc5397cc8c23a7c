# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The sandboxes of a gateway, as it lists them (upstream-facts O7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..openshell import text
from .cli import OpenShell, reading
from .releases import ATTACHMENT

_PAGE = 100  # what `sandbox list` prints without --limit


@dataclass(frozen=True)
class SandboxSeen:
    """A sandbox in the list: phase is Provisioning, Ready, Error, Deleting, or another word of the release."""

    id: str
    name: str
    phase: str


def list_sandboxes(cli: OpenShell) -> list[SandboxSeen]:
    """Return all of them, by name."""
    found: list[SandboxSeen] = []
    if cli.way == ATTACHMENT:
        command = ("sandbox", "list", "-o", "json")
        with reading(cli, *command):
            found = [SandboxSeen(one["id"], one["name"], one["phase"]) for one in read_pages(cli, *command)]
        return sorted(found, key=lambda sandbox: sandbox.name)
    while True:
        words = ("sandbox", "list", "-o", "json", "--limit", str(_PAGE), "--offset", str(len(found)))
        with reading(cli, *words):
            page = text.json_of(cli.call(*words))
            found += [SandboxSeen(entry["id"], entry["name"], entry["phase"]) for entry in page]
        if len(page) < _PAGE:
            return sorted(found, key=lambda sandbox: sandbox.name)


def read_pages(cli: OpenShell, *words: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a list of 0.1, which comes in pages: an object with one list and the token of the next page.

    A list that stands alone, as older releases and the list of one sandbox's providers print it, is its only page.
    """
    token: list[str] = []
    while True:
        page = text.json_of(cli.call(*words, *token))
        if isinstance(page, list):
            yield from page
            return
        yield from next((value for value in page.values() if isinstance(value, list)), [])
        if not page.get("next_page_token"):
            return
        token = ["--page-token", str(page["next_page_token"])]


def find_sandbox(cli: OpenShell, name: str) -> SandboxSeen | None:
    """Return the sandbox of that name, None where there is none."""
    return next((sandbox for sandbox in list_sandboxes(cli) if sandbox.name == name), None)
