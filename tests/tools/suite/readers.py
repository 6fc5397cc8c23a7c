"""The stage of tools that read what the collection writes: Prometheus' own checker, Grafana's model, and ARA, which records playbooks."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from . import paths, tree, venvs
from .run import Run

_HOSTS = 40
# It may stand in nothing that is recorded.
_CANARY = "canary-5c1f7e0a92"


def readers(run: Run) -> None:
    """Give metrics, rules and the dashboard to who reads them, and find a plan in ARA's record."""
    root = tree.copy(run, run.name)
    with tempfile.TemporaryDirectory() as folder:
        _promtool(run, root, Path(folder))
        _ara(run, root, Path(folder))


def _promtool(run: Run, root: Path, folder: Path) -> None:
    promtool = shutil.which("promtool") or _promtool_of_debian(run)
    writer = root / "tests" / "unit" / "plugins" / "plugin_utils" / "report_fleet.py"
    python = {"PYTHONPATH": tree.collections_path(root)}
    run.command([venvs.venv(run, "tools") / "python", writer, folder / "report", _HOSTS], folder, python)
    checked = ["sh", "-c", '"$0" check metrics <"$1"', promtool, folder / "report" / "metrics.prom"]
    run.check("promtool check metrics", checked)
    monitoring = root / "docs" / "monitoring"
    run.check("promtool check rules", [promtool, "check", "rules", monitoring / "alerts.yml"])
    run.check("promtool test rules", [promtool, "test", "rules", monitoring / "alerts.test.yml"])
    reader, queries = root / "tests" / "tools" / "read_dashboard.py", folder / "queries.yml"
    dashboard = [venvs.venv(run, "ara") / "python", reader, monitoring / "dashboard.json", queries]
    run.check("Grafana's model of a dashboard has all of ours", dashboard)
    run.check("promtool check rules: the queries of the dashboard", [promtool, "check", "rules", queries])


def _promtool_of_debian(run: Run) -> Path:
    """Return the one of Debian's package, unpacked: installed, it would start a server, and bring 220 MB of time zones."""
    home = paths.CACHE / "promtool"
    program = home / "usr" / "bin" / "promtool"
    if not program.exists():
        with tempfile.TemporaryDirectory() as folder:
            run.command(["apt-get", "download", "prometheus"], Path(folder))
            run.command(["dpkg-deb", "--extract", *Path(folder).glob("*.deb"), home])
    return program


def _ara(run: Run, root: Path, folder: Path) -> None:
    """Run plan with ARA's callback, as docs/history.md says, and read the plan from the record."""
    programs = venvs.venv(run, "ara")
    callbacks = run.output([programs / "python", "-m", "ara.setup.callback_plugins"]).strip()
    env = {
        "ANSIBLE_CALLBACK_PLUGINS": callbacks,
        "ANSIBLE_COLLECTIONS_PATH": tree.collections_path(root),
        "ARA_BASE_DIR": str(folder / "ara"),
        "COMPATIBLE_API_KEY": _CANARY,
        # Nobody listens there, which is an answer as well, and costs nothing.
        "NEMOCLAW_ENDPOINT_URL": "http://127.0.0.1:9/v1",
        "NEMOCLAW_MODEL": "none",
        "NEMOCLAW_PROVIDER": "custom",
        "PATH": f"{programs}:/usr/bin:/bin",
    }
    plan = ["nemoclaw.local_inference.plan", "--inventory", "localhost,", "--connection", "local"]
    own = ["--extra-vars", "ansible_python_interpreter={{ ansible_playbook_python }} sandbox_backend=none"]
    run.command([programs / "ansible-playbook", *plan, *own], root, env)
    shown = [programs / "ara", "result", "show", "1", "--with-content", "--format", "json"]
    content = json.loads(run.output(shown, root, env))["content"]
    run.verdict("ARA's record has the choice", content["choice"]["provider"] == "custom", str(content["choice"]))
    codes = [one["code"] for one in content["refusals"]]
    run.verdict("ARA's record has the refusal", codes == ["connection_refused"], str(codes))
    run.verdict("ARA's record has the lines", any("none" in line for line in content["lines"]), str(content["lines"]))
    held = [
        path.name for path in (folder / "ara").rglob("*") if path.is_file() and _CANARY.encode() in path.read_bytes()
    ]
    run.verdict("ARA's record has no key", (folder / "ara").is_dir() and not held, str(held))
