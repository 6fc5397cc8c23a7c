"""The stages that run pytest without ansible-test: the inner loop, and the tests against real model servers."""

from __future__ import annotations

import shutil

from . import docker, homes, paths, servers, tree, venvs
from .model import Counts, StageSkipped
from .run import PYTEST_FAULTS, Run

# The files of tests/real that start ansible-playbook: a stage of their own, since they take as long as all the others.
_PLAYS = ("test_playbooks*.py", "test_progress.py")
PYTEST = ("-m", "pytest", "-q", "-p", "no:pytest-ansible", "-p", "no:cacheprovider", "--color=no")


# Branches, because ansible-test measures them and the two can be combined only when they agree.
_MEASURE = ("-m", "coverage", "run", "--branch", "--parallel-mode", "--include=*/local_inference/plugins/*")


def units_quick(run: Run) -> None:
    """Run tests/unit on one Python, straight through pytest."""
    _units(run, [], {})


def units_measured(run: Run) -> None:
    """Run tests/unit on one Python and measure what they reach: ansible-test forks for each test, which takes five times as long."""
    _units(run, [*_MEASURE], {"COVERAGE_FILE": str(_coverage_folder(run) / f"{run.name}=coverage")})


def _units(run: Run, measure: list[str], env: dict[str, str]) -> None:
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    report = paths.CACHE / f"{run.name}.xml"
    report.unlink(missing_ok=True)
    env = {**env, "PYTHONPATH": tree.collections_path(root)}
    run.execute([tools / "python", *measure, *PYTEST, f"--junit-xml={report}", "tests/unit"], cwd=root, env=env)
    run.highlight(PYTEST_FAULTS)
    run.count_junit([report] if report.exists() else [])


def _coverage_folder(run: Run) -> paths.Path:
    """Return an empty folder for what a stage measures, where the coverage stage finds it."""
    folder = paths.COVERAGE / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def real_servers(run: Run) -> None:
    """Run tests/real: the collection's own code against real llama.cpp and Ollama servers and doubles that misbehave."""
    plays = [word for pattern in _PLAYS for word in ("--ignore-glob", f"*/{pattern}")]
    _real(run, [*_MEASURE], ["tests/real", *plays])
    _oldest_sdk(run)


def _oldest_sdk(run: Run) -> None:
    """Run the core of managed containers with the oldest Docker SDK that we support, on the same engine."""
    try:
        docker.require_engine(run)
        image = docker.firewall_image(run)
        python = venvs.venv(run, "docker-oldest") / "python"
    except StageSkipped as reason:
        run.counts.add(Counts(skipped=1, reasons=[f"no tests with the oldest Docker SDK: {reason}"]))
        return
    root = tree.copy(run, run.name)
    report = paths.CACHE / "docker-oldest.xml"
    report.unlink(missing_ok=True)
    env = {
        "PYTHONPATH": f"{tree.collections_path(root)}:{root / 'tests' / 'servers'}",
        "LAB_FIREWALL_IMAGE": image,
    }
    # Its conftest is for the servers of the other files.
    chosen = ["--noconftest", "-k", "pulled or comes_back or one_shot or none", "tests/real/test_containers.py"]
    run.execute([*homes.own(run), python, *PYTEST, f"--junit-xml={report}", *chosen], cwd=root, env=env)
    run.highlight(PYTEST_FAULTS)
    run.count_junit([report] if report.exists() else [])


def plays(run: Run) -> None:
    """Run the files of tests/real that start ansible-playbook, as a user would, with both ends of what we support."""
    files = sorted(path for pattern in _PLAYS for path in (paths.REPO / "tests" / "real").glob(pattern))
    _real(run, [], [path.relative_to(paths.REPO) for path in files])


def _real(run: Run, measure: list[str], chosen: list[str] | list[paths.Path]) -> None:
    python = venvs.venv(run, "servers") / "python"
    root = tree.copy(run, run.name)
    report = paths.CACHE / f"{run.name}.xml"
    report.unlink(missing_ok=True)
    env = {
        "PYTHONPATH": f"{tree.collections_path(root)}:{root / 'tests' / 'servers'}",
        "SCRIPTED_SERVERS_PYTHON": str(python),
        "COVERAGE_FILE": str(_coverage_folder(run) / f"{run.name}=coverage"),
    }
    home = servers.ollama_home(run)
    if home:
        env["OLLAMA_TEST_HOME"] = str(home)
    env["WEAK_MODELS_HOME"] = str(servers.weights_home(run, "smollm2"))
    env["CLIENT_LIBRARIES_HOME"] = str(servers.clients_home(run))
    # What a user sees of a play is looked at with both ends of what we support.
    env["OLDEST_CORE"] = str(venvs.venv(run, f"core-{venvs.OLDEST_CORE}"))
    openshell = servers.openshell_home(run)
    if openshell:
        env["OPENSHELL_TEST_HOME"] = str(openshell)
    try:
        docker.require_engine(run)
        env["LAB_FIREWALL_IMAGE"] = docker.firewall_image(run)
    except StageSkipped as reason:
        run.counts.add(Counts(skipped=1, reasons=[f"no tests of real firewalls: {reason}"]))
    run.execute([*homes.own(run), python, *measure, *PYTEST, f"--junit-xml={report}", *chosen], cwd=root, env=env)
    run.highlight(PYTEST_FAULTS)
    run.count_junit([report] if report.exists() else [])
