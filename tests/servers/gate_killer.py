# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a transaction of the auth proxy before each of its steps, on a host that is made for it.

`gate_killer.py CASE` begins each time as the case says, kills the transaction (SIGKILL) before one step, asks the auth proxy as somebody
who reads the token file, does the same once more, and a third time. Steps are the writes, removals and commands of the transaction, as
they come; of a way back, which begins as another case does, only its own. What was seen is printed as JSON. All the while another
process asks; what it got instead of an answer is in `gaps`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, "/opt/collections")
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import service, token_files, transaction
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import Gate, ProxySettings

MACHINE = Machine()
LAB = find_account("lab")
TOKEN = Path("/home/lab/.nemoclaw/ollama-proxy-token")
PORT = 11435
GATE = Gate("ollama", PORT, upstream_port=11434)
# Nobody listens on the port behind it: what has to serve cannot.
DOWN = GATE._replace(upstream_port=11499, serving=True)
# Those in which there is somebody to answer all the while.
_ANSWERED = ("reload", "restart", "back", "rotate", "replace", "commit")
# Commands that only look.
_LOOKS = ("show", "-u")
# Seconds for an answer, once systemd has started what a killed run told it to.
_ANSWER_S = 5
# Between two requests of the process that asks all the while.
_BETWEEN_S = 0.01


def desired(gate: Gate = GATE, timeout: float = 10, overlap: int = 3600, **settings: Any) -> transaction.Desired:
    return transaction.Desired(ProxySettings([gate], **settings), LAB, None, overlap, timeout)


def ensure(gate: Gate = GATE, timeout: float = 10, **settings: Any) -> transaction.Report:
    return transaction.ensure(MACHINE, desired(gate, timeout, **settings), False)


def remove() -> transaction.Report:
    return transaction.remove(MACHINE, 0, False)


def bare() -> None:
    remove()
    for path in TOKEN.parent.glob(f"{TOKEN.name}*"):
        path.unlink()


def rotate(overlap: int = 3600) -> transaction.Report:
    return transaction.rotate(MACHINE, desired(overlap=overlap), False)


def commit() -> transaction.Report:
    return transaction.commit(MACHINE, desired(), False)


def one_token() -> None:
    ensure()
    commit()


def two_tokens() -> None:
    one_token()
    rotate()


# What there is at first, what is killed and done again, and what has nothing to do at the end.
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]] = {
    "first": (bare, ensure, ensure),
    "reload": (ensure, lambda: ensure(read_timeout=77), lambda: ensure(read_timeout=77)),
    "restart": (ensure, lambda: ensure(memory_max="300M"), lambda: ensure(memory_max="300M")),
    # The new one does not serve: what was there before comes back, which is what the third run wants.
    "back": (ensure, lambda: ensure(DOWN, 0.3), ensure),
    "never": (bare, lambda: ensure(DOWN, 0.3), remove),
    "rotate": (one_token, rotate, ensure),
    "replace": (one_token, lambda: rotate(0), ensure),
    "commit": (two_tokens, commit, ensure),
    "absent": (ensure, remove, remove),
}


class Steps:
    """Counts the steps of a transaction, and kills this process before one of them."""

    def __init__(self, at: int | None, told: int) -> None:
        self._at, self._told, self._count = at, told, 0
        written = tuple((one, "replace_file") for one in (transaction, service, token_files))
        for owner, name in (*written, (Path, "unlink"), (shutil, "rmtree"), (Machine, "run")):
            self._watch(owner, name)

    def _watch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*arguments: Any, **more: Any) -> Any:
            what = arguments[1] if name == "run" else arguments[0]
            if name != "run" or not any(word in _LOOKS for word in what):
                self._step(f"{name} {' '.join(map(str, what)) if name == 'run' else what}")
            return real(*arguments, **more)

        setattr(owner, name, watched)

    def _step(self, words: str) -> None:
        if self._count == self._at:
            os.write(self._told, f"{words}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        if self._at is None:
            os.write(self._told, f"{words}\n".encode())
        self._count += 1


def attempt(work: Callable[[], Any], at: int | None) -> tuple[int, list[str]]:
    """Do the work in a process that is killed before step C(at), and return how it ended and the steps that were told."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        Steps(at, writing)
        try:
            work()
        except Failure:
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        steps = told.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), steps


def ask() -> str:
    """Ask as somebody who reads the token file, and return the status, or what came instead."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        read = TOKEN.read_text(encoding="ascii").strip()
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {read}"})
        status = connection.getresponse().status
        # Read just before it was replaced.
        return ask() if status == 401 and TOKEN.read_text(encoding="ascii").strip() != read else str(status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def answer() -> str:
    """Return the answer within some seconds, 200 as soon as there is one."""
    end = time.monotonic() + _ANSWER_S
    while (said := ask()) != "200" and time.monotonic() < end:
        time.sleep(0.05)
    return said


@contextlib.contextmanager
def asking() -> Any:
    """Ask without a pause until the block ends; the value gets what came instead of an answer then."""
    seen: list[str] = []
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_arguments: stop.append(1))
        found: dict[str, int] = {}
        while not stop:
            said = ask()
            found[said] = found.get(said, 0) + 1
            time.sleep(_BETWEEN_S)
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    try:
        yield seen
    finally:
        os.kill(pid, signal.SIGTERM)
        with os.fdopen(reading) as told:
            answers = json.load(told)
        os.waitpid(pid, 0)
        answers.pop("200", None)
        seen += [f"{number} times {said}" for said, number in answers.items()]


def outcome(work: Callable[[], Any]) -> tuple[bool, str]:
    """Return whether the work changed something, and why it failed."""
    try:
        return bool(work().actions), ""
    except Failure as failure:
        return True, failure.message


def row(case: str, at: int, first: str) -> dict[str, Any]:
    prepare, work, settled = CASES[case]
    prepare()
    with asking() if case in _ANSWERED else contextlib.nullcontext([]) as gaps:
        status, step = attempt(work, at)
        seen = {"step": step[0] if step else first, "killed": status == -signal.SIGKILL}
        seen["answered"] = answer() if case in _ANSWERED else ""
        _changed, seen["failed"] = outcome(work)
    changed, failed = outcome(settled)
    return {**seen, "gaps": gaps, "changed": changed, "failed_at_last": failed, "left": left()}


def left() -> list[str]:
    """Return what there is of the auth proxy, and what a token file has beside it."""
    paths = [*Path("/etc").glob("*nemoclaw*"), *Path("/etc/systemd/system").glob("*nemoclaw*")]
    paths += [*Path("/var/lib").glob("nemoclaw*/*"), *TOKEN.parent.glob("*token*")]
    return sorted(map(str, paths))


def main() -> None:
    case = sys.argv[1]
    prepare, work, _settled = CASES[case]
    prepare()
    _status, steps = attempt(work, None)
    # A way back begins once systemd has been told to run the new one.
    told = [at for at, step in enumerate(steps, 1) if " reload " in step or " restart " in step]
    begin = told[0] if case in ("back", "never") else 0
    print(json.dumps([row(case, at, steps[at]) for at in range(begin, len(steps))]))


if __name__ == "__main__":
    main()
