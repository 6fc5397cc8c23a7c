"""The stages that run pytest without ansible-test: the inner loop, and the tests against real model servers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence

from . import containers, docker, homes, paths, servers, tree, venvs
from .model import Counts, StageFailed, StageSkipped
from .run import PYTEST_FAULTS, Run

# The files of tests/real that start ansible-playbook: a stage of their own, since they take as long as all the others.
_PLAYS = ("test_playbooks*.py", "test_progress.py")
PYTEST = ("-m", "pytest", "-q", "-p", "no:pytest-ansible", "-p", "no:cacheprovider", "--color=no")
# Processes of pytest: both stages wait for servers, engines and one another's time limits more than they compute.
_REAL_PROCESSES, _PLAY_PROCESSES, _FAULT_PROCESSES = 4, 3, 2
# Of 105 s, unit tests wait for 50 (time limits, processes that are killed); nothing but `lint` runs beside them.
_QUICK_PROCESSES = 3


def units_quick(run: Run) -> None:
    """Run tests/unit on one Python, straight through pytest."""
    units_on(run, venvs.venv(run, "tools"), "-n", _QUICK_PROCESSES, "--dist", "loadfile")


def units_newest(run: Run) -> None:
    """Run tests/unit and tests/properties on the newest Python and measure what they reach."""
    folders = ("tests/unit", "tests/properties")
    units_on(run, venvs.venv(run, "units-newest"), measured=True, folders=folders)


def units_on(
    run: Run, programs: paths.Path, *options: object, measured: bool = False, folders: Sequence[str] = ("tests/unit",)
) -> None:
    """Run tests/unit, or other folders, with the Python of an environment."""
    root = tree.copy(run, run.name)
    report = paths.CACHE / f"{run.name}.xml"
    report.unlink(missing_ok=True)
    measure, env = _measuring(run, root) if measured else ([], {})
    env["PYTHONPATH"] = ":".join(filter(None, [tree.collections_path(root), env.get("PYTHONPATH")]))
    argv = [
        programs / "python",
        "-B",
        *PYTEST,
        *measure,
        *options,
        f"--junit-xml={report}",
        *_selected(run, root, folders),
    ]
    judge(run, run.execute(argv, cwd=root, env=env), report)


def _selected(run: Run, root: paths.Path, usual: Sequence[object]) -> list[object]:
    """Return what of pytest is to be run: what the user chose, a folder, a file, a test of one or an expression, or all."""
    if not run.choice:
        return list(usual)
    if (root / run.choice).is_dir():
        return [run.choice]
    name, colons, test = run.choice.partition("::")
    if not name.endswith(".py"):
        return ["-k", run.choice, *usual]
    found = sorted(file.relative_to(root) for file in (root / "tests").rglob(paths.Path(name).name))
    if not found:
        raise StageFailed(f"there is no {name} in tests/")
    # A unit test and one against real servers may have the same name.
    own = [file for file in found if any(file.is_relative_to(str(folder)) for folder in usual)]
    return [f"{(own or found)[0]}{colons}{test}"]


def judge(run: Run, status: int, report: paths.Path) -> None:
    """Count what pytest reports, and fail where it did not come that far."""
    run.highlight(PYTEST_FAULTS)
    run.count_junit([report] if report.exists() else [])
    # 1 is a failed test, which the report has; 5 is that there is none.
    if status not in (0, 1):
        raise StageFailed(f"pytest ended with exit {status}")


def _measuring(run: Run, root: paths.Path) -> tuple[list[object], dict[str, str]]:
    """Return the options and the environment with which pytest, and each process that it starts, measures what it reaches."""
    folder = str(root / "tests" / "tools")
    return ["-p", "measured"], {
        # What the interpreter itself tells (3.12 and newer) finds the same lines for 12 % more CPU, a tracer for 104 %.
        "COVERAGE_CORE": "sysmon",
        "MEASURED_DATA": str(_coverage_folder(run) / f"{run.name}=coverage"),
        "PYTHONPATH": folder,
    }


def _coverage_folder(run: Run) -> paths.Path:
    """Return an empty folder for what a stage measures, where the coverage stage finds it."""
    folder = paths.COVERAGE / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def real_servers(run: Run) -> None:
    """Run tests/real: the collection's own code against real llama.cpp and Ollama servers and doubles that misbehave."""
    plays = [word for pattern in _PLAYS for word in ("--ignore-glob", f"*/{pattern}")]
    _real(run, ["tests/real", *plays], _REAL_PROCESSES, measured=True)
    if not run.choice:
        _oldest_sdk(run)


def faults(run: Run) -> None:
    """Run tests/faults, and show the table of what was broken off where."""
    start = run.position()
    env = {}
    if os.environ.get("FAULTS_EVERY") == "1":
        from . import nim_lab

        env = {"LAB_VLLM_IMAGE": containers.vllm_image(run), "LAB_NIM_IMAGE": nim_lab.nim_image(run)}
        env["LAB_FLEET_IMAGE"] = docker.fleet_image(run)
    _real(run, ["tests/faults"], _FAULT_PROCESSES, measured=False, more=env)
    lines = run.printed_since(start).splitlines()
    run.shown = [line for line in lines if re.search(r"  converged  |^work  +fault|^elsewhere: ", line)]


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
    argv = [*homes.own(run), python, *PYTEST, f"--junit-xml={report}", *chosen]
    judge(run, run.execute(argv, cwd=root, env=env), report)


def plays(run: Run) -> None:
    """Run the files of tests/real that start ansible-playbook, as a user would, with both ends of what we support."""
    files = sorted(path for pattern in _PLAYS for path in (paths.REPO / "tests" / "real").glob(pattern))
    _real(run, [path.relative_to(paths.REPO) for path in files], _PLAY_PROCESSES, measured=False)


def _real(
    run: Run, files: Sequence[object], processes: int, measured: bool, more: Mapping[str, str] | None = None
) -> None:
    python = venvs.venv(run, "servers") / "python"
    root = tree.copy(run, run.name)
    report = paths.CACHE / f"{run.name}.xml"
    report.unlink(missing_ok=True)
    measure, env = _measuring(run, root) if measured else ([], {})
    env.update(more or {})
    folders = [tree.collections_path(root), *(str(root / "tests" / name) for name in ("servers", "tools"))]
    env["PYTHONPATH"] = ":".join(folders)
    env["SCRIPTED_SERVERS_PYTHON"] = str(python)
    # Each play that a test starts asks for it (tests/servers/payloads.py).
    shared = servers.shared_payloads(root / "plugins")
    env.update({name: shared[name] for name in ("SHARED_PAYLOADS", "LAB_PYTHON")})
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
    # A file belongs to one process, which keeps its servers from test to test.
    parallel = ["-n", processes, "--dist", "loadfile"]
    if homes.possible():
        own = paths.HOMES / f"{run.name}-processes"
        shutil.rmtree(own, ignore_errors=True)
        env["OWN_HOMES"] = str(own)
        parallel += ["-p", "own_home"]
    argv = [
        *homes.own(run),
        python,
        *PYTEST,
        *measure,
        *parallel,
        f"--junit-xml={report}",
        *_selected(run, root, files),
    ]
    judge(run, run.execute(argv, cwd=root, env=env), report)
