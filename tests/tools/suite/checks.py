"""The stages that read the collection without running it: lint, types, documentation, and the product's own linters."""

from __future__ import annotations

import re
import tempfile

from . import paths, tree, venvs
from .model import StageFailed
from .run import Run

# What gixy finds in the auth proxy's configuration and what stands against it.
_GIXY_ACCEPTED = (
    # A token of a model has to be passed on when it comes, and a slow reader is bounded by send_timeout and the connections per address.
    "proxy_buffering_off",
    # The unit has LimitNOFILE, which its account could not raise.
    "worker_rlimit_nofile_vs_connections",
)


def lint(run: Run) -> None:
    """Style, types, YAML, shell and the proxy's nginx configuration: every tool runs, so that one pass shows everything."""
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    run.check("ruff check", [tools / "ruff", "check", "."], cwd=root)
    run.check("ruff format", [tools / "ruff", "format", "--check", "--diff", "."], cwd=root)
    run.check("yamllint", [tools / "yamllint", "--strict", "."], cwd=root)
    # The imports in plugins/ are absolute: mypy finds them from the folder that holds ansible_collections.
    config = ["--config-file", root / "mypy.ini", "--cache-dir", paths.CACHE / "mypy"]
    run.check("mypy plugins", [tools / "mypy", *config, paths.COLLECTION_FOLDER / "plugins"], cwd=root.parents[2])
    servers = {"MYPYPATH": str(root / "tests" / "servers")}
    run.check("mypy tests/tools", [tools / "mypy", *config, "suite"], root / "tests" / "tools", servers)
    scripts = [path for path in sorted(root.rglob("*")) if _is_shell(path) and ".git" not in path.parts]
    run.check("shellcheck", [tools / "shellcheck", *(path.relative_to(root) for path in scripts)], cwd=root)
    with tempfile.TemporaryDirectory() as folder:
        run.command([tools / "python", root / "tests" / "tools" / "proxy_config.py", folder])
        accepted = ["--skips", ",".join(_GIXY_ACCEPTED)]
        run.check("gixy on the auth proxy's configuration", [tools / "gixy", *accepted, f"{folder}/nginx.conf"])


def ansible_lint(run: Run) -> None:
    """Run ansible-lint with the profile `production`, without the network and without exceptions."""
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    env = {"ANSIBLE_COLLECTIONS_PATH": tree.collections_path(root), "PATH": f"{tools}:/usr/bin:/bin"}
    # What it reads is in .ansible-lint: not tests/ and molecule/, whose tasks are no example for anybody, and which the other stages run.
    run.check("ansible-lint", [tools / "ansible-lint", "--offline", "--profile", "production", "--strict"], root, env)


def docs(run: Run) -> None:
    """Documentation of plugins and roles, the changelog, the README tables that are rendered from argument_specs."""
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    env = {"ANSIBLE_COLLECTIONS_PATH": tree.collections_path(root), "PATH": f"{tools}:/usr/bin:/bin"}
    references = ["--plugin-docs", "--validate-collection-refs=self", "--disallow-unknown-collection-refs"]
    run.check("antsibull-docs", [tools / "antsibull-docs", "lint-collection-docs", *references, "."], root, env)
    run.check("antsibull-changelog", [tools / "antsibull-changelog", "lint"], root, env)
    renderer = root / "tests" / "tools" / "render_variables.py"
    if renderer.exists():
        run.check("README variable tables", [tools / "python", renderer, "--check"], root, env)


def galaxy_importer(run: Run) -> None:
    """Let Galaxy's own importer judge the tarball that the stage `tarball` built."""
    tools = venvs.venv(run, "tools")
    archives = list(paths.DIST.glob("*.tar.gz"))
    if not archives:
        raise StageFailed("there is no tarball in .cache/dist: run `bin/test tarball galaxy-importer`")
    # It looks the programs that it calls up on PATH, and goes on without those it does not find.
    env = {"PATH": f"{tools}:/usr/bin:/bin"}
    # The stage ansible-lint reads the same files by more rules, and fails for what the importer notes.
    env["GALAXY_IMPORTER_RUN_ANSIBLE_LINT"] = "false"
    start = run.position()
    run.check("galaxy-importer", [tools / "python", "-m", "galaxy_importer.main", archives[0]], paths.DIST, env)
    left_out = re.findall(r".*(?:skipping|skipped).*", run.printed_since(start))
    run.verdict("galaxy-importer left nothing out", not left_out, "; ".join(left_out))


def _is_shell(path: paths.Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as handle:
        first, second = handle.readline().rstrip(), handle.readline()
    # In bin/ a second line that begins so hands the file to Python (see bin/test).
    return first in {b"#!/usr/bin/env bash", b"#!/bin/sh", b"#!/bin/bash"} and not second.startswith(b'"exec" ')
