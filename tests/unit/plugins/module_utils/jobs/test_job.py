# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs with real workers: they outlive the call, are alone, and what becomes of them is told to whoever watches."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure as failure_module
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Ended, Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs import job as job_module
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.job import Files, Job, Outcome
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Position, Report

LIMIT = 20.0  # seconds in which anything here is over, on a loaded machine too
SECRET = "canary-9f2c7d"
COLLECTIONS = Path(failure_module.__file__).parents[5]


class Bench:
    """A folder of jobs, and work that goes where the test lets it: files are the only thing that a worker and a test share."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp = tmp_path
        self.folder = tmp_path / ".nemoclaw" / "jobs"
        self.gate = tmp_path / "gate"
        self.starts = tmp_path / "starts"
        self.standard = tmp_path / "standard"

    def job(self, subject: str = "thing", **parameters: Any) -> Job:
        return Job("test", subject, parameters, "Doing it", (SECRET,), str(self.folder))

    def work(self, report: Report) -> dict[str, Any]:
        """Say that it began and where it is, wait for the gate, and return a result."""
        # Told by the worker: not every host lets one process see what another has open.
        null = Path(os.devnull).stat()
        self.standard.write_text(json.dumps([os.path.samestat(os.fstat(number), null) for number in range(3)]))
        with self.starts.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        report(Position("download", 250, 1000))
        deadline = time.monotonic() + LIMIT
        while not self.gate.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"changed": True, "pid": os.getpid()}

    def run(self, wait: float = 0, work: Callable[[Report], dict[str, Any]] | None = None, **job: Any) -> Outcome:
        return self.job(**job).run(lambda: None, work or self.work, wait)

    @property
    def workers(self) -> list[int]:
        return [int(line) for line in self.starts.read_text(encoding="utf-8").split()] if self.starts.exists() else []

    def worker(self) -> int:
        """Wait until there is one, and return its process."""
        wait_for(lambda: self.workers)
        return self.workers[-1]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Whether it has ended; a zombie has."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    bench = Bench(tmp_path)
    yield bench
    bench.gate.touch()
    wait_for(lambda: all(is_gone(process) for process in bench.workers if process != os.getpid()))


def test_quick_work_is_done_in_one_call(bench: Bench) -> None:
    bench.gate.touch()
    outcome = bench.run(LIMIT)
    assert (outcome.finished, outcome.progress) == (True, None)
    assert outcome.as_result() == {"finished": True, "changed": True, "pid": bench.worker()}
    assert bench.worker() != os.getpid()
    assert bench.names() == []


def test_slow_work_is_watched_from_call_to_call(bench: Bench) -> None:
    bench.run()
    process = bench.worker()
    wait_for(lambda: bench.run().progress["phase"] == "download")
    second = bench.run()
    assert second.as_result()["finished"] is False
    assert second.as_result()["changed"] is True
    assert second.progress is not None
    assert {name: second.progress[name] for name in ("phase", "message", "percent", "completed", "total")} == {
        "phase": "download",
        "message": "Doing it",
        "percent": 25.0,
        "completed": 250,
        "total": 1000,
    }
    assert second.progress["elapsed"] < LIMIT
    # It belongs to a session of its own, and holds no pipe of the call that started it.
    assert os.getsid(process) not in (os.getsid(0), 0)
    assert json.loads(bench.standard.read_text()) == [True, True, True]
    assert stat.S_IMODE(bench.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in bench.folder.iterdir()} == {0o600}
    bench.gate.touch()
    assert bench.run(LIMIT).result == {"changed": True, "pid": process}
    assert (bench.workers, bench.names()) == ([process], [])


def test_the_call_waits_as_long_as_it_is_told(bench: Bench) -> None:
    started = time.monotonic()
    assert bench.run(0.4).finished is False
    assert 0.4 <= time.monotonic() - started < 5
    bench.gate.touch()
    started = time.monotonic()
    assert bench.run(LIMIT).finished is True
    assert time.monotonic() - started < LIMIT / 2


def test_without_wait_it_is_done_within_the_call(bench: Bench) -> None:
    bench.gate.touch()
    assert bench.job().run(lambda: None, bench.work, None).result == {"changed": True, "pid": os.getpid()}
    assert bench.names() == []


def test_without_wait_it_is_nobody_elses_meanwhile(bench: Bench) -> None:
    """What is done within a call is as much alone as a worker is."""

    def work(report: Report) -> dict[str, Any]:
        assert bench.run().finished is False
        return {"changed": True}

    assert bench.job().run(lambda: None, work, None).result == {"changed": True}
    assert (bench.workers, bench.names()) == ([], [])


def test_without_wait_a_worker_comes_first(bench: Bench) -> None:
    bench.run()
    process = bench.worker()
    threading.Timer(0.3, bench.gate.touch).start()
    assert bench.job().run(lambda: {"changed": False} if bench.gate.exists() else None, bench.work, None).result == {
        "changed": False
    }
    wait_for(lambda: is_gone(process))
    assert bench.workers == [process]


def test_whoever_wants_the_opposite_ends_the_worker(bench: Bench) -> None:
    bench.run()
    process = bench.worker()
    with bench.job(other="desired").alone():
        assert is_gone(process)
        assert bench.run().finished is False, "nobody else may begin"
    assert (bench.workers, bench.names()) == ([process], [])
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True, "it was no news for whoever comes next"


def test_a_worker_that_does_not_want_to_end_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(report: Report) -> dict[str, Any]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return bench.work(report)

    monkeypatch.setattr(job_module, "_KILL_S", 0.2)
    bench.run(0, stubborn)
    process = bench.worker()
    with bench.job().alone():
        assert is_gone(process)


def test_where_nobody_is_at_it_nothing_is_ended_or_written(bench: Bench) -> None:
    with bench.job().alone():
        pass
    assert not (bench.tmp / ".nemoclaw").exists()
    with bench.job().files.locked():
        pass
    with bench.job().alone():
        assert len(bench.names()) == 1
    assert bench.names() == []


def test_another_process_with_the_workers_number_is_not_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is of an earlier worker, and a call that looks has the lock."""
    monkeypatch.setattr(job_module, "_END_S", 0.3)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        with bench.job().files.locked():
            bench.job().files.write({"worker": bystander.pid})
            with pytest.raises(Failure) as failed, bench.job().alone():
                pass
        assert failed.value.code == "job_not_ended"
        assert bystander.poll() is None
        bystander.kill()


