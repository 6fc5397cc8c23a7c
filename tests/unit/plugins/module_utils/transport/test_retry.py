# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures are tried again, for how long, and what is said then; on a clock that only moves when it is told to."""

from __future__ import annotations

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.trouble import with_retries


class Clock:
    """A clock, and everybody who sleeps by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(clock: Clock, code: str, times: int, cost: float = 0.0, **details: object) -> tuple[list[float], object]:
    """Return the limits that were given, and an attempt that fails so often before it returns "done"."""
    limits: list[float] = []

    def attempt(limit: float) -> str:
        limits.append(limit)
        clock.now += min(cost, limit)
        if len(limits) <= times:
            raise Failure(code, "It failed.", **details)
        return "done"

    return limits, attempt


@pytest.mark.parametrize("code", ["rate_limited", "server_busy", "timeout", "connection_lost", "server_error"])
def test_what_may_pass_is_tried_again(clock: Clock, code: str) -> None:
    limits, attempt = failing(clock, code, 2)
    assert with_retries(attempt, Deadline(180, clock.read, clock.sleep)) == "done"  # type: ignore[arg-type]
    assert len(limits) == 3
    assert clock.slept == [1, 2]


@pytest.mark.parametrize(
    "code", ["auth_failed", "connection_refused", "tls_failed", "not_found", "bad_request", "not_json"]
)
def test_what_cannot_pass_ends_at_once(clock: Clock, code: str) -> None:
    limits, attempt = failing(clock, code, 1)
    with pytest.raises(Failure) as failed:
        with_retries(attempt, Deadline(180, clock.read, clock.sleep))  # type: ignore[arg-type]
    assert (len(limits), clock.slept) == (1, [])
    assert failed.value.message == "It failed."


@pytest.mark.parametrize("code", ["timeout", "connection_lost", "server_error"])
def test_a_model_that_crashes_again_gets_three_tries(clock: Clock, code: str) -> None:
    limits, attempt = failing(clock, code, 99)
    with pytest.raises(Failure) as failed:
        with_retries(attempt, Deadline(180, clock.read, clock.sleep))  # type: ignore[arg-type]
    assert len(limits) == 3
    assert "This was try 3, 3 s into the limit of 180 s" in failed.value.message


def test_a_busy_server_gets_all_the_time_and_no_more(clock: Clock) -> None:
    _limits, attempt = failing(clock, "server_busy", 999)
    deadline = Deadline(100, clock.read, clock.sleep)
    with pytest.raises(Failure) as failed:
        with_retries(attempt, deadline)  # type: ignore[arg-type]
    assert clock.slept == [1, 2, 4, 8, 15, 15, 15, 15, 15]
    assert deadline.elapsed <= 100
    assert "This was try 10, 90 s into the limit of 100 s." in failed.value.message


@pytest.mark.parametrize(("asked", "slept"), [(None, 1), (0, 1), (1, 1), (7, 7)])
def test_the_server_may_ask_for_a_longer_wait(clock: Clock, asked: int | None, slept: int) -> None:
    _limits, attempt = failing(clock, "rate_limited", 1, retry_after=asked)
    assert with_retries(attempt, Deadline(180, clock.read, clock.sleep)) == "done"  # type: ignore[arg-type]
    assert clock.slept == [slept]


def test_a_wait_beyond_the_limit_is_not_waited(clock: Clock) -> None:
    limits, attempt = failing(clock, "rate_limited", 1, retry_after=3600)
    with pytest.raises(Failure):
        with_retries(attempt, Deadline(180, clock.read, clock.sleep))  # type: ignore[arg-type]
    assert (len(limits), clock.slept) == (1, [])


def test_a_time_out_leaves_time_for_another_try(clock: Clock) -> None:
    limits, attempt = failing(clock, "timeout", 99, cost=1e9)
    deadline = Deadline(90, clock.read, clock.sleep)
    with pytest.raises(Failure) as failed:
        with_retries(attempt, deadline)  # type: ignore[arg-type]
    # What the failure says of the last try alone, a few seconds, is not what the user gave.
    assert failed.value.message.endswith(" This was try 3, 87 s into the limit of 90 s; the first one had 60 s.")
    assert limits[0] == 60
    assert len(limits) == 3
    assert deadline.elapsed <= 90


def test_one_try_may_have_it_all(clock: Clock) -> None:
    limits, attempt = failing(clock, "timeout", 99, cost=1e9)
    with pytest.raises(Failure):
        with_retries(attempt, Deadline(90, clock.read, clock.sleep), share=1.0)  # type: ignore[arg-type]
    assert limits == [90]


def test_the_deadline_does_not_move(clock: Clock) -> None:
    deadline = Deadline(10, clock.read, clock.sleep)
    assert (deadline.elapsed, deadline.remaining) == (0, 10)
    clock.now += 4
    assert (deadline.elapsed, deadline.remaining) == (4, 6)
    clock.now += 40
    assert (deadline.elapsed, deadline.remaining) == (44, 0)
