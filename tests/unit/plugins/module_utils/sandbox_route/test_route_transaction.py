# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the transaction, by a backend that writes down what it is asked: real ones are in tests/real/test_sandbox_route*.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import silent
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.gateway_route import Proof
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired, Plan
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import Note
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import Journal
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import transaction
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route.transaction import (
    PathProbe,
    Transaction,
)

ROUTE = build_route(
    provider="ollama", base_url="http://127.0.0.1:11434/v1", model="m", api="openai-completions", timeout=180
)
PREVIOUS = {"provider": "before", "model": "old", "timeout": 60}
STEPS = ["stage", "route", "prove", "adopt"]


class Backend:
    """One that fails at a step, if at all."""

    gateway, sandbox, way, restart = "lab", "mine", "route", ""
    environment: dict[str, str] = {}
    others: tuple[str, ...] = ()

    def __init__(self, failing: str = "", actions: tuple[str, ...] = ("lead",)) -> None:
        self.asked: list[str] = []
        self.failing, self.actions = failing, list(actions)

    def position(self) -> dict[str, Any]:
        return PREVIOUS

    def in_words(self, position: dict[str, Any]) -> str:
        return f"{position['model']} by {position['provider']}"

    def plan(self, previous: object) -> Plan:
        assert previous == PREVIOUS
        return Plan(list(self.actions), positions=[{"provider": "after", "model": "m"}])

    def restore(self, previous: object) -> list[str]:
        assert previous == PREVIOUS
        self.asked.append("restore")
        return ["It is back."]

    def prove(self) -> Proof:
        self.take("prove")
        return Proof("mine", "structured")

    def take(self, step: str, *_report: object) -> None:
        self.asked.append(step)
        if step == self.failing:
            raise Failure("broken", f"It broke in {step}.")
        if step == f"{self.failing[1:]}" and self.failing.startswith("!"):
            raise KeyboardInterrupt

    def look(self) -> None:
        """Look at nothing."""

    def __getattr__(self, step: str) -> Any:
        return lambda *report: self.take(step, *report)


def made(tmp_path: Path, backend: Any, probe_from: PathProbe | None = None) -> tuple[Transaction, Path]:
    path = tmp_path / "local-inference.json"
    return Transaction(backend, Desired(ROUTE, "key"), str(path), find_account(), probe_from), path


def test_the_order(tmp_path: Path) -> None:
    backend = Backend()
    run, path = made(tmp_path, backend)
    assert run.plan(False) is None
    assert backend.asked == []
    result = run.work(silent)
    assert backend.asked == [*STEPS, "commit"]
    assert json.loads(path.read_text(encoding="utf-8"))["gateway"] == "lab"
    assert (result["changed"], result["proved"], result["previous"]) == (True, True, PREVIOUS)
    assert [name.name for name in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_restores(tmp_path: Path, step: str) -> None:
    backend = Backend(step)
    run, path = made(tmp_path, backend)
    run.plan(False)
    with pytest.raises(Failure) as caught:
        run.work(silent)
    assert caught.value.message == f"It broke in {step}. Nothing was recorded. It is back."
    assert backend.asked == [*STEPS[: STEPS.index(step) + 1], "restore"]
    assert not path.exists()
    assert list(tmp_path.iterdir()) == [], "the note is gone where the previous route is in force"


def test_ctrl_c_restores(tmp_path: Path) -> None:
    backend = Backend("!prove")
    run, path = made(tmp_path, backend)
    run.plan(False)
    with pytest.raises(KeyboardInterrupt):
        run.work(silent)
    assert backend.asked[-1] == "restore"
    assert not path.exists()


def test_a_failing_commit_restores_nothing(tmp_path: Path) -> None:
    backend = Backend("commit")
    run, path = made(tmp_path, backend)
    run.plan(False)
    with pytest.raises(Failure, match="It broke in commit"):
        run.work(silent)
    assert backend.asked == [*STEPS, "commit"]
    assert path.exists()


def test_where_nothing_is_to_be_done_it_is_proved(tmp_path: Path) -> None:
    made(tmp_path, Backend())[0].work(silent)
    backend = Backend(actions=())
    result = made(tmp_path, backend)[0].plan(False)
    assert result is not None
    assert (result["changed"], result["proved"]) == (False, True)
    assert "commit" not in backend.asked


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    backend = Backend()
    result = made(tmp_path, backend)[0].plan(True)
    assert result is not None
    assert (result["changed"], result["proved"], result["actions"]) == (True, False, ["lead"])
    assert (backend.asked, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("firewall", "offered"), [("ufw", True), ("firewalld", True), ("nftables", False), (None, False)]
)
def test_a_blocked_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firewall: str | None, offered: bool) -> None:
    found = dict.fromkeys(("reason", "command", "close_command", "network", "host", "port"))
    answer = {**found, "changed": False, "outcome": "blocked", "hint": "It is blocked.", "firewall": firewall}
    monkeypatch.setattr(transaction, "probe", lambda *_options: answer)
    backend = Backend()
    probe_from = PathProbe(Machine(), find_account())
    with pytest.raises(Failure, match=r"It is blocked\. Nothing was saved") as caught:
        made(tmp_path, backend, probe_from)[0].plan(False)
    assert caught.value.code == "sandbox_path_blocked"
    assert ("With sandbox_open_firewall=true" in caught.value.message) is offered
    assert backend.asked == []
    assert made(tmp_path, backend, probe_from)[0].plan(True), "in check mode nothing may listen yet"


def test_two_runs_that_are_killed_keep_the_route_that_was_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one was killed after its note, and before it led anybody on from where the first one had led them."""
    unproved = {"provider": "unproved", "model": "x", "timeout": 60}
    backend = Backend()
    monkeypatch.setattr(backend, "position", lambda: unproved)
    run, path = made(tmp_path, backend)
    journal = Journal(str(path), find_account())
    journal.write(Note(PREVIOUS, [unproved]))

    def kill(step: str) -> None:
        if step == "stage":
            note = journal.read()
            assert note is not None
            assert (note.previous, note.explains(unproved)) == (PREVIOUS, True)
            assert note.explains({"provider": "after", "model": "m"})

    monkeypatch.setattr(run, "_at", kill)
    assert run.plan(False) is None
    run.work(silent)
    assert journal.read() is None
