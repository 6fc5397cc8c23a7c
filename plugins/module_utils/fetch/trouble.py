# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What it means for the user when a download fails, and what to do."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import urllib.error

from ..failure import Failure
from ..sizes import format_bytes
from .source import Source

_OTHER_WAY = "or fetch the file elsewhere, put it on the host and give its path as url"
_UNTOUCHED = "What was there before is untouched."


def status_failure(source: Source, error: urllib.error.HTTPError) -> Failure:
    """Return what an HTTP status other than 2xx means."""
    asked = f"Asked for {source}: HTTP {error.code} {error.reason}. {_UNTOUCHED}"
    if error.code in (404, 410):
        return Failure(
            "archive_not_found",
            f"{asked} Check the version and the url: not every release has every archive.",
            status=error.code,
        )
    return Failure(
        "download_refused", f"{asked} Check that the server lets this host in, {_OTHER_WAY}.", status=error.code
    )


def full(error: BaseException) -> bool:
    """Tell whether the disk is full, or the user's share of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def transfer_failure(source: Source, error: Exception, stall: float, done: int, total: int | None) -> Failure:
    """Return what stopped a transfer.

    Args:
        source: What was fetched.
        error: What was raised.
        stall: The limit that was set on silence, in seconds.
        done: Bytes that came.
        total: Bytes in all, None when the server did not tell.

    """
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    state = {"completed": done, "total": total}
    so_far = f"after {format_bytes(done)}" + (f" of {format_bytes(total)}" if total else "")
    if full(error):
        return Failure("disk_full", f"Fetched {source}: the disk was full {so_far}. Free space. {_UNTOUCHED}", **state)
    if isinstance(reason, ssl.SSLError):
        return Failure(
            "tls_failed",
            f"Asked for {source}: its certificate or its TLS is not accepted ({reason}). Have the host trust the CA, also where a "
            f"network inspects TLS, {_OTHER_WAY}.",
        )
    if isinstance(error, urllib.error.URLError):
        why = f"no connection within {stall:g} s" if isinstance(reason, socket.timeout) else str(reason)
        return Failure(
            "download_unreachable",
            f"Asked for {source}: {why}. {_UNTOUCHED} Check the address, the host's network and DNS, and HTTPS_PROXY where it needs a "
            f"web proxy, {_OTHER_WAY}.",
        )
    if isinstance(error, socket.timeout):
        return Failure(
            "download_stalled",
            f"Fetched {source}: no byte came for {stall:g} s, {so_far}. {_UNTOUCHED} Run it again, which goes on from there where the "
            f"server can do that, {_OTHER_WAY}.",
            **state,
        )
    if isinstance(error, (http.client.HTTPException, ConnectionError)):
        return Failure(
            "download_interrupted",
            f"Fetched {source}: the connection ended {so_far}. {_UNTOUCHED} Run it again, which goes on from there where the server can "
            f"do that, {_OTHER_WAY}.",
            **state,
        )
    return Failure("download_interrupted", f"Fetched {source}: {error} {so_far}. {_UNTOUCHED} Run it again.", **state)
