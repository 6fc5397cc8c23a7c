# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The download of a model by Ollama: how far it is, where it stalls, and what its errors mean."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from ..failure import Failure, format_bytes, quote
from ..jobs.progress import Position, Report, silent
from ..untrusted import object_of, parse_json, size_of
from .catalogue import Size, not_in_registry, unauthorized
from .daemon import Daemon
from .names import ModelName

_LINE_LIMIT = 65_536
# While the daemon checks the digest it says nothing. A slow disk reads this many bytes a second.
_VERIFY_RATE = 50_000_000
# What a daemon says (seen with 0.9.3) while it still ends an earlier download of the same that was interrupted: it takes the new one
# down with it. A moment later the same pull goes on from where that one was.
_IS_ENDING = "context canceled"
_TRIES, _PAUSE_S = 5, 1.0

# The daemon's status lines (Ollama server/images.go, PullModel) -> what we call the phase.
_PHASES = {
    "pulling manifest": "manifest",
    "verifying": "verify",
    "writing": "write",
    "removing": "write",
    "success": "done",
}
_VERBS = {"verify": "Checking", "write": "Writing"}

# What stands in the daemon's error, in lower case -> code. The first match counts; seen with 0.9.3, or in Ollama's source.
FAILURE_CODES = {
    "no space left on device": "disk_full",
    "disk quota exceeded": "disk_full",
    "server gave http response to https": "registry_insecure",
    "no location header": "registry_without_redirect",
    "x509": "registry_tls_failed",
    "tls:": "registry_tls_failed",
    "digest mismatch": "pull_damaged",
    "requires a newer version": "ollama_too_old",
    "max retries exceeded": "pull_interrupted",
    "eof": "pull_interrupted",
    "connection reset": "pull_interrupted",
    "no such host": "registry_unreachable",
    "dial tcp": "registry_unreachable",
    "i/o timeout": "registry_unreachable",
    "deadline exceeded": "registry_unreachable",
}
_REMEDIES = {
    "disk_full": "Free space where the daemon stores its models, or move them with OLLAMA_MODELS in its service",
    "registry_insecure": "The registry speaks plain HTTP: set ollama_insecure_registry (option insecure_registry) if it is yours and the "
    "network in between is safe",
    "registry_without_redirect": "Ollama takes the files of a model only from a registry that redirects each of them to another host name, "
    "as its own does: configure yours to do that, as the user guide shows under 'Air gap' (docker-registry's middleware redirect, with "
    "nginx)",
    "registry_tls_failed": "Make the daemon's host trust the registry's certificate (also that of a network that inspects TLS)",
    "pull_damaged": "The download differs from what the registry announced: run it again, and look for a proxy that changes downloads",
    "ollama_too_old": "Upgrade Ollama",
    "pull_interrupted": "The downloaded part is kept: run it again to resume",
    "registry_unreachable": "Check the daemon's connection to the registry: DNS, firewall, and HTTPS_PROXY in its service",
}


class Layer(NamedTuple):
    """Bytes of one file: what was there when this run came to it, what is there now, and all of it."""

    first: int
    completed: int
    total: int


