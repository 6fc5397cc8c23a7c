# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Have an image: pull it with progress, notice when there is none, and say what a refusal of the registry means."""

from __future__ import annotations

from typing import Any

from ..failure import Failure
from ..jobs.progress import Position, Report, silent
from ..sizes import format_bytes
from ..transport.credentials import quote
from ..untrusted import object_of, size_of
from .engine import Engine

# Seconds without a byte from the engine. It repeats its lines every 100 ms while data comes, and is silent while it writes a
# layer of several GB to a slow disk.
STALL_S = 300

# What stands in the error, in lower case -> code. The first match counts. Seen with dockerd 20.10 before docker-registry, or in
# moby's distribution/errors.go.
FAILURE_CODES = {
    "no space left on device": "disk_full",
    "toomanyrequests": "registry_rate_limited",
    "429 too many requests": "registry_rate_limited",
    "no matching manifest": "image_architecture",
    "does not match the specified platform": "image_architecture",
    "manifest unknown": "image_not_found",
    "not found": "image_not_found",
    "unauthorized": "registry_unauthorized",
    "no basic auth credentials": "registry_unauthorized",
    "authentication required": "registry_unauthorized",
    "access denied": "registry_unauthorized",
    "denied": "registry_unauthorized",
    "403 forbidden": "registry_unauthorized",
    "invalid reference format": "image_name_invalid",
    "server gave http response to https": "registry_insecure",
    "x509": "registry_tls_failed",
    "tls:": "registry_tls_failed",
    "filesystem layer verification failed": "pull_damaged",
    "unexpected eof": "pull_interrupted",
    "connection reset": "pull_interrupted",
    "no such host": "registry_unreachable",
    "dial tcp": "registry_unreachable",
    "connection refused": "registry_unreachable",
    "i/o timeout": "registry_unreachable",
    "deadline exceeded": "registry_unreachable",
    "request canceled": "registry_unreachable",
    "handshake timeout": "registry_unreachable",
    "timed out": "registry_unreachable",
}
REMEDIES = {
    "disk_full": "Free space where Docker keeps its data (docker info names its root directory), or move it",
    "registry_rate_limited": "The registry limits how much is pulled: log in, or wait, then run it again",
    "image_architecture": "The image has no build for this machine's processor: choose one that has",
    "image_not_found": "Check the name, the tag or the digest of the image",
    "registry_unauthorized": "Log in to the registry as the user who runs this (docker login); the account has to be allowed to pull it",
    "image_name_invalid": "Write it as REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST",
    "registry_insecure": "The registry speaks plain HTTP: put it among Docker's insecure-registries if it is yours",
    "registry_tls_failed": "Have Docker trust the registry's certificate, also where a network inspects TLS",
    "pull_damaged": "What came is not what the registry announced: run it again, and look for a proxy that changes downloads",
    "pull_interrupted": "The layers that came are kept: run it again to go on from there",
    "registry_unreachable": "Check the engine's connection to the registry: DNS, firewall, and the proxy of its service",
}
# Docker does not say which: a name that is not there and one that we may not see look the same from outside.
_MAY_BE_PRIVATE = "repository does not exist or may require"


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


def meaning(words: str) -> str | None:
    """Return the code for what an engine said of a registry, None for words that nobody knows."""
    lower = words.lower()
    if _MAY_BE_PRIVATE in lower:
        return "registry_unauthorized"
    return next((code for sign, code in FAILURE_CODES.items() if sign in lower), None)


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
