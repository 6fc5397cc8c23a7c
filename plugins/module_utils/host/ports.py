# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Numbers that users give as ports."""

from __future__ import annotations

from collections.abc import Iterable

from ..failure import Failure


def check_ports(ports: Iterable[int]) -> None:
    """Refuse what cannot be a TCP port.

    Raises:
        Failure: C(port_invalid), naming the value.

    """
    for port in ports:
        if not 1 <= port <= 65_535:
            raise Failure(
                "port_invalid",
                f"Asked to look at the port {port}, but TCP ports are numbered 1 to 65535. Correct the option.",
                port=port,
            )
