# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that downloads, and what a run that was killed left of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import oneshot
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

WORK = Spec(name="work", kind="vllm", image="i", command=("go",), restart=False)


def run(engine: Any, code: int = 0) -> None:
    """Have it run; it ends by itself while it is watched."""

    def pass_time(seconds: float) -> None:
        engine.state("work", Status="exited", Running=False, ExitCode=code)

    oneshot.run(engine, WORK, lambda: oneshot.Amount(0, None, 2_000_000_000), 1e12, "Working", sleep=pass_time)


def left(engine: Any, code: int | None) -> None:
    """Leave one, as a run that was killed does; without a code it runs still."""
    engine.create("work", WORK.body())
    engine.start("work")
    if code is not None:
        engine.state("work", Status="exited", Running=False, ExitCode=code)
    engine.calls.clear()


def test_made_watched_and_removed(engine: Any) -> None:
    run(engine)
    assert engine.calls == ["create work", "start work", "remove work"]


def test_what_fails_is_told_and_removed(engine: Any) -> None:
    engine.log = "2026-11-22T10:00:01Z OSError: [Errno 28] No space left on device"
    with pytest.raises(Failure) as failed:
        run(engine, 1)
    assert failed.value.code == "disk_full"
    assert engine.there == {}


@pytest.mark.parametrize("code", [None, 0])
def test_one_that_works_or_has_worked_is_not_made_again(engine: Any, code: int | None) -> None:
    left(engine, code)
    run(engine)
    assert engine.calls == ["remove work"]


def test_what_failed_yesterday_is_no_news(engine: Any) -> None:
    left(engine, 1)
    engine.log = "2026-11-21T10:00:01Z OSError: [Errno 28] No space left on device"
    run(engine)
    assert engine.calls == ["remove work", "create work", "start work", "remove work"]


@pytest.mark.parametrize("other", [{"command": ("come",)}, {"secrets": {"HF_TOKEN": "another"}}])
def test_one_that_does_something_else_is_made_anew(engine: Any, other: dict[str, Any]) -> None:
    engine.create("work", Spec(**{**WORK.__dict__, **other}).body())
    engine.start("work")
    engine.calls.clear()
    run(engine)
    assert engine.calls == ["remove work", "create work", "start work", "remove work"]


@pytest.mark.parametrize("step", ["start", "watch"])
def test_what_is_broken_off_leaves_no_container_with_a_token(
    engine: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Ctrl-C, or SIGTERM: the engine would show the user's token for as long as the container is there."""

    def interrupt(_of: object) -> None:
        raise KeyboardInterrupt

    if step == "start":
        monkeypatch.setattr(engine, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        oneshot.run(engine, WORK, lambda: oneshot.Amount(0, None, 2_000_000_000), 1e12, "Working", sleep=interrupt)
    assert engine.there == {}
