# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""GET a JSON answer from a service of this host, over TCP or a Unix socket, never through a proxy."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

# The largest answer that we ask for is an engine's /info, about 5 kB.
MAX_ANSWER_BYTES = 1_048_576


class NotAnswering(Exception):
    """The service is there and gave no usable answer; the text says what it gave, C(status) with which HTTP status, if with one."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what)
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket; raises OSError as a TCP connection would."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get_json(connection: http.client.HTTPConnection, path: str, limit_s: float) -> dict[str, Any]:
    """Return the JSON object that a GET answers with status 200, and close the connection.

    C(http.client) knows no proxies, so HTTP_PROXY cannot catch what is meant for this host (upstream 2616).

    Args:
        connection: Not yet connected; its own timeout bounds every single read.
        path: Path of the URL.
        limit_s: Seconds for the whole answer.

    Raises:
        OSError: The socket could not be opened, was closed or timed out.
        NotAnswering: Anything but a JSON object with status 200 of at most MAX_ANSWER_BYTES in time.

    """
    deadline = time.monotonic() + limit_s
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = bytearray()
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise NotAnswering(f"it sent more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise NotAnswering(f"it was still sending after {limit_s:g} s")
        if response.status != http.client.OK:
            raise NotAnswering(f"it answered GET {path} with HTTP status {response.status}", response.status)
        document = json.loads(body)
    except http.client.HTTPException as error:
        raise NotAnswering(f"it does not speak HTTP ({type(error).__name__})") from error
    except ValueError as error:
        raise NotAnswering(f"its answer to GET {path} is not JSON") from error
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise NotAnswering(f"its answer to GET {path} is not a JSON object")
    return document