def test_where_nothing_is_to_be_done_nothing_is_written(bench: Bench) -> None:
    outcome = bench.job().run(lambda: {"changed": False}, bench.work, 5)
    assert outcome == Outcome(True, None, {"changed": False})
    assert (bench.workers, (bench.tmp / ".nemoclaw").exists()) == ([], False)


def test_no_consent_no_worker(bench: Bench) -> None:
    def plan() -> None:
        raise Failure("download_not_allowed", "Nobody consented.")

    # Also where an earlier job left its files.
    for left in (False, True):
        if left:
            with bench.job().files.locked():
                pass
            assert len(bench.names()) == 1
        with pytest.raises(Failure) as failed:
            bench.job().run(plan, bench.work, 0)
        assert failed.value.code == "download_not_allowed"
        assert (bench.workers, bench.names()) == ([], [])


def test_a_failure_is_told_once_and_with_its_details(bench: Bench) -> None:
    def work(report: Report) -> dict[str, Any]:
        raise Failure("disk_full", f"No room; the key is {SECRET}.", progress={"percent": 12.5}, said=[SECRET])

    with pytest.raises(Failure) as failed:
        bench.run(LIMIT, work)
    assert (failed.value.code, failed.value.message) == ("disk_full", "No room; the key is ********.")
    assert failed.value.details == {"progress": {"percent": 12.5}, "said": ["********"]}
    assert bench.names() == []
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True


