# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The address of an Ollama, as people write it."""

from __future__ import annotations

import re

from ..failure import Failure
from .daemon import Address

DEFAULT_PORT = 11434
_HOST = re.compile(r"(?:http://)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?/?")


def parse_address(text: str) -> Address:
    """Return the address of C(HOST), C(HOST:PORT), C([IPV6]:PORT), with or without C(http://) before it.

    Raises:
        Failure: C(ollama_host_invalid).

    """
    found = _HOST.fullmatch(text.strip())
    port = int((found and found["port"]) or DEFAULT_PORT)
    if not found or not 1 <= port <= 65_535:
        raise Failure(
            "ollama_host_invalid",
            f"The address {text!r} of the Ollama daemon cannot be read. Write it like 127.0.0.1:11434: a host name or an IP "
            "address, and a port from 1 to 65535. Ollama's own API is plain HTTP without a path.",
        )
    return Address(found["six"] or found["name"], port)
