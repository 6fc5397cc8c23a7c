# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Have an image: pull it with progress, notice when there is none, and say what a refusal of the registry means."""

from __future__ import annotations

from typing import Any

from ..failure import Failure, format_bytes, quote
from ..jobs.progress import Position, Report, silent
from ..registry.image import REMEDIES, meaning
from ..untrusted import object_of, size_of
from .engine import Engine

# Seconds without a byte from the engine. It repeats its lines every 100 ms while data comes, and is silent while it writes a
# layer of several GB to a slow disk.
STALL_S = 300


class PullProgress:
    """Where a pull stands, from the engine's lines."""

    def __init__(self, reference: str) -> None:
        self._message = f"Pulling {reference}"
        self._layers: dict[str, tuple[int, int]] = {}  # id -> bytes here, all bytes

    def take(self, line: dict[str, Any]) -> None:
        """Read a line of the engine."""
        status, layer = str(line.get("status") or ""), str(line.get("id") or "")
        detail = object_of(line.get("progressDetail"))
        total = size_of(detail.get("total"))
        if status == "Downloading" and total:
            self._layers[layer] = (size_of(detail.get("current")), total)
        elif status in ("Download complete", "Extracting", "Pull complete") and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1], self._layers[layer][1])

    @property
    def position(self) -> Position:
        """How many bytes are here, of the layers that the engine has named so far."""
        done, total = (sum(layer[index] for layer in self._layers.values()) for index in (0, 1))
        return Position("pull", done if total else None, total or None, message=self._message)

    def as_result(self) -> dict[str, Any]:
        """Return C({phase, percent, completed, total}) for a failure."""
        phase, completed, total = self.position[:3]
        percent = round(100 * completed / total, 1) if completed is not None and total else None
        return {"phase": phase, "percent": percent, "completed": completed, "total": total}


def pull(
    engine: Engine,
    reference: str,
    report: Report = silent,
    stall_s: float = STALL_S,
    auth: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Pull an image and return what inspect says of it.

    Args:
        engine: Who pulls.
        reference: The image.
        report: Gets the position with every line of the engine.
        stall_s: Seconds without a byte after which it is given up; the layers that came are kept.
        auth: What the SDK takes as C(auth_config); without it nobody logs in.

    Raises:
        Failure: C(pull_stalled), C(pull_failed), one of FAILURE_CODES, or one of the engine's; all with C(progress).

    """
    progress = PullProgress(reference)
    try:
        for line in engine.follower(stall_s).pull(reference, auth):
            if line.get("error"):
                raise _refusal(reference, str(line["error"]))
            progress.take(line)
            report(progress.position)
    except Failure as failure:
        if failure.code == "docker_timeout":
            failure = _stalled(reference, stall_s, progress.as_result())
        elif failure.code == "docker_refused":
            failure = _refusal(reference, str(failure.details["server_message"]))
        raise Failure(failure.code, failure.message, **{**failure.details, "progress": progress.as_result()}) from None
    found = engine.image(reference)
    if found is None:
        raise Failure(
            "pull_failed",
            f"Docker says that it has pulled {reference} and does not list it. Look at its log (journalctl -u docker).",
        )
    return found


def _refusal(reference: str, error: str) -> Failure:
    said, code = quote(error, "", 300), meaning(error)
    if code:
        return Failure(code, f"Docker could not pull {reference}: {said}. {REMEDIES[code]}.", server_message=said)
    return Failure(
        "pull_failed",
        f"Docker could not pull {reference}: {said}. Look at its log (journalctl -u docker), then run this again.",
        server_message=said,
    )


def _stalled(reference: str, stall_s: float, seen: dict[str, Any]) -> Failure:
    return Failure(
        "pull_stalled",
        f"Pulling {reference} made no progress for {stall_s:g} s, at {format_bytes(seen['completed'] or 0)} of "
        f"{format_bytes(seen['total'] or 0)} ({seen['percent'] or 0:g} %). Check the engine's connection "
        "to the registry, then run this again: the layers that came are kept.",
    )
