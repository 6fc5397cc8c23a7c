"""The stages about what users get: the tarball, its installation, and the demonstration of the README."""

from __future__ import annotations

import json
import shutil

from . import paths, tree, venvs
from .model import StageFailed, StageSkipped
from .run import Run


def tarball(run: Run) -> None:
    """Build the collection, install it into an empty path without the network, and read its documentation from there."""
    install(run)
    _check_documentation(run, venvs.venv(run, "tools"))


def install(run: Run, dist: paths.Path = paths.DIST, installed: paths.Path = paths.INSTALLED) -> None:
    """Build the collection and install it, each into a folder that is made anew."""
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    for folder in (dist, installed):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    galaxy = [tools / "ansible-galaxy", "collection"]
    run.command([*galaxy, "build", "--output-path", dist], cwd=root)
    (archive,) = dist.glob("*.tar.gz")
    run.verdict("build", True)
    if not run.check("install", [*galaxy, "install", "--offline", "-p", installed, archive], cwd=dist):
        raise StageFailed("the tarball does not install")
    run.check("verify", [*galaxy, "verify", "--offline", "-p", installed, paths.COLLECTION], cwd=dist)


def demo(run: Run) -> None:
    """Run bin/demo in a copy, as from a fresh clone, and a second time, when it finds everything in place."""
    root = tree.copy(run, run.name)
    if not (root / "bin" / "demo").exists():
        raise StageSkipped("bin/demo does not exist")
    if run.check("bin/demo", [root / "bin" / "demo"], cwd=root):
        run.check("bin/demo again", [root / "bin" / "demo"], cwd=root)


def _check_documentation(run: Run, tools: paths.Path) -> None:
    """Each module, each callback and each role entry point of the installed copy shows its description through ansible-doc."""
    env = {"ANSIBLE_COLLECTIONS_PATH": str(paths.INSTALLED)}
    source = paths.INSTALLED / paths.COLLECTION_FOLDER
    expected = {
        "module": {path.stem for path in (source / "plugins" / "modules").glob("*.py")},
        "callback": {path.stem for path in (source / "plugins" / "callback").glob("*.py")},
        "role": {path.name for path in (source / "roles").glob("*/")},
    }
    for kind, names in expected.items():
        doc = [tools / "ansible-doc", "-t", kind, "--json"]
        listed = json.loads(run.output([*doc, "-l", paths.COLLECTION], cwd=paths.DIST, env=env) or "{}")
        run.verdict(f"ansible-doc lists every {kind}", set(listed) == {f"{paths.COLLECTION}.{name}" for name in names})
        pages = json.loads(run.output([*doc, *sorted(listed)], cwd=paths.DIST, env=env)) if listed else {}
        for name in sorted(listed):
            page = pages[name]
            entries = page["entry_points"] if kind == "role" else {"doc": page["doc"]}
            silent = [entry for entry, text in entries.items() if not text.get("description")]
            run.verdict(f"ansible-doc {name}", bool(entries) and not silent, f"no description: {', '.join(silent)}")
