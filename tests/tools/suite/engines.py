"""The stage that nobody runs by the way: real engines, of which each is gigabytes."""

from __future__ import annotations

import hashlib
import platform
import shutil

from . import paths, pythons, servers, tree, venvs
from .model import StageSkipped
from .pytests import PYTEST
from .run import PYTEST_FAULTS, Run, exclusive


def engines(run: Run) -> None:
    """Run tests/engines: the collection against the real vLLM on the CPU, with the scripted model, and all the weak models."""
    if platform.machine() != "x86_64":
        raise StageSkipped("tests/requirements/engines.txt is for x86_64")
    home = _vllm_home(run)
    python = venvs.venv(run, "servers") / "python"
    root = tree.copy(run, run.name)
    report = paths.CACHE / "engines.xml"
    report.unlink(missing_ok=True)
    folders = [tree.collections_path(root), *(str(root / "tests" / name) for name in ("servers", "real"))]
    env = {"PYTHONPATH": ":".join(folders), "SCRIPTED_SERVERS_PYTHON": str(python), "VLLM_TEST_HOME": str(home)}
    env["WEAK_MODELS_HOME"] = str(servers.weights_home(run, "smollm2", "gemma3"))
    chosen = ["tests/engines", "tests/real/test_weak_models.py"]
    run.execute([python, *PYTEST, f"--junit-xml={report}", *chosen], cwd=root, env=env)
    run.highlight(PYTEST_FAULTS)
    run.count_junit([report] if report.exists() else [])


def _vllm_home(run: Run) -> paths.Path:
    """Return the environment of vLLM; made on first use and again whenever the requirements change."""
    version, python = pythons.require("3.12")
    recipe = (paths.REQUIREMENTS / "engines.txt").read_bytes()
    folder = paths.CACHE / "engines" / f"vllm-py{version}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with exclusive("venv-vllm"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder.parent, ignore_errors=True)  # 6 GB of each earlier recipe
            program = paths.REPO / "tests" / "servers" / "vllm_server.py"
            run.command([python, program, "--install", folder])
    return folder
