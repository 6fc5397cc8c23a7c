# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Work that outlives the module call which started it, so that the next calls can tell how far it is.

A worker process does it, and each call looks at its state for a while; decision 0009 says why. A play that is interrupted does
not stop the worker: the next call with the same parameters goes on watching it, and one that wants the opposite ends it first.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import find_account
from ..route.record import record_path
from .files import Files, Lock, Unusable
from .progress import WINDOW_S, Report, silent
from .worker import start

# Seconds between two looks at a worker within one call: nobody notices, and 25 hosts cost nothing.
_LOOK_S = 0.1
# An end is told to whoever was watching. An older one belongs to an interrupted play: what it says may be wrong by now.
_FRESH_S = 60.0
# A worker that is killed twice in a row is killed by the host, and would be again.
_MAY_BE_LOST = 1
# A worker has nothing to do before it ends. What else holds the lock is a call that looks at the host, which takes some seconds.
_END_S = 60.0
_KILL_S = 5.0


class Outcome(NamedTuple):
    """What a call can tell.

    Attributes:
        finished: Whether C(result) is there.
        progress: Where the work stands, as Meter.as_result() and with C(elapsed); None when there is a result.
        result: What the plan or the work returned.

    """

    finished: bool
    progress: dict[str, Any] | None
    result: dict[str, Any] | None

    def as_result(self) -> dict[str, Any]:
        """Return what the module exits with: the result with C(finished), or C({changed, finished, progress}) meanwhile."""
        return {"finished": self.finished, **(self.result or {"changed": True, "progress": self.progress})}


