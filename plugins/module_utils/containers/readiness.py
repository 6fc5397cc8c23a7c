# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Whether a server in a container is ready, by its state, its log and its HTTP together; and why one ended.

A play may look, go away and look again: when the container started, what it wrote and when, and how often the engine restarted it are
all with the engine. Who looks again and again gives each look the same Memory, for what has left the end of the log by then.
"""

from __future__ import annotations

import datetime
import http.client
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ..failure import MASK, Failure
from ..jobs.progress import Position
from ..transport.client import NotAnswering, get_json
from ..untrusted import list_of, object_of
from .engine import Engine, parse_time

# Lines that a failure carries: enough for a Python traceback and the line that explains it (upstream-facts N33: 30).
SHOWN_LINES = 30
_LINE_LIMIT = 400
# The engine's time before each line.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+ ?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# What stands in a log -> code. The first match counts, so what explains more stands before what only accompanies it: a failed
# import after a full disk is a full disk. Sources: upstream-facts N29; vLLM v1/engine and v1/worker; huggingface_hub/errors.py.
FAILURE_CODES = {
    # Ours, for what the engine says beside the log.
    r"^OOMKilled$": "container_out_of_memory",
    r"No space left on device|Disk quota exceeded": "disk_full",
    r"exec format error|exec user process caused.*format": "image_architecture",
    r"no kernel image is available|cudaErrorNoKernelImageForDevice|is not supported on GPU .* capability"
    r"|requires compute capability|minimum capability|sm_\d+ is not compatible": "gpu_too_old",
    r"CUDA driver version is insufficient|forward compatibility was attempted|Error 80[34]:": "gpu_driver_too_old",
    r"CUDA out of memory|OutOfMemoryError|No available memory for the cache blocks|NV_ERR_NO_MEMORY"
    r"|Free memory on device .* is less than desired": "gpu_out_of_memory",
    r"KV cache is needed, which is larger|maximum number of tokens that can be stored in KV cache": "context_too_large",
    r"GatedRepoError|401 Client Error|403 Client Error|401 Unauthorized|403 Forbidden|Access to model .* is restricted"
    r"|Invalid user token|Invalid credentials|Authentication Error|Access denied|requires approval": "weights_unauthorized",
    r"429 Client Error|Too Many Requests": "weights_rate_limited",
    r"RepositoryNotFoundError|RevisionNotFoundError|404 Client Error|Error: (?:Model|Revision) '.*' not found": "weights_not_found",
    r"\[Errno 111\]|Name or service not known|Temporary failure in name resolution|Max retries exceeded|Network is unreachable"
    r"|ConnectError|ConnectTimeout|os error 111": "weights_unreachable",
    r"LocalEntryNotFoundError|outgoing traffic has been disabled|in offline mode"
    r"|couldn't find them in the cached files": "weights_incomplete",
    r"unrecognized arguments|error: argument |invalid choice:|No such option": "serve_arguments_invalid",
    r"ImportError|ModuleNotFoundError": "container_import_error",
}
# What a server that downloads nothing cannot mean by them: NCCL, too, is refused connections.
_OF_DOWNLOADS = ("weights_unauthorized", "weights_rate_limited", "weights_not_found", "weights_unreachable")
# Lines that are no reason to end: a request that was answered (with 401, perhaps), and a warning (of a package that could have been used).
_NO_REASON = re.compile(r'"[A-Z]+ \S+ HTTP/\d|\bWARN(?:ING)?\b|\b\w*Warning: ')
_REMEDIES = {
    "disk_full": "The disk is full: free space where Docker stores its data and where the weights are",
    "image_architecture": "The image was built for another processor: choose one for this machine",
    "gpu_too_old": "The GPU's compute capability is too low for this model or image: choose a model in another format (FP8 needs 8.9)",
    "gpu_driver_too_old": "The NVIDIA driver is older than the image's CUDA: update the driver, or use an older image",
    "gpu_out_of_memory": "The GPU ran out of memory: stop its other users, choose a smaller model or context, or lower "
    "--gpu-memory-utilization",
    "container_out_of_memory": "The host ran out of memory: stop other programs, or choose a smaller model",
    "context_too_large": "The context does not fit into GPU memory next to the weights: lower max_model_len",
    "weights_unauthorized": "The weights' registry refused the key: check the token, and accept the model's licence on its page",
    "weights_rate_limited": "The weights' registry limits anonymous downloads: set a token, or wait, then run this again",
    "weights_not_found": "There is no such model: check its name",
    "weights_incomplete": "The weights on this host are incomplete, and the server may not download: remove them and run this again",
    "weights_unreachable": "The weights' registry could not be reached: check DNS, firewall and proxy, then run this again",
    "serve_arguments_invalid": "The server does not know one of its arguments: correct the extra arguments, or use another image",
    "container_import_error": "A Python package is missing in the image: choose another image",
}
_DEFAULT_REMEDY = "Check the last lines of its log, fix what they name, then run this again"


def explain(name: str, found: dict[str, Any], log: str, what: str, downloads: bool = True) -> Failure:
    """Return the failure for a container that ended, or that ends again and again.

    Args:
        name: The container.
        found: What inspect says of it.
        log: Its last lines.
        what: What was seen, as a sentence's middle: C(ended with exit code 1).
        downloads: Whether it fetches weights.

    """
    state = object_of(found.get("State"))
    told = "\n".join([log, str(state.get("Error") or ""), "OOMKilled" if state.get("OOMKilled") else ""])
    code = diagnose(told, downloads)
    remedy = _REMEDIES[code] if code else _DEFAULT_REMEDY
    lines = tail(log)
    last = f" It logged: {_telling(lines)}".rstrip(".") + "." if lines else " It logged nothing."
    details = {
        "container": name,
        # Of one that runs again it is no code, though the engine says 0.
        "exit_code": None if state.get("Running") and not state.get("Restarting") else state.get("ExitCode"),
        "last_state": str(state.get("Status")),
        "last_logs": lines,
    }
    message = f"The container {name} {what}. {remedy}.{last}"
    if code:
        return Failure(code, message, **details)
    return Failure("container_exited", message, **details)


def _telling(lines: list[str]) -> str:
    """Return the last line that names an error, else the last one: tools end with hints and closing words."""
    return next((line for line in reversed(lines) if re.search(r"error|denied|fail", line, re.IGNORECASE)), lines[-1])


def diagnose(log: str, downloads: bool = True) -> str | None:
    """Return the code that a log speaks for, None where no sign of it is known. C(downloads): whether it fetches weights."""
    text = "\n".join(line for line in log.splitlines() if not _NO_REASON.search(line))
    codes = (code for sign, code in FAILURE_CODES.items() if re.search(sign, text, re.MULTILINE))
    return next((code for code in codes if downloads or code not in _OF_DOWNLOADS), None)


def tail(log: str, lines: int = SHOWN_LINES) -> list[str]:
    """Return the last lines that say something, without times and colours, fit for a terminal; a redrawn line counts once."""
    # A redrawn line is one to the engine; splitlines() would take it apart.
    last_drawn = (line.rstrip("\r").rpartition("\r")[2] for line in log.split("\n"))
    shown = (_ANSI.sub("", _STAMP.sub("", line)) for line in last_drawn)
    kept = [_printable(line.rstrip())[:_LINE_LIMIT] for line in shown if line.strip()]
    return kept[-lines:]


def masked(lines: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """Return the lines without the secrets that a server may have printed."""
    result = list(lines)
    for secret in secrets:
        if secret:
            result = [line.replace(secret, MASK) for line in result]
    return result


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line.replace("\t", "    "))


# upstream-facts N26 gives the same question 5 s; a server that is loading does not answer, one that is ready does at once.
HTTP_LIMIT_S = 5.0
# upstream-facts N29, NemoClaw's later releases: three restarts, and it will not get better by itself.
MAX_RESTARTS = 3
READ_LINES = 200
_PERCENT = re.compile(r"(\d{1,3})%")
_GONE = ("exited", "dead", "removing")
# A line for an answered request, as uvicorn and its like write it, also within JSON. It tells of whoever asks, and that is us: it is
# no sign that the server gets any further.
_ACCESS = re.compile(r'\\?"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS) \S+ HTTP/\d')
# The engine notes that a container has started after it has, so its first lines may be a little older than its start.
_START_SLACK = datetime.timedelta(seconds=1)


@dataclass(frozen=True)
class Server:
    """How to tell how far a server is.

    Attributes:
        name: Its container.
        port: Port on 127.0.0.1.
        phases: C((phase, pattern)) in the order in which a server goes through them; the last line that matches one decides.
        paths: All must answer 200 with JSON; the first lists the models. C(/v1/models) alone for vLLM.
        model: The id that has to be among the models; empty takes any.
        stall_s: Seconds without a sign of life, see look(), after which it is given up.
        grew: When something else last showed that it works, seconds since 1970: a download that logs nothing makes files grow.

    """

    name: str
    port: int
    phases: Sequence[tuple[str, str]]
    paths: Sequence[str] = ("/v1/models",)
    model: str = ""
    stall_s: float = 900
    grew: Callable[[], float] | None = None

    @property
    def downloads(self) -> bool:
        """Whether it fetches its weights itself."""
        return self.grew is not None


@dataclass
class Memory:
    """What the looks before this one saw.

    Attributes:
        restarts: How often the engine had restarted the container at the first look.
        started: When the container started, for the last time.
        sign: The last sign of life since then.
        phase: The last phase since then.

    """

    restarts: int | None = None
    started: datetime.datetime | None = None
    sign: datetime.datetime | None = None
    phase: str = "start"


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


def look(engine: Engine, server: Server, memory: Memory | None = None) -> Look:
    """Look once.

    A line of the log is a sign of life, unless it only tells of a request. Once the server says that it serves, only another phase is: it
    has done what it had to by then.

    Raises:
        Failure: C(container_gone), C(container_exited), C(container_stalled), C(server_wants_key), C(model_mismatch), or a code of the
            diagnosis. All with C(last_logs), C(last_state) and C(elapsed).

    """
    memory = memory or Memory()
    found = engine.container(server.name)
    if found is None:
        raise Failure(
            "container_gone",
            f"The container {server.name} was removed by another process while it was starting. Run this again to recreate it.",
            container=server.name,
        )
    log = engine.logs(server.name, READ_LINES)
    state = object_of(found.get("State"))
    started = parse_time(str(state.get("StartedAt")))
    now = engine.now()
    elapsed = (now - started).total_seconds() if started else 0.0
    current = _since(log, started)
    if memory.started != started:
        memory.started, memory.sign, memory.phase = started, started, "start"
    _require_alive(server, found, log, current, memory)
    models, answered = None, False
    if state.get("Running") and not state.get("Restarting"):
        models, answered = _models(server, log)
    if models is not None:
        _require_model(server, models, log)
        return Look(True, "ready", 100.0, elapsed, models, "", found)
    phase, percent = read_phase(current, server.phases)
    # What has left the end of the log is over, but no later phase has begun.
    memory.phase = phase = phase if phase != "start" else memory.phase
    is_last = bool(server.phases) and phase == server.phases[-1][0]
    sign = last_sign(current, server.phases if is_last else ())
    if sign is None and memory.sign == started:
        sign = _oldest(current)
    memory.sign = max((time for time in (memory.sign, sign) if time), default=None)
    silent = (now - (memory.sign or now)).total_seconds()
    if silent > server.stall_s and server.grew:
        silent = min(silent, time.time() - server.grew())
    if silent > server.stall_s:
        did = "answers, but is not ready" if answered else f"does not answer on port {server.port}"
        raise Failure(
            "container_stalled",
            f"The container {server.name} runs but {did}, with no sign of progress for {silent:.0f} s. Check its log (docker logs "
            f"{server.name}); if loading takes that long without output, raise vllm_wait_timeout or nim_wait_timeout (option "
            f"wait_timeout).",
            container=server.name,
            last_state=str(state.get("Status")),
            last_logs=tail(log),
            elapsed=round(elapsed, 1),
        )
    return Look(False, phase, percent, elapsed, [], (tail(current, 1) or [""])[0], found)


def read_phase(log: str, phases: Sequence[tuple[str, str]]) -> tuple[str, float | None]:
    """Return the phase that the last telling line stands for, and the percentage in that line."""
    for line in reversed(log.splitlines()):
        for phase, pattern in reversed(phases):
            if re.search(pattern, line):
                percents = _PERCENT.findall(line)
                return phase, min(float(percents[-1]), 100.0) if percents else None
    return "start", None


def last_sign(log: str, phases: Sequence[tuple[str, str]] = ()) -> datetime.datetime | None:
    """Return when the last line was written that is a sign of life: of one of the phases, where they are given."""
    lines = [line for line in log.splitlines() if not _ACCESS.search(line)]
    if phases:
        lines = [line for line in lines if any(re.search(pattern, line) for _phase, pattern in phases)]
    return _oldest("\n".join(reversed(lines)))


def _oldest(log: str) -> datetime.datetime | None:
    """Return the time of the first line that has one. Where the end of a log is full of requests, the last sign is older than that."""
    times = (parse_time(line.partition(" ")[0]) for line in log.splitlines())
    return next((time for time in times if time), None)


def _since(log: str, started: datetime.datetime | None) -> str:
    """Return the lines of this start: those of earlier ones would show phases that are over."""
    if started is None:
        return log
    earliest = started - _START_SLACK
    lines = [(parse_time(line.partition(" ")[0]), line) for line in log.splitlines()]
    return "\n".join(line for time, line in lines if time is None or time >= earliest)


def _require_alive(server: Server, found: dict[str, Any], log: str, current: str, memory: Memory) -> None:
    state = object_of(found.get("State"))
    status, restarts = str(state.get("Status")), int(found.get("RestartCount") or 0)
    # Somebody who starts it by hand sets the count back.
    memory.restarts = restarts if memory.restarts is None else min(memory.restarts, restarts)
    seen = restarts - memory.restarts
    ended = f"exited with code {state.get('ExitCode')}"
    if status in _GONE:
        again = f", and again after each of {restarts} restarts" if restarts else ""
        raise explain(server.name, found, current, f"{ended}{again}", server.downloads)
    # What will not go away by itself is not tried three times: each try of a large model takes minutes.
    if status == "restarting" and (restarts >= MAX_RESTARTS or diagnose(current, server.downloads)):
        raise explain(server.name, found, current, f"{ended} and was restarted {restarts} times", server.downloads)
    # Where it runs for ten seconds before it ends, the engine starts it again within 100 ms: few looks see it in between.
    if seen >= MAX_RESTARTS:
        raise explain(server.name, found, log, f"ended and was restarted {seen} times", server.downloads)
    if status == "paused":
        raise explain(server.name, found, current, "is paused: continue it (docker unpause) or remove it", False)


def _models(server: Server, log: str) -> tuple[list[dict[str, Any]] | None, bool]:
    """Return the models list where every path answers, else None; and whether it answers at all."""
    listed: list[dict[str, Any]] = []
    for position, path in enumerate(server.paths):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HTTP_LIMIT_S)
        try:
            answer = get_json(connection, path, HTTP_LIMIT_S)
        except NotAnswering as error:
            if error.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
                raise _wants_key(server, error, log) from error
            return None, True
        except OSError:
            return None, position > 0
        if position == 0:
            listed = [entry for entry in map(object_of, list_of(answer.get("data"))) if entry.get("id")]
    return listed or None, True


def _wants_key(server: Server, error: NotAnswering, log: str) -> Failure:
    return Failure(
        "server_wants_key",
        f"The server in {server.name} is up but requires its own key: {error}. No check sends one, so it would never count as ready. "
        f"Remove the key from its arguments and environment, and put the auth proxy before it (vllm_gate_port, nim_gate_port).",
        container=server.name,
        status=error.status,
        last_logs=tail(log),
    )


def _require_model(server: Server, models: list[dict[str, Any]], log: str) -> None:
    ids = [str(entry["id"]) for entry in models]
    if not server.model or server.model in ids:
        return
    raise Failure(
        "model_mismatch",
        f"The server in {server.name} is up but serves {', '.join(ids)}, not {server.model}. Set the name that it serves (model, or "
        "--served-model-name in the extra arguments), or use an image that serves the model.",
        container=server.name,
        served_models=ids,
        last_logs=tail(log),
    )
