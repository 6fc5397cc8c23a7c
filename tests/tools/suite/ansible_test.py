"""The stages that ansible-test runs: sanity, units, integration. All of it works with nothing but PyPI in reach."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import shutil
from collections.abc import Sequence
from typing import Callable

from . import containers, homes, nim_lab, paths, pythons, servers, tree, venvs
from .model import Counts, StageFailed
from .run import PLAY_FAULTS, PYTEST_FAULTS, Run, exclusive

# The pip that each core wants to bootstrap its environments with (`get_venv_packages` in ansible_test/_internal/
# python_requirements.py). It asks for a script on a host of its own; the wheel on PyPI is the same program
# (https://github.com/ansible/ansible/issues/77304 names the file to put it in).
_BOOTSTRAP_PIP = {"core-2.21": "25.2", "core-2.19": "24.2"}
_BOOTSTRAP_SCRIPT = """\
import sys

sys.path.insert(0, {wheel!r})

from pip._internal.cli.main import main

options = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(main(["install", "--force-reinstall", "--upgrade", *options]))
"""


# Written nowhere, unlike compileall.
_COMPILING = """\
import pathlib, sys

for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
"""


class AnsibleTest:
    """ansible-test of one core on a copy of the collection that belongs to one stage."""

    def __init__(self, run: Run, core: str) -> None:
        self.run = run
        self.bin = venvs.venv(run, core)
        _provide_pip(run, _BOOTSTRAP_PIP[core])
        self.root = tree.copy(run, run.name)
        self.output = self.root / "tests" / "output"
        self.env = {"PATH": f"{self.bin}:{pythons.search_path()}"}

    def execute(self, *arguments: object, home: Sequence[object] = ()) -> int:
        """Run ansible-test and return its exit status; home: what homes.own gave."""
        argv = [*home, self.bin / "ansible-test", *arguments, "--color", "no"]
        return self.run.execute(argv, cwd=self.root, env=self.env)

    def forget(self, *folders: str) -> None:
        """Remove the reports of an earlier run."""
        for folder in folders:
            shutil.rmtree(self.output / folder, ignore_errors=True)


def newest_core() -> str:
    """Return the newest core that a Python of this machine can run."""
    return "core-2.21" if any(pythons.find(version) for version in ("3.12", "3.13")) else "core-2.19"


def sanity_newest(run: Run) -> None:
    """Run sanity tests with the newest core, those of several Pythons on the oldest and the newest."""
    ansible_test = AnsibleTest(run, "core-2.21")
    ignores = sorted(path.name for path in (ansible_test.root / "tests" / "sanity").glob("ignore-*.txt"))
    run.verdict("no sanity ignore files", not ignores, f"found {', '.join(ignores)}")
    ends = (pythons.TESTED[0], pythons.TESTED[-1])
    _sanity(run, ansible_test, ends, "--skip-test", "pylint")
    # As users get it: the tarball has neither tests nor scenarios. Those ruff reads, by what it has of pylint's rules.
    _sanity(run, ansible_test, ends[-1:], "--test", "pylint", "--exclude", "tests/", "--exclude", "molecule/")


# What reads the same files by the same rules with either core, pylint for more than half of the time of all others.
_SAME_WITH_EITHER = ("changelog", "compile", "pep8", "pylint", "runtime-metadata", "shellcheck", "yamllint")


def sanity_oldest(run: Run) -> None:
    """Run what depends on the core with the oldest core, on its own Python."""
    skipped = (word for name in _SAME_WITH_EITHER for word in ("--skip-test", name))
    _sanity(run, AnsibleTest(run, "core-2.19"), ("default",), *skipped)


def units(run: Run) -> None:
    """Run the unit tests on the oldest Python, with the imports that Ansible lets them have. What is between oldest and newest compiles."""
    ansible_test = AnsibleTest(run, newest_core())
    oldest, *between, _newest = pythons.TESTED
    for version in between:
        python = pythons.find(version)
        if python:
            compiling = [python, "-B", "-W", "error", "-c", _COMPILING, ansible_test.root / "plugins"]
            run.check(f"compiles on Python {version}", compiling, cwd=ansible_test.root)
        else:
            run.counts.add(Counts(skipped=1, reasons=[f"Python {version} is not on this machine"]))
    if not pythons.find(oldest):
        run.counts.add(Counts(skipped=1, reasons=[f"Python {oldest} is not on this machine"]))
        return
    ansible_test.forget("junit")
    status = ansible_test.execute("units", "--venv", "--python", oldest)
    failed_before = run.counts.failed
    run.count_junit(sorted((ansible_test.output / "junit").glob(f"python{oldest}-*.xml")))
    if status and run.counts.failed == failed_before:
        run.verdict(f"units on Python {oldest}", False, f"exit {status}")
    run.highlight(PYTEST_FAULTS)


# What integration_config.yml calls a server: its behaviour in tests/servers/scripted_model.py, which says what it does.
_MODEL_SERVERS = ("good", "leaks")
# Targets that want a Docker engine. A target that has the name of one of our roles would be taken for it, hence `_role`.
_CONTAINER_TARGETS = ("engine_switch", "nim_container", "vllm_container", "vllm_role")
# Targets that want a real Ollama, which not every machine can run.
_OLLAMA_TARGETS = ("ollama_info", "ollama_install", "ollama_model", "ollama_service", "ollama_windows")
# The same for the real CLI of OpenShell.
_OPENSHELL_TARGETS = (
    "nemoclaw_inference",
    "nemoclaw_onboard",
    "openshell_inference",
    "openshell_install",
    "openshell_provider",
    "openshell_sandbox",
    "sandbox_proof",
)


# Which targets a shard plays; the last one plays all that no other names.
_SHARDS = (("engine_switch", "nim_container", "vllm_container", "vllm_role"),)
SHARDS = len(_SHARDS) + 1


def integration_shard(number: int) -> Callable[[Run], None]:
    """Return the stage that plays a part of tests/integration/targets, from 1."""

    def part(run: Run) -> None:
        named = {name for shard in _SHARDS for name in shard}
        found = {path.name for path in (paths.REPO / "tests" / "integration" / "targets").glob("*/")}
        _integration(
            run, {run.choice} if run.choice else set(_SHARDS[number - 1]) if number < SHARDS else found - named
        )

    return part


def _integration(run: Run, targets: set[str]) -> None:
    """Run targets against real model servers, each with a key that is made up for this run."""
    ansible_test = AnsibleTest(run, newest_core())
    found = {path.name for path in (ansible_test.root / "tests" / "integration" / "targets").glob("*/")}
    if targets - found:
        raise StageFailed(f"no such target: {', '.join(sorted(targets - found))}")
    with contextlib.ExitStack() as stack:
        running = {
            name: dataclasses.asdict(
                stack.enter_context(servers.model_server(run, name, f"key-{secrets.token_hex(12)}"))
            )
            for name in _MODEL_SERVERS
        }
        # Targets are played from a copy that has the targets alone.
        double = ansible_test.root / "tests" / "servers" / "powershell_double.py"
        settings: dict[str, object] = {"model_servers": running, "powershell_double": str(double)}
        home = servers.ollama_home(run) if targets.intersection(_OLLAMA_TARGETS) else None
        openshell = servers.openshell_home(run) if targets.intersection(_OPENSHELL_TARGETS) else None
        lab = stack.enter_context(containers.vllm_lab(run)) if targets.intersection(_CONTAINER_TARGETS) else None
        if home:
            settings["ollama_server"] = stack.enter_context(servers.ollama(run, home))
        if openshell:
            settings["openshell_gateways"] = stack.enter_context(servers.openshell(run, openshell))
            settings["nemoclaw_double"] = str(stack.enter_context(servers.nemoclaw()))
        nim: dict[str, object] = {}
        if lab:
            nim = stack.enter_context(nim_lab.opened(run))
            settings.update(vllm_lab=lab, nim_lab=nim)
        left_out = {
            *(() if home else _OLLAMA_TARGETS),
            *(() if openshell else _OPENSHELL_TARGETS),
            *(() if lab else _CONTAINER_TARGETS),
        }
        config = ansible_test.root / "tests" / "integration" / "integration_config.yml"
        config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        # Its environment is ansible-test's own, which hands nothing on.
        shared = servers.shared_payloads(ansible_test.root / "plugins")
        config.with_name("integration.cfg").write_text(
            f"[defaults]\ncallback_plugins = {shared['ANSIBLE_CALLBACK_PLUGINS']}\n"
            f"[callback_shared_payloads]\nfolder = {shared['SHARED_PAYLOADS']}\n",
            encoding="utf-8",
        )
        start = run.position()
        wanted = sorted(targets - left_out)
        status = (
            ansible_test.execute("integration", "--venv", "--continue-on-error", *wanted, home=homes.own(run))
            if wanted
            else 0
        )
        config.unlink()
    printed = run.printed_since(start)
    started = re.findall(r"^Running (\S+) integration test", printed, re.MULTILINE)
    closing = re.search(r"integration test\(s\) listed below .*\n((?:[a-z]\w*\n)+)", printed)
    failed = closing.group(1).splitlines() if closing else []
    run.counts.add(Counts(passed=len(started) - len(failed), failed=len(failed), reasons=failed))
    for name, server in running.items():
        run.verdict(f"the key of `{name}` is nowhere in the log", server["api_key"] not in printed)
    if lab:
        run.verdict("the token of the hub is nowhere in the log", str(lab["token"]) not in printed)
        for name in ("key", "wrong_key"):
            run.verdict(f"the {name} of NIM's registry is nowhere in the log", str(nim[name]) not in printed)
    run.highlight(PLAY_FAULTS, start)
    if wanted and (not started or (status and not failed)):
        raise StageFailed(f"ansible-test integration ended with exit {status}")


def _sanity(run: Run, ansible_test: AnsibleTest, versions: Sequence[str], *options: str) -> None:
    """Run sanity tests; versions: the Pythons on which those run that are for what runs on hosts."""
    start = run.position()
    hosts = [word for version in versions for word in ("--target-python", version)]
    status = ansible_test.execute("sanity", "--controller", "origin:python=venv/default", *hosts, *options)
    printed = run.printed_since(start)
    tests = re.findall(r"^Running sanity test \"", printed, re.MULTILINE)
    # The closing list has one line a failed test: "pylint", or "import --python 3.9".
    closing = re.search(r"sanity test\(s\) listed below .*\n((?:[a-z][\w-]*(?: --python [\d.]+)?\n)+)", printed)
    failed = closing.group(1).splitlines() if closing else []
    run.counts.add(Counts(passed=len(tests) - len(failed), failed=len(failed), reasons=failed))
    run.highlight(r"^ERROR: .*", start)
    if not tests or (status and not failed):
        raise StageFailed(f"ansible-test sanity ended with exit {status}")


def _provide_pip(run: Run, version: str) -> None:
    """Write the bootstrap script of that pip, from the wheel on PyPI, where ansible-test looks for it."""
    script = paths.HOME / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    wheel = paths.CACHE / "wheels" / f"pip-{version}-py3-none-any.whl"
    with exclusive(f"pip-{version}"):
        if not wheel.exists():
            pip = [venvs.venv(run, newest_core()) / "python", "-m", "pip"]
            run.command([*pip, "download", "--quiet", "--no-deps", "--dest", wheel.parent, f"pip=={version}"])
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_BOOTSTRAP_SCRIPT.format(wheel=str(wheel)), encoding="utf-8")
