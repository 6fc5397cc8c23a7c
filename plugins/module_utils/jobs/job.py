# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Work that outlives the module call which started it, so that the next calls can tell how far it is.

The kernel lets go of a lock when its holder is gone, whatever ended it. So a dead worker, a reboot, and another process that
got the worker's number need no guessing.

A worker process does it, and each call looks at its state for a while; decision 0009 says why. A play that is interrupted does
not stop the worker: the next call with the same parameters goes on watching it, and one that wants the opposite ends it first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..clock import Deadline
from ..failure import Ended, Failure, mask
from ..host.machine import find_account, read_file
from ..route.record import record_path
from ..untrusted import object_of, parse_json
from .progress import WINDOW_S, Meter, Position, Report, silent

# Written into the state, so that what another release wrote is not misread.
SCHEMA = 1


class Unusable(Exception):
    """The folder of the jobs cannot be written, or no process can be made."""


class Files:
    """The files of one job, all 0600, in a folder with mode 0700 of the user who acts.

    Args:
        folder: Made when the lock is taken, together with its parent.
        name: The files' name without ending.

    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._lock = folder / f"{name}.lock"
        self._state = folder / f"{name}.json"
        self._new = folder / f"{name}.new"

    @property
    def exist(self) -> bool:
        """Whether there is, or may be, a job."""
        return self._lock.exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[Lock | None]:
        """Take the lock for the block; None where somebody else has it.

        A process that is forked in the block goes on holding the lock, until it ends.

        Raises:
            Unusable: The folder is not there and cannot be made, or is somebody else's.

        """
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Unusable(str(error)) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.utime(handle)
                yield None
                return
            # Who had it may have removed the file before letting go; then the lock of a file without a name is worth nothing.
            yield Lock(handle, self) if self._is_named(handle) else None
        finally:
            # Not unlocked: that would unlock it for a forked process as well.
            os.close(handle)

    def _is_named(self, handle: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), self._lock.stat())
        return False

    def is_held_by(self, process: int) -> bool:
        """Tell whether a process has the lock's file open. With the lock held, a number that was used again cannot be its holder's."""
        with contextlib.suppress(OSError):
            held = self._lock.stat()
            return any(_is_file(path, held) for path in Path(f"/proc/{process}/fd").iterdir())
        return False

    def read(self) -> dict[str, Any]:
        """Return the state, empty where there is none or it is none of ours."""
        with contextlib.suppress(OSError, ValueError):
            state = object_of(parse_json(read_file(self._state)))
            return state if state.get("schema") == SCHEMA else {}
        return {}

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state. On a full disk it is written over the old one, whose room is there already: the end must be told.

        Raises:
            OSError: Neither worked.

        """
        text = json.dumps({"schema": SCHEMA, **state})
        try:
            self._replace(text)
        except OSError:
            with self._state.open("r+", encoding="utf-8") as file:
                file.write(text)
                file.truncate()

    def _replace(self, text: str) -> None:
        # Not replace_file(): the lock makes us the only writer, so one name is enough, and what a killed worker leaves under it is
        # found again. It need not be on the disk either, since nothing of it is worth anything after a reboot.
        handle = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        self._new.replace(self._state)

    def forget(self) -> None:
        """Remove all of them; only whoever holds the lock may do so."""
        for path in (self._new, self._state, self._lock):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _is_file(path: Path, file: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), file)
    return False


class Lock:
    """The lock, held. C(asked_at) is when somebody last asked for this job before, seconds since 1970."""

    def __init__(self, handle: int, files: Files) -> None:
        self.files = files
        self.asked_at = os.fstat(handle).st_mtime
        os.utime(handle)


# Seconds between two writes of the state, unless another phase begins.
_WRITE_S = 0.5


def start(
    files: Files, state: dict[str, Any], work: Callable[[Report], dict[str, Any]], secrets: tuple[str, ...]
) -> None:
    """Fork a worker that belongs to nobody: no terminal, no parent, no open pipe, and the lock of C(files), which it keeps.

    Raises:
        Unusable: There is none: no process, or no room for its state.

    """
    try:
        files.write(_masked(state, secrets))
        sys.stdout.flush()
        child = os.fork()
    except OSError as error:
        raise Unusable(str(error)) from error
    if child:
        if os.waitpid(child, 0)[1]:
            raise Unusable("it could not be detached from the module")
        return
    try:
        os.setsid()
        if os.fork() == 0:
            # sshd and sudo wait until every copy of their pipes is closed.
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            os.chdir("/")
            _do(files, state, work, secrets)
        os._exit(0)
    finally:
        # Nothing of the module's own end (its exit handlers, the removal of its files) may happen twice.
        os._exit(1)


def _do(
    files: Files, state: dict[str, Any], work: Callable[[Report], dict[str, Any]], secrets: tuple[str, ...]
) -> None:
    meter = Meter(state["message"])
    state["worker"] = os.getpid()
    with contextlib.suppress(OSError):
        files.write(_masked(state, secrets))

    def report(position: Position) -> None:
        now = time.monotonic()
        if meter.take(position) or now - state["updated"] >= _WRITE_S:
            state.update(progress=meter.as_result(), updated=now)
            # The work goes on where its progress cannot be told.
            with contextlib.suppress(OSError):
                files.write(_masked(state, secrets))

    try:
        state["end"] = {"result": work(report)}
    except Failure as failure:
        state["end"] = {"failure": failure.as_result()}
    except Ended:  # with no word to leave: the next call begins the work again
        return
    except BaseException:
        state["end"] = {"crash": traceback.format_exc()}
    try:
        files.write(_masked(state, secrets))
    except (TypeError, ValueError):  # the result is no JSON
        state["end"] = {"crash": traceback.format_exc()}
        files.write(_masked(state, secrets))


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a value of JSON without the secrets in its texts."""
    if isinstance(value, str):
        for secret in secrets:
            value = mask(value, secret)
    elif isinstance(value, dict):
        value = {name: _masked(one, secrets) for name, one in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [_masked(one, secrets) for one in value]
    return value


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
                        f"{self.message} is under way in its own process, which could not be stopped within {_END_S:g} s. Stop it "
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
                f"{self.message} could not be started as its own process, with its state in {self.files.folder}: {error}. Free space "
                f"there, or set the option jobs_path to a folder that the task's user can write to. Without the option wait it runs within "
                f"the task and shows no progress.",
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
            raise RuntimeError(f"the worker hit a bug in the collection:\n{end.get('crash')}")
        # Once it is begun again: it may have been killed with the play that asked for it, which is now run again.
        self._lost = int(state.get("lost") or 0) + 1
        if self._lost <= _MAY_BE_LOST:
            return None
        raise Failure(
            "job_lost",
            f"{self.message} was under way in its own process, which exited without a result, and so did its replacement: they were killed "
            f"(perhaps out of memory: journalctl -k). Run it again; what was downloaded is kept.",
        )

    def _progress(self) -> dict[str, Any]:
        """Return where the worker stands."""
        state, now = self.files.read(), time.monotonic()
        started, updated = (float(state.get(name) or now) for name in ("started", "updated"))
        progress: dict[str, Any] = {"phase": "start", "message": self.message, **(state.get("progress") or {})}
        if now - updated > WINDOW_S:
            progress.update(rate=None, seconds_left=None)
        if state and not self._is_ours(state):
            progress["message"] += " (requested by another run with other parameters)"
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