class Progress:
    """Where a pull stands, from the daemon's lines."""

    def __init__(self, expected: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.phase = "manifest"
        self._expected = expected or 0
        self._layers: dict[str, Layer] = {}  # by digest
        self._clock = clock
        self._started: float | None = None
        self.moved = clock()  # when something last happened

    def take(self, line: dict[str, Any]) -> None:
        """Read a line. The daemon repeats lines while nothing happens, so only news count as a move."""
        status, digest = str(line.get("status") or ""), line.get("digest")
        phase = next((name for start, name in _PHASES.items() if status.startswith(start)), "download")
        completed, total = size_of(line.get("completed")), size_of(line.get("total"))
        if isinstance(digest, str):
            known = self._layers.get(digest)
            self._layers[digest] = Layer(known.first if known else completed, completed, total)
            self._started = self._started or self._clock()
            if known is None or completed > known.completed:
                self.moved = self._clock()
        if phase != self.phase:
            self.phase, self.moved = phase, self._clock()

    @property
    def completed(self) -> int:
        """Bytes that are on the host, those of an earlier try included."""
        return sum(layer.completed for layer in self._layers.values())

    @property
    def total(self) -> int:
        """Bytes in all; the daemon names a layer only when it comes to it, so the manifest's sum is the better one."""
        return max(self._expected, sum(layer.total for layer in self._layers.values()))

    def patience(self, stall: float) -> float:
        """Return the seconds without news that are right for this phase."""
        return stall + (self.total / _VERIFY_RATE if self.phase in ("verify", "write") else 0)

    def position(self, name: ModelName) -> Position:
        """Return where it stands as a report."""
        known = self.phase != "manifest" and bool(self.total)
        return Position(
            self.phase,
            self.completed if known else None,
            self.total if known else None,
            message=f"{_VERBS.get(self.phase, 'Pulling')} {name}",
        )

    def as_result(self) -> dict[str, Any]:
        """Return C({phase, percent, completed, total, rate}), rate in bytes a second over this run."""
        transferred = sum(layer.completed - layer.first for layer in self._layers.values())
        elapsed = self._clock() - self._started if self._started is not None else 0
        return {
            "phase": self.phase,
            "percent": round(100 * self.completed / self.total, 1) if self.total else None,
            "completed": self.completed,
            "total": self.total or None,
            "rate": round(transferred / elapsed) if elapsed > 0 else None,
        }


def pull(
    daemon: Daemon, name: ModelName, insecure: bool, stall: float, size: Size, report: Report = silent
) -> dict[str, Any]:
    """Have the daemon download a model and return the progress at its end.

    There is no limit on the whole, because a large model over a slow line may take a day: only on the time without progress.

    Args:
        daemon: Who downloads.
        name: The model.
        insecure: Plain HTTP to the registry.
        stall: Seconds without progress after which it is given up. What came is kept by the daemon.
        size: What is expected.
        report: Is told whatever the daemon tells.

    Raises:
        Failure: C(pull_stalled), C(pull_failed) or one of FAILURE_CODES; all with C(progress).

    """
    progress = Progress(size.bytes)
    tries = _TRIES
    while True:
        try:
            return _follow(daemon, name, insecure, stall, progress, report)
        except Failure as failure:
            tries -= 1
            if tries and _IS_ENDING in failure.message:
                time.sleep(_PAUSE_S)
                continue
            if failure.code == "ollama_timeout":
                failure = _stalled(name, stall, progress)
            raise Failure(
                failure.code, failure.message, **{**failure.details, "progress": progress.as_result()}
            ) from None


def _follow(
    daemon: Daemon, name: ModelName, insecure: bool, stall: float, progress: Progress, report: Report
) -> dict[str, Any]:
    body = {"model": str(name), "insecure": insecure, "stream": True}
    # A daemon that checks a digest is silent for long; one that waits for data repeats itself 16 times a second.
    for line in _lines(daemon, "/api/pull", body, stall + progress.total / _VERIFY_RATE):
        if line.get("error"):
            raise _pull_refusal(daemon, name, str(line["error"]))
        progress.take(line)
        report(progress.position(name))
        if progress.phase == "done":
            return {**progress.as_result(), "percent": 100.0}
        if time.monotonic() - progress.moved > progress.patience(stall):
            raise _stalled(name, stall, progress)
    raise _pull_refusal(daemon, name, "unexpected EOF")


def _stalled(name: ModelName, stall: float, progress: Progress) -> Failure:
    seen = progress.as_result()
    return Failure(
        "pull_stalled",
        f"Pulling {name} made no progress for {stall:g} s in the phase '{progress.phase}', at "
        f"{format_bytes(progress.completed)} of {format_bytes(progress.total)} ({seen['percent'] or 0:g} %). Check the daemon's connection "
        f"to {name.registry}, then run it again: what came is kept, and the download goes on from there.",
    )


def _pull_refusal(daemon: Daemon, name: ModelName, error: str) -> Failure:
    """Return what an error of the daemon means."""
    said, lower = quote(error, "", 300), error.lower()
    if "file does not exist" in lower or "manifest unknown" in lower:
        return not_in_registry(name)
    # 0.9.3 stumbles over a registry that wants a password: it expects a token service named in the challenge.
    if "unauthorized" in lower or re.search(r"\b401\b", lower) or 'unsupported protocol scheme ""' in lower:
        return unauthorized(name)
    code = next((code for sign, code in FAILURE_CODES.items() if sign in lower), None)
    if code:
        return Failure(code, f"Ollama could not pull {name}: {said}. {_REMEDIES[code]}.", server_message=said)
    return Failure(
        "pull_failed",
        f"Ollama could not pull {name}: {said}. Look at its log ({daemon.log}).",
        server_message=said,
    )


def _lines(daemon: Daemon, path: str, body: Any, silence: float) -> Iterator[dict[str, Any]]:
    """POST, and yield the JSON object of each line as it comes (NDJSON).

    Args:
        daemon: Who is asked.
        path: Path of the URL.
        body: Sent as JSON.
        silence: Seconds without a byte after which we hang up.

    Raises:
        Failure: As C(Daemon.ask); C(ollama_timeout) for silence.

    """
    connection = daemon.connect(silence)
    try:
        response = daemon.send(connection, "POST", path, body)
        while line := response.readline(_LINE_LIMIT):
            yield object_of(parse_json(line))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise daemon.failure(error, f"POST {path}", silence) from error
    finally:
        connection.close()
