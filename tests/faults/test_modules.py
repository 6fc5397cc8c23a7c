# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that change files: the record of the route, what is installed from archives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ollama_archives
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import read_record
from ansible_collections.nemoclaw.local_inference.plugins.modules import (
    inference_route,
    ollama_install,
    openshell_install,
)
from harness import END, FULL, INTERRUPT, KILL, READ_ONLY, Table, play, sweep

# Threads of other tests' servers may be there; a child uses none of their locks.
pytestmark = pytest.mark.filterwarnings("ignore:This process")
NONE = "there was none"
EVERY = dict.fromkeys((KILL, INTERRUPT, END, FULL, READ_ONLY), 1)
# Where there are many steps: a killed run at each, the others here and there.
MOST = {KILL: 1, INTERRUPT: 3, FULL: 4}
CLI = "openshell-x86_64-unknown-linux-musl.tar.gz"


class Route:
    """The record of a route in a home of its own; the other route is what was there before."""

    def __init__(self, folder: Path, before: bool, state: str = "present") -> None:
        self.folder, self.before = folder, before
        self.path = folder / ".nemoclaw" / "local-inference.json"
        self.wanted = {"state": state, "path": str(self.path), **(self.route("new") if state == "present" else {})}
        if before:
            play(inference_route, {"path": str(self.path), **self.route("old")})

    @staticmethod
    def route(model: str) -> dict[str, Any]:
        return {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "model": model}

    def run(self) -> bool:
        return bool(play(inference_route, self.wanted)["changed"])

    def state(self) -> object:
        return content(self.path.parent)

    def serves(self) -> bool:
        found = read_record(str(self.path))
        return (found["model"] in ("old", "new")) if found else not self.before or self.wanted["state"] == "absent"


@pytest.mark.parametrize(
    ("work", "before", "state", "least"),
    [
        ("inference_route: record", False, "present", 3),
        ("inference_route: replace", True, "present", 2),
        ("inference_route: remove", True, "absent", 1),
    ],
)
def test_the_route_record(table: Table, tmp_path: Path, work: str, before: bool, state: str, least: int) -> None:
    sweep(
        table, work, lambda folder: Route(folder, before, state), tmp_path, EVERY, least, "answered" if before else NONE
    )


OLD, NEW = "0.31.1", "0.32.9"


def program(name: str, version: str) -> bytes:
    return f"#!/bin/sh\necho {name} {version}\n".encode()


def content(folder: Path) -> dict[str, bytes]:
    """Return each file below a folder, and each folder without content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def holds_program(folder: Path) -> bool:
    """Tell whether a program is in its place, or kept for the next run to put it there."""
    return any(found.startswith(b"#!/bin/sh") for path, found in content(folder).items() if "/new/" not in path)


@dataclass(frozen=True)
class Releases:
    """Archives of two releases of Ollama and of the OpenShell CLI, in folders that a server hands out."""

    ollama: dict[str, dict[str, str]]
    openshell: dict[str, dict[str, Any]]
    installed: Path  # a prefix with the old Ollama


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    folder = tmp_path_factory.mktemp("releases")
    with ollama_archives.serving(folder) as server:
        made = Releases({}, {}, folder / "installed")
        for version in (OLD, NEW):
            files = {
                "bin/ollama": program("ollama version is", version),
                f"lib/ollama/{version}.so": b"x",
                "lib/ollama/base.so": version.encode(),
            }
            archive = ollama_archives.pack(folder / f"ollama-{version}.tgz", files)
            made.ollama[version] = {"url": f"{server.url}/whole/{archive.name}", "checksum": archive.checksum}
        for version in ("0.0.44", "0.0.83"):
            place = folder / version
            place.mkdir()
            archive = ollama_archives.pack(place / CLI, {"openshell": program("openshell", version)})
            made.openshell[version] = {"url": str(place), "checksums": {"cli": archive.checksum}}
        install_ollama(made, made.installed, "present", OLD)
        yield made


def install_ollama(releases: Releases, prefix: Path, state: str, version: str) -> bool:
    desired = {"mode": "user", "prefix": str(prefix), "port": 9, "keep_previous": True}
    result = play(ollama_install, {"state": state, "version": version, **desired, **releases.ollama[version]})
    return bool(result["changed"])


class Ollama:
    """A prefix with the old release, or with nothing; the new one is installed and, as the role does once it is proved, settled."""

    def __init__(self, folder: Path, releases: Releases, upgrade: bool) -> None:
        self.folder, self.releases, self.upgrade = folder, releases, upgrade
        self.prefix = folder / "prefix"
        if upgrade:
            shutil.copytree(releases.installed, self.prefix)

    def run(self) -> bool:
        changed = [install_ollama(self.releases, self.prefix, state, NEW) for state in ("present", "settled")]
        return any(changed)

    def state(self) -> object:
        return content(self.prefix)

    def serves(self) -> bool:
        return not self.upgrade or holds_program(self.prefix)


@pytest.mark.parametrize("upgrade", [False, True], ids=["first", "upgrade"])
def test_ollama_from_an_archive(table: Table, tmp_path: Path, releases: Releases, upgrade: bool) -> None:
    work = f"ollama_install: {'upgrade' if upgrade else 'first'}"
    sweep(
        table, work, lambda folder: Ollama(folder, releases, upgrade), tmp_path, MOST, 15, "kept" if upgrade else NONE
    )


class OpenShell:
    """A prefix with the CLI of an old release, or with nothing."""

    def __init__(self, folder: Path, releases: Releases, upgrade: bool) -> None:
        self.folder, self.releases, self.upgrade = folder, releases, upgrade
        if upgrade:
            self.install("0.0.44")

    def install(self, version: str) -> bool:
        desired = {"version": version, "prefix": str(self.folder / "opt"), **self.releases.openshell[version]}
        return bool(play(openshell_install, desired)["changed"])

    def run(self) -> bool:
        return self.install("0.0.83")

    def state(self) -> object:
        return content(self.folder / "opt")

    def serves(self) -> bool:
        return not self.upgrade or holds_program(self.folder / "opt")


@pytest.mark.parametrize("upgrade", [False, True], ids=["first", "upgrade"])
def test_openshell_from_an_archive(table: Table, tmp_path: Path, releases: Releases, upgrade: bool) -> None:
    work = f"openshell_install: {'upgrade' if upgrade else 'first'}"
    sweep(
        table, work, lambda folder: OpenShell(folder, releases, upgrade), tmp_path, MOST, 8, "kept" if upgrade else NONE
    )
