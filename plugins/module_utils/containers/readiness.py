# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Whether a server in a container is ready: its state, its log and its HTTP together, each look independent of the one before.

Nothing is kept between two looks, so a play may look, go away and look again: when the container started, what it wrote and when,
and how often the engine restarted it are all with the engine.
"""

from __future__ import annotations

import datetime
import http.client
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.diagnosis import (
    diagnose,
    explain,
    tail,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine, parse_time
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.local_http import NotAnswering, get_json
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import Position
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import list_of, object_of

# nemoclaw-facts 10.1 gives the same question 5 s; a server that is loading does not answer, one that is ready does at once.
HTTP_LIMIT_S = 5.0
# nemoclaw-facts 10.4 (later addition): three restarts, and it will not get better by itself.
MAX_RESTARTS = 3
READ_LINES = 200
_PERCENT = re.compile(r"(\d{1,3})%")
_GONE = ("exited", "dead", "removing")


@dataclass(frozen=True)
class Server:
    """How to tell how far a server is.

    Attributes:
        name: Its container.
        port: Port on 127.0.0.1.
        phases: C((phase, pattern)) in the order in which a server goes through them; the last line that matches one decides.
        paths: All must answer 200 with JSON; the first lists the models. C(/v1/models) alone for vLLM.
        model: The id that has to be among the models; empty takes any.
        stall_s: Seconds without a new line in the log, nor an answer, after which it is given up.
        grew: When something else last showed that it works, seconds since 1970: a download that logs nothing makes files grow.

    """

    name: str
    port: int
    phases: Sequence[tuple[str, str]]
    paths: Sequence[str] = ("/v1/models",)
    model: str = ""
    stall_s: float = 900
    grew: Callable[[], float] | None = None


@dataclass(frozen=True)
class Look:
    """What one look saw.

    Attributes:
        ready: It runs, answers, and serves what it should.
        phase: C(start), one of the server's phases, or C(ready).
        percent: How far the phase is, where the log tells.
        elapsed: Seconds since the container started.
        models: Entries of its models list.
        line: The last line of the log.
        found: What inspect says.

    """

    ready: bool
    phase: str
    percent: float | None
    elapsed: float
    models: list[dict[str, Any]]
    line: str
    found: dict[str, Any]

    def position(self, name: str) -> Position:
        """Return where it is, for people."""
        line = f": {self.line}" if self.line else ""
        share = None if self.percent is None else round(self.percent)
        total = None if share is None else 100
        return Position(self.phase, share, total, "percent", "Ready" if self.ready else f"Waiting for {name}{line}")


def look(engine: Engine, server: Server) -> Look:
    """Look once.

    Raises:
        Failure: C(container_gone), C(container_exited), C(container_stalled), C(model_mismatch), or a code of the diagnosis. All
            with C(last_logs), C(last_state) and C(elapsed).

    """
    found = engine.container(server.name)
    if found is None:
        raise Failure(
            "container_gone",
            f"The container {server.name} was removed by somebody else while it was starting. Run this again to make it anew.",
            container=server.name,
        )
    log = engine.logs(server.name, READ_LINES)
    state = object_of(found.get("State"))
    started = parse_time(str(state.get("StartedAt")))
    now = engine.now()
    elapsed = (now - started).total_seconds() if started else 0.0
    _require_alive(server, found, log)
    current = _since(log, started)
    models = _models(server) if state.get("Running") and not state.get("Restarting") else None
    if models is not None:
        _require_model(server, models, log)
        return Look(True, "ready", 100.0, elapsed, models, "", found)
    silent = (now - (last_sign(current) or started or now)).total_seconds()
    if silent > server.stall_s and server.grew:
        silent = min(silent, time.time() - server.grew())
    if silent > server.stall_s:
        raise Failure(
            "container_stalled",
            f"The container {server.name} runs, but it wrote nothing for {silent:.0f} s and does not answer on port {server.port}. Look "
            f"at its log (docker logs {server.name}); where loading takes that long in silence, raise wait_timeout.",
            container=server.name,
            last_state=str(state.get("Status")),
            last_logs=tail(log),
            elapsed=round(elapsed, 1),
        )
    phase, percent = read_phase(current, server.phases)
    return Look(False, phase, percent, elapsed, [], (tail(current, 1) or [""])[0], found)


def read_phase(log: str, phases: Sequence[tuple[str, str]]) -> tuple[str, float | None]:
    """Return the phase that the last telling line stands for, and the percentage in that line."""
    for line in reversed(log.splitlines()):
        for phase, pattern in reversed(phases):
            if re.search(pattern, line):
                percents = _PERCENT.findall(line)
                return phase, min(float(percents[-1]), 100.0) if percents else None
    return "start", None


def last_sign(log: str) -> datetime.datetime | None:
    """Return when the last line was written."""
    times = (parse_time(line.partition(" ")[0]) for line in reversed(log.splitlines()))
    return next((time for time in times if time), None)


def _since(log: str, started: datetime.datetime | None) -> str:
    """Return the lines of this start: those of earlier ones would show phases that are over."""
    if started is None:
        return log
    lines = [(parse_time(line.partition(" ")[0]), line) for line in log.splitlines()]
    return "\n".join(line for time, line in lines if time is None or time >= started)


def _require_alive(server: Server, found: dict[str, Any], log: str) -> None:
    state = object_of(found.get("State"))
    status, restarts = str(state.get("Status")), int(found.get("RestartCount") or 0)
    ended = f"ended with exit code {state.get('ExitCode')}"
    if status in _GONE:
        again = f", and again after each of {restarts} restarts" if restarts else ""
        raise explain(server.name, found, log, f"{ended}{again}")
    # What will not go away by itself is not tried three times: each try of a large model takes minutes.
    if status == "restarting" and (restarts >= MAX_RESTARTS or diagnose(log)):
        raise explain(server.name, found, log, f"{ended} and was restarted {restarts} times")
    if status == "paused":
        raise explain(server.name, found, log, "is paused: continue it (docker unpause) or remove it")


def _models(server: Server) -> list[dict[str, Any]] | None:
    """Return the models list where every path answers, else None."""
    listed: list[dict[str, Any]] = []
    for position, path in enumerate(server.paths):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HTTP_LIMIT_S)
        try:
            answer = get_json(connection, path, HTTP_LIMIT_S)
        except (OSError, NotAnswering):
            return None
        if position == 0:
            listed = [entry for entry in map(object_of, list_of(answer.get("data"))) if entry.get("id")]
    return listed or None


def _require_model(server: Server, models: list[dict[str, Any]], log: str) -> None:
    ids = [str(entry["id"]) for entry in models]
    if not server.model or server.model in ids:
        return
    raise Failure(
        "model_mismatch",
        f"The server in {server.name} is up and serves {', '.join(ids)}, not {server.model}. Give it the name that it serves (model, or "
        "--served-model-name in the extra arguments), or an image that serves the model.",
        container=server.name,
        served_models=ids,
        last_logs=tail(log),
    )
