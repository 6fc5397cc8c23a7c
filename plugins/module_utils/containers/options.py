# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the options of a managed container may be, before anybody is asked."""

from __future__ import annotations

import re

from ..failure import Failure
from ..host.facts import check_ports

# Beyond it no clock of the engine's or of Python's counts, and nobody waits.
_LONGEST_S = 366 * 24 * 3600
# As the engine takes names.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,100}")


def check_options(name: str, instead_of: str, port: int, wait_timeout: float, stall_timeout: float) -> None:
    """Refuse what can be no container's name, no port and no limit; C(instead_of) may be empty.

    Raises:
        Failure: C(container_name_invalid), C(port_invalid), C(timeout_invalid).

    """
    for one in (name, *filter(None, [instead_of])):
        check_name(one)
    check_ports([port])
    if not all(0 < limit <= _LONGEST_S for limit in (wait_timeout, stall_timeout)):
        raise Failure(
            "timeout_invalid",
            f"wait_timeout is {wait_timeout} and stall_timeout {stall_timeout}: give both a number of seconds above 0, and of at most a "
            "year.",
        )


def check_name(name: str) -> None:
    """Refuse what cannot be a container's name.

    Raises:
        Failure: C(container_name_invalid).

    """
    if not _NAME.fullmatch(name):
        raise Failure(
            "container_name_invalid",
            f"Read the container name {name!r}: a name has letters, digits, dots, dashes and underscores, and begins with a "
            "letter or digit. Correct it.",
        )