class Job:
    """One piece of long work.

    Args:
        kind: Short name for its files, for example C(ollama-model).
        subject: What it works on. There is one worker at a time for a kind and a subject.
        parameters: What is wanted, as JSON has it. While a worker with other parameters is there, run() waits for its end and does
            not take its result. Secrets may be among them: only a salted hash is stored.
        message: What is done, as the start of a sentence: C(Pulling qwen3.5:9b).
        secrets: Texts that are masked in whatever is stored.
        folder: Where the files are; by default C(~/.nemoclaw/jobs) of the user that the module runs as.

    """

    def __init__(
        self,
        kind: str,
        subject: str,
        parameters: dict[str, Any],
        message: str,
        secrets: tuple[str, ...] = (),
        folder: str | None = None,
    ) -> None:
        self.message = message
        self._parameters = json.dumps(parameters, sort_keys=True)
        self._secrets = tuple(secret for secret in secrets if secret)
        place = Path(folder) if folder else Path(record_path(find_account().home)).with_name("jobs")
        self._lost = 0  # how many workers were lost, one after the other, before the one that is started now
        self.files = Files(place, f"{kind}-{hashlib.sha256(subject.encode()).hexdigest()[:16]}")

    def run(
        self,
        plan: Callable[[], dict[str, Any] | None],
        work: Callable[[Report], dict[str, Any]],
        wait: float | None,
    ) -> Outcome:
        """Start the work where it is needed and nobody is at it, and look at it for a while.

        Args:
            plan: Returns the result where there is nothing to do, else None; its Failure stops everything. Consent is asked for
                here. It must not change anything.
            work: Does it, in a process of its own: everything has to be imported, connections have to be its own, and no thread
                may run when it is started. Its result has to be JSON. It watches over its own time.
            wait: Seconds to wait for its end; None does the work within this call, after that of a worker that is at it.

        Raises:
            Failure: The plan's; the work's; C(job_lost), C(job_not_started), C(home_refused).

        """
        # Where nothing is to be done and nobody is at it, nothing is written.
        planned = not self.files.exist
        result = plan() if planned else None
        if result is not None:
            return Outcome(True, None, result)
        if wait is None:
            return Outcome(True, None, self._within(None if planned else plan, plan, work))
        deadline = Deadline(wait)
        while True:
            result = self._attempt(None if planned else plan, work)
            if result is not None:
                return Outcome(True, None, result)
            if not deadline.remaining:
                return Outcome(False, self._progress(), None)
            deadline.sleep(min(_LOOK_S, deadline.remaining))
            planned = False  # it was, before somebody else was at it

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the subject for the block: a worker that is at it is ended, and none is started meanwhile.

        Where there was never a job there is none to end, and nothing is written.

        Raises:
            Failure: C(job_not_ended).

        """
        deadline, kill = Deadline(_END_S), Deadline(_KILL_S)
        with contextlib.ExitStack() as held:
            while self.files.folder.exists():
                with contextlib.ExitStack() as trying:
                    try:
                        lock = trying.enter_context(self.files.locked())
                    except Unusable:  # nor could anybody else
                        break
                    if lock is not None:
                        held.push(trying.pop_all())
                        held.callback(self.files.forget)
                        break
                self._end(signal.SIGTERM if kill.remaining else signal.SIGKILL)
                if not deadline.remaining:
                    raise Failure(
                        "job_not_ended",
                        f"{self.message} is under way in a process of its own, and that could not be ended within {_END_S:g} s. End it "
                        f"(the file of its lock is in {self.files.folder}; fuser names who holds it), then run this again.",
                    )
                deadline.sleep(min(_LOOK_S, deadline.remaining))
            yield

    def _end(self, blow: int) -> None:
        """End the worker, if it is one that has the lock."""
        worker = self.files.read().get("worker")
        if isinstance(worker, int) and self.files.is_held_by(worker):
            with contextlib.suppress(OSError):
                os.kill(worker, blow)

    def _within(
        self,
        plan: Callable[[], dict[str, Any] | None] | None,
        anew: Callable[[], dict[str, Any] | None],
        work: Callable[[Report], dict[str, Any]],
    ) -> dict[str, Any]:
        """Do the work in this process; C(anew): the plan for after somebody else's work."""
        while True:
            with contextlib.ExitStack() as held:
                try:
                    lock = held.enter_context(self.files.locked())
                except Unusable:  # then nobody else can be at it with a worker, and no lock is needed
                    return (plan and plan()) or work(silent)
                if lock is not None:
                    held.callback(self.files.forget)
                    return (plan and plan()) or work(silent)
            plan = anew
            time.sleep(_LOOK_S)

    def _attempt(
        self, plan: Callable[[], dict[str, Any] | None] | None, work: Callable[[Report], dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the end of the work, None while a worker is at it. Starts one where there is none."""
        try:
            with self.files.locked() as lock:
                return None if lock is None else self._hold(lock, plan, work)
        except Unusable as error:
            raise Failure(
                "job_not_started",
                f"{self.message} could not be started as a process of its own, with its state in {self.files.folder}: {error}. "
                "Make room there, or name a folder that the user of the task can write to by the option jobs_path. Without the "
                "option wait it is done within the task, and shows no progress.",
            ) from None

    def _hold(
        self, lock: Lock, plan: Callable[[], dict[str, Any] | None] | None, work: Callable[[Report], dict[str, Any]]
    ) -> dict[str, Any] | None:
        started = False
        try:
            result = self._take_end(lock)
            if result is None and plan is not None:
                result = plan()
            if result is None:
                start(self.files, self._new_state(), work, self._secrets)
                started = True
            return result
        finally:
            if not started:
                self.files.forget()

    def _take_end(self, lock: Lock) -> dict[str, Any] | None:
        """Return what a worker that is gone has left for us, None where that is nothing of worth."""
        state = self.files.read()
        if not state or not self._is_ours(state) or abs(time.time() - lock.asked_at) > _FRESH_S:
            return None
        end = state.get("end")
        if isinstance(end, dict) and isinstance(end.get("result"), dict):
            result: dict[str, Any] = end["result"]
            return result
        if isinstance(end, dict) and isinstance(end.get("failure"), dict):
            raise Failure(**end["failure"])
        if isinstance(end, dict):
            raise RuntimeError(f"the worker stumbled over a fault of the collection:\n{end.get('crash')}")
        # Once it is begun again: it may have been killed with the play that asked for it, which is now run again.
        self._lost = int(state.get("lost") or 0) + 1
        if self._lost <= _MAY_BE_LOST:
            return None
        raise Failure(
            "job_lost",
            f"{self.message} was under way in a process of its own, and that has ended without a word, and so has the one that was "
            "started in its place: they were killed (perhaps for want of memory: journalctl -k). Run it again; "
            "what was downloaded is kept.",
        )

    def _progress(self) -> dict[str, Any]:
        """Return where the worker stands."""
        state, now = self.files.read(), time.monotonic()
        started, updated = (float(state.get(name) or now) for name in ("started", "updated"))
        progress: dict[str, Any] = {"phase": "start", "message": self.message, **(state.get("progress") or {})}
        if now - updated > WINDOW_S:
            progress.update(rate=None, seconds_left=None)
        if state and not self._is_ours(state):
            progress["message"] += " (asked for otherwise, by another run)"
        return {**progress, "elapsed": max(0, round(now - started))}

    def _new_state(self) -> dict[str, Any]:
        salt, now = os.urandom(16).hex(), time.monotonic()
        return {
            "message": self.message,
            "salt": salt,
            "parameters": self._fingerprint(salt),
            "started": now,
            "updated": now,
            "progress": None,
            "end": None,
            "lost": self._lost,
        }

    def _is_ours(self, state: dict[str, Any]) -> bool:
        return state.get("parameters") == self._fingerprint(str(state.get("salt")))

    def _fingerprint(self, salt: str) -> str:
        return hmac.new(salt.encode(), self._parameters.encode(), "sha256").hexdigest()
