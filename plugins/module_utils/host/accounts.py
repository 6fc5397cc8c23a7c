# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Who owns the inference set-up of a host: a name and its home, from the passwd database."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from typing import NamedTuple

from ..failure import Failure


class Account(NamedTuple):
    """A user of this host, with every group that the group database gives it (the primary one included)."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...]


def find_account(name: str | None = None) -> Account:
    """Return the account of C(name), or of the user this process runs as.

    The home comes from the passwd database and never from C($HOME), which sudo and become may leave pointing elsewhere.

    Raises:
        Failure: C(user_unknown), when the passwd database (NSS included) does not know the user.

    """
    wanted = name if name is not None else f"uid {os.geteuid()}"
    try:
        entry = pwd.getpwnam(name) if name is not None else pwd.getpwuid(os.geteuid())
        groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except (KeyError, ValueError, OSError):
        raise Failure(
            "user_unknown",
            f"Looked up the user {wanted!r} in the passwd database of this host and found none. "
            "Create the user, or name an existing one with the option 'user'.",
            user=wanted,
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Touch files as C(account) does, until the block ends; without root, as the user that this process runs as.

    What a user owns, that user can replace by a link: root that writes there would follow it to anywhere. The rights of
    the whole process change, so nothing else may run beside the block.
    """
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def user_name(uid: int) -> str | None:
    """Return the name of C(uid), or None when the passwd database has none (a container's user, for example)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return None
