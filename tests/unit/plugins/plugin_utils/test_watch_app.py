# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the watch as one file: what is in it, that it is always the same, and that it runs alone."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import watch_app

ROOT = Path(watch_app.__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "watch.pyz"
    path.write_bytes(watch_app.build().content)
    return path


def call(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(program.parent)}
    command = [sys.executable, "-I", str(program), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd="/", timeout=30, check=False)


def test_it_runs_by_itself_and_says_what_it_is(program: Path) -> None:
    shown = call(program, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "exit status: 0 healthy" in shown.stdout.lower()
    assert call(program, "--version").stdout == f"nemoclaw-watch {watch_app.build().version}\n"
    state = str(program.parent / "state")
    done = call(program, "--settings", "/nonexistent", "--state", state, "run")
    assert (done.returncode, "There is no route record" in done.stdout) == (1, True), done


def test_the_same_sources_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "plugins" / "module_utils", copied / "plugins" / "module_utils")
    for path in copied.rglob("*.py"):
        os.utime(path, (0, 0))
    shutil.copy(ROOT / "galaxy.yml", copied)
    first, again = watch_app.build(), watch_app.build(copied)
    assert (first.content == again.content, first.checksum) == (True, again.checksum)
    changed = copied / "plugins" / "module_utils" / "watch" / "look.py"
    changed.write_text(changed.read_text() + "# changed\n")
    other = watch_app.build(copied)
    assert other.checksum != first.checksum
    assert other.version != first.version


def test_it_holds_what_the_syntax_tree_says_and_nothing_of_ansible(program: Path) -> None:
    with zipfile.ZipFile(program) as archive:
        names = [name for name in archive.namelist() if not name.endswith("__init__.py")]
        texts = {name: archive.read(name).decode() for name in names}
    modules = {name[:-3].replace("/", ".") for name in names}
    for name, text in texts.items():
        package = name.split("/")[:-1]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert not any(one.name.split(".")[0] == "ansible" for one in node.names), name
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert str(node.module).partition(".")[0] != "ansible", name
            elif isinstance(node, ast.ImportFrom):
                home = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                home = [one for one in home if one]
                needed = (
                    [".".join(home)]
                    if ".".join(home) in modules
                    else [".".join([*home, one.name]) for one in node.names]
                )
                assert set(needed) <= modules, f"{name} imports {needed}"


def test_it_is_no_larger_than_it_was_said_to_be(program: Path) -> None:
    """docs/watch.md names the size; what a run compiles each minute grows with it."""
    assert program.stat().st_size < 450_000