@pytest.mark.parametrize(
    "fault", [lambda report: 1 / 0, lambda report: {"no": {1, 2}}, lambda report: sys.exit("away")]
)
def test_a_fault_of_the_work_is_a_fault_of_the_module(bench: Bench, fault: Callable[[Report], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError|not JSON serializable|away"):
        bench.run(LIMIT, fault)
    assert bench.names() == []


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_begun_again_once_and_then_told(bench: Bench, blow: int) -> None:
    """The play that asked for it may have been killed with it: 0.1.0 failed when it was run again."""
    bench.run()
    os.kill(bench.worker(), blow)
    wait_for(lambda: is_gone(bench.workers[0]))
    assert bench.run().finished is False
    wait_for(lambda: len(bench.workers) == 2)
    os.kill(bench.worker(), blow)
    with pytest.raises(Failure) as failed:
        bench.run(LIMIT)
    assert failed.value.code == "job_lost"
    assert "Doing it" in failed.value.message
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True
    assert len(bench.workers) == 3


def test_a_worker_that_is_ended_cleans_up(bench: Bench) -> None:
    """The modules make Ended of SIGTERM: what the work holds is let go of, and no fault of the collection is told."""
    cleaned = bench.tmp / "cleaned"

    def end(number: int, frame: object) -> None:
        raise Ended(128 + number)

    def work(report: Report) -> dict[str, Any]:
        signal.signal(signal.SIGTERM, end)
        try:
            return bench.work(report)
        finally:
            cleaned.touch()

    bench.run(work=work)
    os.kill(bench.worker(), signal.SIGTERM)
    wait_for(lambda: is_gone(bench.workers[0]))
    assert cleaned.exists()
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True
    assert len(bench.workers) == 2


def test_an_old_end_is_nobodys_news(bench: Bench) -> None:
    """The play that started it was broken off, and the host rebooted meanwhile or the work ended long ago."""
    bench.run()
    os.kill(bench.worker(), signal.SIGKILL)
    wait_for(lambda: is_gone(bench.workers[0]))
    (lock,) = bench.folder.glob("*.lock")
    os.utime(lock, (1, time.time() - 120))
    assert bench.run().finished is False
    wait_for(lambda: len(bench.workers) == 2)
    bench.gate.touch()
    wait_for(lambda: is_gone(bench.workers[1]))
    os.utime(lock, (1, time.time() - 120))
    assert bench.job().run(lambda: {"changed": False}, bench.work, 5).result == {"changed": False}
    assert bench.names() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"end": {"result": {}}}', b"\xff\xfe", b'{"schema": 2}'])
def test_a_damaged_state(bench: Bench, content: bytes) -> None:
    bench.run()
    process = bench.worker()
    (state,) = bench.folder.glob("*.json")
    wait_for(lambda: bench.run().progress["phase"] == "download")
    state.write_bytes(content)
    assert bench.run().progress["phase"] == "start"
    bench.gate.touch()
    # The worker writes it anew.
    assert bench.run(LIMIT).result == {"changed": True, "pid": process}


def test_a_damaged_state_of_nobody(bench: Bench) -> None:
    bench.run()
    os.kill(bench.worker(), signal.SIGKILL)
    (state,) = bench.folder.glob("*.json")
    state.write_bytes(b"{")
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True


CALL = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
import test_job
bench = test_job.Bench(pathlib.Path(sys.argv[3]))
outcome = bench.job().run(lambda: {"changed": False} if bench.gate.exists() else None, bench.work, 15)
print(outcome.result["changed"])
"""


def test_many_calls_at_once_have_one_worker(bench: Bench) -> None:
    call = [sys.executable, "-c", CALL, str(COLLECTIONS), str(Path(__file__).parent), str(bench.tmp)]
    calls = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for number in range(4)]
    process = bench.worker()
    bench.gate.touch()
    said = [one.communicate(timeout=60) for one in calls]
    # One is told what was done; the others find that nothing is to be done any more.
    assert sorted(out.strip() for out, err in said) == ["False"] * 3 + ["True"], said
    assert (bench.workers, bench.names()) == ([process], [])


def test_a_call_that_is_broken_off_leaves_the_worker(bench: Bench) -> None:
    call = [sys.executable, "-c", CALL, str(COLLECTIONS), str(Path(__file__).parent), str(bench.tmp)]
    caller = subprocess.Popen(call, stdout=subprocess.DEVNULL, start_new_session=True)
    process = bench.worker()
    os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()
    assert not is_gone(process)
    assert bench.run().finished is False
    bench.gate.touch()
    assert bench.run(LIMIT).result == {"changed": True, "pid": process}


def test_other_parameters_wait_for_their_turn(bench: Bench) -> None:
    bench.run(key="a")
    process = bench.worker()
    other = bench.run(key="b")
    assert other.finished is False
    assert other.progress is not None
    assert "another run" in other.progress["message"]
    bench.gate.touch()
    assert bench.run(LIMIT, key="b").result == {"changed": True, "pid": bench.workers[1]}
    assert bench.workers[0] == process


def test_other_subjects_have_other_workers(bench: Bench) -> None:
    bench.run(subject="a")
    bench.run(subject="b")
    wait_for(lambda: len(bench.workers) == 2)


def test_a_secret_is_in_no_file_and_no_argument(bench: Bench) -> None:
    key = SECRET

    def work(report: Report) -> dict[str, Any]:
        report(Position("login", message=f"With {key}"))
        bench.work(report)
        return {"changed": True, "said": [f"hello {key}"]}

    bench.run(0, work, key=key)
    process = bench.worker()
    wait_for(lambda: bench.run(0, work, key=key).progress["phase"] == "download")
    content = b"".join(path.read_bytes() for path in bench.folder.iterdir())
    assert b"********" in content
    assert key.encode() not in content + Path(f"/proc/{process}/cmdline").read_bytes()
    bench.gate.touch()
    wait_for(lambda: is_gone(process))
    assert key.encode() not in b"".join(path.read_bytes() for path in bench.folder.iterdir())
    assert bench.run(LIMIT, work, key=key).result == {"changed": True, "said": ["hello ********"]}


def test_a_full_disk_does_not_hide_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the disk: a full one needs root to mount. What is there already can still be written over."""
    replace = Files._replace

    def full(files: Files, text: str) -> None:
        if files._state.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(files, text)

    monkeypatch.setattr(Files, "_replace", full)
    bench.gate.touch()
    assert bench.run(LIMIT).finished is True


@pytest.mark.parametrize("spoil", [lambda tmp: (tmp / ".nemoclaw").touch(), lambda tmp: tmp.rmdir()])
def test_no_folder_for_jobs(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spoil(home)
    with pytest.raises(Failure) as failed:
        Bench(home).run()
    assert failed.value.code == "job_not_started"
    assert ".nemoclaw/jobs" in failed.value.message


def test_no_process_to_be_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(Failure) as failed:
        bench.run()
    assert (failed.value.code, bench.names()) == ("job_not_started", [])


def test_a_silent_worker_has_no_rate(bench: Bench) -> None:
    bench.run()
    bench.worker()
    (state,) = bench.folder.glob("*.json")
    wait_for(lambda: bench.run().progress["phase"] == "download")
    known = json.loads(state.read_bytes())
    known["progress"].update(rate=5, seconds_left=150)
    state.write_text(json.dumps(known), encoding="utf-8")
    assert bench.run().progress["seconds_left"] == 150
    known["updated"] -= 60
    state.write_text(json.dumps(known), encoding="utf-8")
    assert (bench.run().progress["rate"], bench.run().progress["seconds_left"]) == (None, None)
