"""The stage that plays the roles on hosts that boot systemd, over ssh, against a real model server."""

from __future__ import annotations

import re
from typing import Callable

from . import containers, docker, lab, nim_lab, paths, servers, tree, venvs
from .model import StageFailed
from .run import PLAY_FAULTS, Run

# Scenarios of a lab share its hosts one after the other, so each of these has a lab of its own, and they run at the same time. What is
# named nowhere belongs to `hosts`.
_LABS = {"wsl": ("wsl",), "ollama": ("ollama", "ollama_install", "ollama_service", "plan"), "fleet": ("fleet",)}
# Scenarios that use the host with a container engine, and those with the hosts of a fleet.
_ENGINE = ("engines",)
_FLEET = ("fleet",)
# What cannot be played without a real Ollama.
_OLLAMA = ("fleet", "ollama", "ollama_install", "ollama_service", "plan", "wsl")
# And what cannot be without the real CLI of OpenShell.
_OPENSHELL = ("sandbox",)


def stage(name: str) -> Callable[[Run], None]:
    """Return the stage that plays the scenarios of a lab."""

    def part(run: Run) -> None:
        _molecule(run, [run.choice] if run.choice else _scenarios(name))

    return part


def _scenarios(lab_name: str) -> list[str]:
    named = {name for scenarios in _LABS.values() for name in scenarios}
    found = {file.parent.name for file in (paths.REPO / "molecule").glob("*/molecule.yml")} - {"default"}
    return sorted(_LABS.get(lab_name, found - named))


def _molecule(run: Run, scenarios: list[str]) -> None:
    """Run scenarios with the collection as it is installed from the tarball, then search the log for the keys."""
    if not paths.INSTALLED.exists():
        raise StageFailed("the collection is not installed under .cache/installed: run `bin/test tarball`")
    tools = venvs.venv(run, "tools")
    root = tree.copy(run, run.name)
    images = (
        {"vllm": containers.vllm_image(run), "nim": nim_lab.nim_image(run)}
        if set(_ENGINE).intersection(scenarios)
        else {}
    )
    # A WSL with Docker Desktop has an engine, which that image has; apt takes eleven seconds of CPU for it.
    image = docker.firewall_image(run) if _LABS["wsl"] == tuple(scenarios) else ""
    fleet = lab.fleet_of(run) if set(_FLEET).intersection(scenarios) else {}
    with lab.opened(run, tools, engine_images=images, image=image, fleet=fleet) as made:
        left_out = [*(() if made.ollama else _OLLAMA), *(() if made.openshell else _OPENSHELL)]
        chosen = [word for name in scenarios if name not in left_out for word in ("--scenario-name", name)]
        if not chosen:
            return
        test = ["test", *chosen, "--report", "--no-command-borders"]
        shared = servers.shared_payloads(made.collections / paths.COLLECTION_FOLDER / "plugins", is_for_lab=True)
        env = {**made.environment(tools), **shared}
        status = run.execute([tools / "molecule", *test], cwd=root, env=env)
    _count(run, status)
    log = run.printed_since(0)
    for host, key in zip(made.hosts, made.keys):
        run.verdict(f"the key of {host} is nowhere in the log", key not in log)
    # The tokens of the proxies are made on the hosts; nothing else in a log has 48 hexadecimal digits.
    run.verdict("no token of a proxy is in the log", not re.search(r"\b[0-9a-f]{48}\b", log))
    if "TASK [" not in log:
        raise StageFailed("the log of molecule holds no task, so nothing was searched for keys")


def _count(run: Run, status: int) -> None:
    """Count the actions of the scenarios, from the table that molecule ends with, and show again what went wrong."""
    log = run.printed_since(0)
    for scenario, action, verdict in re.findall(r"^(\S+) > (\w+): Executed: (\w+)", log, re.MULTILINE):
        if verdict != "Missing":  # no playbook for an optional action (`cleanup`, which molecule adds after a failure)
            run.verdict(f"molecule {scenario} {action}", verdict == "Successful", verdict)
    run.highlight(PLAY_FAULTS)
    if status and not run.counts.failed:
        raise StageFailed(f"molecule ended with exit {status}")
