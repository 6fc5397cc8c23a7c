# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run makes of a NIM that an earlier run left, on an engine in memory. A real one is in tests/integration/targets/nim_container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import readiness
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim import lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim.scene import Wish

MODEL = "meta/llama-3.1-8b-instruct"
WISH = Wish(name="nim", image="lab/nim:1", model=MODEL, gpus="none", keyless=True, port=18000, publish=["127.0.0.1"])


class Nim:
    """A NIM's life on a host: what each run does, and what answers."""

    def __init__(self, engine: Any, root: Path) -> None:
        self.engine = engine
        self.engine.client = None
        self.engine.images["lab/nim:1"] = {"Id": "sha256:none"}
        self.engine.info = dict
        self.engine.containers = list
        self.serves = {"old": MODEL, "new": MODEL}
        self.machine = Machine(root=root, environ={})
        self.account = find_account()._replace(home=str(root))

    def run(self, which: str, check_mode: bool = False, **wish: Any) -> dict[str, Any]:
        wanted = WISH.__class__(**{**WISH.__dict__, "environment": {"WHICH": which}, **wish})
        self.engine.calls.clear()
        return lifecycle.converge(self.machine, self.account, wanted, check_mode)

    def answer(self, server: readiness.Server) -> list[dict[str, Any]] | None:
        model = self.serves.get(self.which)
        return [{"id": model}] if model else None

    @property
    def which(self) -> str:
        variables = dict(one.partition("=")[::2] for one in self.engine.there["nim"]["Config"]["Env"])
        return str(variables["WHICH"])


@pytest.fixture
def nim(memory_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nim:
    life = Nim(memory_engine, tmp_path)
    monkeypatch.setattr(lifecycle, "connect", lambda *_arguments: memory_engine)
    monkeypatch.setattr(readiness, "_models", life.answer)
    return life


def killed_before_the_proof(nim: Nim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the new one started, and its worker killed before it saw whether it is ready."""
    nim.run("old")

    def kill(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle.managed, "follow", kill)
        with pytest.raises(KeyboardInterrupt):
            nim.run("new")
    assert sorted(nim.engine.there) == ["nim", "nim-previous"]


@pytest.mark.parametrize(
    ("state", "serves", "code"),
    [
        ({"Status": "restarting", "Restarting": True}, None, "container_exited"),
        ({"Status": "paused"}, None, "container_exited"),
        ({"StartedAt": "2026-11-22T08:00:00Z"}, None, "container_stalled"),
        ({}, "lab/another", "model_mismatch"),
    ],
    ids=["restarting", "paused", "silent", "wrong model"],
)
def test_one_that_nobody_proved_and_that_fails_gives_way(
    nim: Nim, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], serves: str | None, code: str
) -> None:
    killed_before_the_proof(nim, monkeypatch)
    nim.engine.state("nim", **state)
    nim.engine.there["nim"]["RestartCount"] = 3
    nim.serves["new"] = serves  # type: ignore[assignment]
    served_model = MODEL if serves else ""
    planned = nim.run("new", check_mode=True, served_model=served_model)
    assert (planned["changed"], planned["phase"]) == (True, "planned")
    assert planned["actions"][0] == "wait for nim"
    with pytest.raises(Failure) as failed:
        nim.run("new", served_model=served_model)
    assert (failed.value.code, failed.value.details["restored"]) == (code, "nim")
    assert (list(nim.engine.there), nim.which) == (["nim"], "old")
    assert nim.run("old")["changed"] is False


def test_one_that_nobody_proved_and_that_works_is_kept(nim: Nim, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_before_the_proof(nim, monkeypatch)
    planned = nim.run("new", check_mode=True)
    done = nim.run("new")
    assert done["actions"] == planned["actions"] == ["wait for nim", "remove nim-previous"]
    assert (list(nim.engine.there), nim.which, done["phase"]) == (["nim"], "new", "ready")
    assert nim.run("new")["changed"] is False


def test_what_was_kept_for_a_proof_is_removed_by_a_run_that_wants_none(nim: Nim) -> None:
    nim.run("old")
    assert nim.run("new", keep_previous=True)["previous"] == "nim-previous"
    assert nim.run("new", keep_previous=True)["changed"] is False
    assert nim.run("new", check_mode=True)["actions"] == ["remove nim-previous"]
    assert nim.run("new")["actions"] == ["remove nim-previous"]
    assert list(nim.engine.there) == ["nim"]


def test_one_that_was_proved_is_not_rolled_back(nim: Nim) -> None:
    nim.run("old")
    nim.engine.state("nim", Status="paused")
    with pytest.raises(Failure, match="is paused"):
        nim.run("old")
    assert list(nim.engine.there) == ["nim"]
