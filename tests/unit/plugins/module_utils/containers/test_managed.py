# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacement, return and removal: what is done in which order, whatever goes wrong in between."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import managed, readiness, work
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import plan as plans
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

OLD = Spec(
    name="s",
    kind="vllm",
    image="i",
    command=("old",),
    addresses=("127.0.0.1",),
    port=8000,
    container_port=8000,
    model="old",
)
NEW = dataclasses.replace(OLD, command=("new",), model="new")
SERVER = readiness.Server("s", 8000, (), model="")
MODELS: list[dict[str, Any]] = [{"id": "m"}]


Answers = dict[str, bool]


@pytest.fixture
def answers(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Whether the container with a command answers by HTTP; every other one does not."""
    known = {"old": True, "new": True}
    monkeypatch.setattr(
        readiness, "_models", lambda server, log: (MODELS if known.get(command(engine)) else None, True)
    )
    return known


def command(engine: Any) -> str:
    return str(engine.there["s"]["Config"]["Cmd"][0])


def bring(engine: Any, spec: Spec, keep_previous: bool = False) -> list[str]:
    """Do all that the module does once image and weights are there; return what was asked of the engine."""
    engine.calls.clear()
    plan = plans.make_plan(engine, spec)
    managed.apply(engine, plan, SERVER)
    managed.follow(engine, spec, SERVER, sleep=lambda seconds: None, keep_previous=keep_previous)
    return list(engine.calls)


def test_made_proved_and_left_alone(engine: Any, answers: Answers) -> None:
    assert bring(engine, OLD) == ["create s-next", "rename s-next s", "start s", "policy s unless-stopped"]
    assert plans.make_plan(engine, OLD).step == "none"
    assert bring(engine, OLD) == []


def test_replaced(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    assert bring(engine, NEW) == [
        "create s-next",
        "rename s s-previous",
        "policy s-previous no",
        "stop s-previous",
        "rename s-next s",
        "start s",
        "policy s unless-stopped",
        "remove s-previous",
    ]
    assert list(engine.there) == ["s"]


def test_the_old_one_stops_only_when_the_new_one_could_be_made(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    engine.create("s-next", {**NEW.body(), "Labels": {}})
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.code == "container_foreign"
    assert engine.calls == []
    assert engine.there["s"]["State"]["Running"]


def test_a_new_one_that_ends_gives_way_to_the_old(engine: Any, answers: Answers, monkeypatch: Any) -> None:
    bring(engine, OLD)
    engine.log = "2026-11-22T10:00:01Z torch.OutOfMemoryError: CUDA out of memory.\n"
    answers["new"] = False

    def start(name: str, real: Any = engine.start) -> None:
        real(name)
        if command(engine) == "new":
            engine.state(name, Status="exited", Running=False, ExitCode=1)

    monkeypatch.setattr(engine, "start", start)
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.code == "gpu_out_of_memory"
    assert raised.value.details["restored"] == "s"
    assert "the previous one (old) answers again" in raised.value.message
    assert engine.calls[-4:] == ["remove s", "rename s-previous s", "start s", "policy s unless-stopped"]
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert plans.make_plan(engine, OLD).step == "none"


def test_a_new_one_that_cannot_be_started_gives_way_at_once(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    engine.refuses_start = {"id2"}
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.details["restored"] == "s"
    assert (list(engine.there), command(engine)) == (["s"], "old")


def test_where_neither_starts_both_are_told(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    engine.refuses_start = {"id1", "id2"}
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.details["restored"] is None
    assert "did not come back" in raised.value.message
    assert list(engine.there) == ["s"]


def test_a_first_one_that_fails_leaves_nothing(engine: Any, answers: Answers) -> None:
    engine.refuses_start = {"id1"}
    with pytest.raises(Failure) as raised:
        bring(engine, OLD)
    assert raised.value.details["restored"] is None
    assert engine.there == {}


CHANGES = ("create", "stop", "rename", "start", "set_restart_policy", "remove")


@contextlib.contextmanager
def broken_after(engine: Any, calls: int, with_what: BaseException, once: bool = False) -> Iterator[None]:
    """Let so many changes through; the next one, or everything from there on, is not done and raises."""
    engine.calls.clear()
    real = {name: getattr(engine, name) for name in CHANGES}
    raised: list[str] = []

    def until_broken(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            if len(engine.calls) >= calls and not (once and raised):
                raised.append(name)
                raise with_what
            return real[name](*arguments)

        return call

    for name in CHANGES:
        setattr(engine, name, until_broken(name))
    try:
        yield
    finally:
        for name in CHANGES:
            setattr(engine, name, real[name])


@pytest.mark.parametrize("killed_after", range(1, 8))
def test_a_run_that_was_killed_is_finished_by_the_next(engine: Any, answers: Answers, killed_after: int) -> None:
    bring(engine, OLD)
    with broken_after(engine, killed_after, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        bring(engine, NEW)
    bring(engine, NEW)
    assert (list(engine.there), command(engine)) == (["s"], "new")
    assert bring(engine, NEW) == []


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_where_the_next_run_fails_the_one_before_the_killed_one_serves(
    engine: Any, answers: Answers, killed_after: int
) -> None:
    bring(engine, OLD)
    with broken_after(engine, killed_after, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        bring(engine, NEW)
    engine.refuses_start = {"id2", "id3"}
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.details["restored"] == "s"
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert plans.make_plan(engine, OLD).step == "none"


@pytest.mark.parametrize("refused_after", range(1, 5))
def test_what_the_engine_refuses_in_between_is_undone(engine: Any, answers: Answers, refused_after: int) -> None:
    bring(engine, OLD)
    refusal = Failure("docker_timeout", "The engine said nothing.")
    with broken_after(engine, refused_after, refusal, once=True), pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.code == "docker_timeout"
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert plans.make_plan(engine, OLD).step == "none"


def test_where_it_cannot_be_undone_both_are_told(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    with (
        broken_after(engine, 2, Failure("docker_timeout", "The engine said nothing.")),
        pytest.raises(Failure) as raised,
    ):
        bring(engine, NEW)
    assert raised.value.details["restored"] is None
    assert "could not be restored" in raised.value.message
    plan = plans.make_plan(engine, OLD)
    assert plan.actions() == ["rename s-previous"], "it never stopped"
    bring(engine, OLD)
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert plans.make_plan(engine, OLD).step == "none"


def test_one_that_was_stopped_is_kept_and_stays_stopped(engine: Any, answers: Answers) -> None:
    """Its GPU may be another's by now."""
    bring(engine, OLD)
    managed.stop(engine, "s", "vllm", check_mode=False)
    engine.refuses_start = {"id2"}
    with pytest.raises(Failure) as raised:
        bring(engine, NEW)
    assert raised.value.details["restored"] is None
    assert "stopped as before" in raised.value.message
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert not engine.there["s"]["State"]["Running"]
    engine.refuses_start = set()
    bring(engine, NEW, keep_previous=True)
    managed.restore(engine, "s", "vllm", check_mode=False)
    assert (command(engine), engine.there["s"]["State"]["Running"]) == ("old", False)


def test_an_unproved_one_is_not_kept_as_fallback(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    managed.apply(engine, plans.make_plan(engine, NEW), SERVER)
    third = dataclasses.replace(OLD, command=("third",))
    answers["third"] = True
    bring(engine, third)
    assert (list(engine.there), command(engine)) == (["s"], "third")
    assert "remove s" in engine.calls


def test_a_server_that_proved_itself_is_not_removed_for_failing_later(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    engine.state("s", Status="restarting", Restarting=True)
    engine.there["s"]["RestartCount"] = 3
    answers["old"] = False
    with pytest.raises(Failure):
        managed.follow(engine, OLD, SERVER, sleep=lambda seconds: None)
    assert list(engine.there) == ["s"]


def test_stopped_and_removed(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    assert managed.stop(engine, "s", "vllm", check_mode=True) == ["stop s"]
    assert engine.there["s"]["State"]["Running"]
    assert managed.stop(engine, "s", "vllm", check_mode=False) == ["stop s"]
    assert managed.stop(engine, "s", "vllm", check_mode=False) == []
    assert plans.make_plan(engine, OLD).step == "start"
    assert bring(engine, OLD) == ["policy s on-failure", "start s", "policy s unless-stopped"]
    assert managed.remove(engine, "s", "vllm", check_mode=False) == ["remove s"]
    assert managed.remove(engine, "s", "vllm", check_mode=False) == []


@pytest.mark.parametrize("kind", ["nim", None])
def test_what_is_not_ours_is_not_touched(engine: Any, kind: str | None) -> None:
    body = dataclasses.replace(OLD, kind=kind or "").body()
    engine.create("s", body)
    engine.calls.clear()
    actions: list[Any] = [
        lambda: plans.make_plan(engine, OLD),
        lambda: managed.stop(engine, "s", "vllm", False),
        lambda: managed.remove(engine, "s", "vllm", False),
        lambda: managed.restore(engine, "s", "vllm", False),
    ]
    for action in actions:
        with pytest.raises(Failure) as raised:
            action()
        assert raised.value.code == "container_foreign"
        assert "'s'" in raised.value.message
    assert engine.calls == []


OTHER = dataclasses.replace(OLD, name="other", kind="nim", model="m")
INSTEAD = dataclasses.replace(OLD, instead_of="other")


@pytest.fixture
def beside(engine: Any, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the containers that answer; another one of ours has the port, and answers as well."""
    answering = {"s", "other"}
    monkeypatch.setattr(readiness, "_models", lambda server, log: (MODELS if server.name in answering else None, True))
    managed.apply(engine, plans.make_plan(engine, OTHER), SERVER)
    managed.follow(engine, OTHER, dataclasses.replace(SERVER, name="other"), sleep=lambda seconds: None)
    return answering


def test_another_one_makes_way_last_and_is_kept(engine: Any, beside: set[str]) -> None:
    plan = plans.make_plan(engine, INSTEAD)
    assert plan.actions() == ["stop other", "create s"]
    assert plan.diff() == {"before": "other: running\ns: absent\n", "after": "other: exited\ns: running\n"}
    assert bring(engine, INSTEAD) == [
        "create s-next",
        "rename s-next s",
        "policy other no",
        "stop other",
        "start s",
        "policy s unless-stopped",
    ]
    assert (sorted(engine.there), engine.there["other"]["State"]["Running"]) == (["other", "s"], False)
    assert bring(engine, INSTEAD) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "stops"),
    [
        ({}, {}, True),
        ({"port": 8001}, {}, False),
        ({"port": 8001, "gpus": "all"}, {"gpus": "0"}, True),
        ({"port": 8001, "gpus": "1"}, {"gpus": "0"}, False),
        ({}, {"kind": ""}, False),
    ],
    ids=["same port", "nothing shared", "same GPU", "other GPU", "somebody else's"],
)
def test_it_makes_way_only_where_it_has_to(
    engine: Any, ours: dict[str, Any], theirs: dict[str, Any], stops: bool
) -> None:
    engine.create("other", dataclasses.replace(OTHER, **theirs).body())
    engine.start("other")
    plan = plans.make_plan(engine, dataclasses.replace(INSTEAD, **ours))
    assert (plan.yielding is not None) is stops
    assert bool(plan.own) is stops, "its port and its GPU count as free"


@pytest.mark.parametrize("refused", [True, False], ids=["cannot be started", "ends"])
def test_it_comes_back_when_the_new_one_fails(engine: Any, beside: set[str], refused: bool, monkeypatch: Any) -> None:
    beside.discard("s")
    if refused:
        engine.refuses_start = {"id2"}
    else:

        def start(name: str, real: Any = engine.start) -> None:
            real(name)
            if name == "s":
                engine.state(name, Status="exited", Running=False, ExitCode=1)

        monkeypatch.setattr(engine, "start", start)
    with pytest.raises(Failure) as raised:
        bring(engine, INSTEAD)
    assert raised.value.details["restored"] == "other"
    assert "other (m) answers again" in raised.value.message
    assert (list(engine.there), engine.there["other"]["State"]["Running"]) == (["other"], True)


def test_one_that_did_not_make_way_is_not_started(engine: Any, beside: set[str]) -> None:
    """It made way once, for a server that worked; what serves since then comes back alone."""
    bring(engine, INSTEAD)
    engine.refuses_start = {"id3"}
    with pytest.raises(Failure) as raised:
        bring(engine, dataclasses.replace(INSTEAD, command=("new",)))
    assert raised.value.details["restored"] == "s"
    assert {name: one["State"]["Running"] for name, one in engine.there.items()} == {"other": False, "s": True}


def test_both_come_back_where_both_served(engine: Any, beside: set[str]) -> None:
    bring(engine, dataclasses.replace(INSTEAD, port=8001))
    engine.refuses_start = {"id3"}
    with pytest.raises(Failure) as raised:
        bring(engine, INSTEAD)
    assert raised.value.details["restored"] == "s"
    assert "the previous one (old) answers again, and other (m) answers again" in raised.value.message
    assert {name: one["State"]["Running"] for name, one in engine.there.items()} == {"other": True, "s": True}


def test_one_that_made_way_and_is_stopped_for_good_stays_so(engine: Any, beside: set[str]) -> None:
    bring(engine, INSTEAD)
    for check_mode in (True, False):
        assert managed.stop(engine, "other", "nim", check_mode) == ["keep other stopped"]
    assert managed.stop(engine, "other", "nim", check_mode=False) == []
    assert managed.restore(engine, "s", "vllm", False, "other") == ["stop s"]


@pytest.mark.parametrize("keep_previous", [True, False])
def test_check_mode_knows_what_is_done_in_the_end(engine: Any, answers: Answers, keep_previous: bool) -> None:
    for spec in (OLD, OLD, NEW, OLD):
        expected = plans.make_plan(engine, spec).kept(keep_previous)
        plan = plans.make_plan(engine, spec)
        managed.apply(engine, plan, SERVER)
        follow = managed.follow(engine, spec, SERVER, sleep=lambda seconds: None, keep_previous=keep_previous)
        assert follow[1] == expected


def test_it_comes_back_when_the_new_one_is_undone(engine: Any, beside: set[str]) -> None:
    bring(engine, INSTEAD)
    for check_mode in (True, False):
        assert managed.restore(engine, "s", "vllm", check_mode, "other") == ["stop s", "start other"]
    assert managed.restore(engine, "s", "vllm", False, "other") == []
    assert engine.there["other"]["State"]["Running"]


def test_the_one_before_is_kept_for_a_caller_who_proves_more(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    assert "remove s-previous" not in bring(engine, NEW, keep_previous=True)
    assert plans.previous_of(engine, NEW) == "s-previous"
    assert bring(engine, NEW, keep_previous=True) == []
    undone = ["remove s", "rename s-previous", "start s"]
    for check_mode in (True, False):
        assert managed.restore(engine, "s", "vllm", check_mode) == undone
    assert (list(engine.there), command(engine)) == (["s"], "old")
    assert engine.there["s"]["State"]["Running"]
    assert plans.make_plan(engine, OLD).step == "none"


def test_another_change_goes_back_to_what_proved_more(engine: Any, answers: Answers) -> None:
    bring(engine, OLD)
    bring(engine, NEW, keep_previous=True)
    answers["third"] = True
    bring(engine, dataclasses.replace(OLD, command=("third",)), keep_previous=True)
    managed.restore(engine, "s", "vllm", check_mode=False)
    assert command(engine) == "old"


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (["remove s", "rename s-previous", "start s"], "s serves again as before once its model is loaded."),
        (
            ["stop s", "start other"],
            "other serves again as before once its model is loaded. s is stopped and left in place.",
        ),
        (["remove s", "rename s-previous"], "s is the previous one again, stopped as before."),
        (
            ["stop s"],
            "s is stopped, which frees its GPU, and left in place: once the cause is fixed, it only needs to load.",
        ),
    ],
)
def test_what_became_of_a_server_that_did_not_prove_itself(actions: list[str], said: str) -> None:
    assert managed.outcome_of("s", actions) == said


@pytest.mark.parametrize(
    ("actions", "previous", "instead_of", "is_provisional"),
    [
        ([], None, "", False),
        (["update s"], None, "", False),
        (["remove s-previous"], None, "", False),
        (["pull i", "create s"], None, "", True),
        (["start s"], None, "", True),
        (["keep s (restart policy unless-stopped)"], None, "", True),
        (["wait for s"], None, "", True),
        ([], "s-previous", "", True),
        ([], None, "other", True),
    ],
)
def test_whether_something_has_to_be_undone(
    actions: list[str], previous: str | None, instead_of: str, is_provisional: bool
) -> None:
    assert managed.is_provisional(actions, previous, instead_of) is is_provisional


@pytest.mark.parametrize(
    ("options", "instead_of"),
    [
        ({"instead_of": "other", "share_gpus": False}, "other"),
        ({"instead_of": "s", "share_gpus": False}, ""),
        ({"instead_of": "other", "share_gpus": True}, ""),
        ({"instead_of": None, "share_gpus": False}, ""),
    ],
)
def test_who_makes_way(options: dict[str, Any], instead_of: str) -> None:
    assert work.desired_options({"name": "s", "environment": {}, **options})["instead_of"] == instead_of
