# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Who may be sent a key on loopback: any user of a host can listen on a port that its server has left.

Trusted is who could take the key anyway, or is no person: root, the account whose set-up this is, and the accounts of services.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ..failure import Failure
from ..transport.url import BaseUrl
from .accounts import Account
from .machine import Machine
from .sockets import find_listeners

# useradd(8), SYS_UID_MAX: below it no person logs in. login.defs may lower it.
_SYS_UID_MAX = 999
_SETTING = re.compile(r"^\s*SYS_UID_MAX\s+(\d+)", re.MULTILINE)


def find_strangers(
    listeners: Collection[dict[str, Any]], uid: int, trusted_users: Collection[str], sys_uid_max: int = _SYS_UID_MAX
) -> list[dict[str, Any]]:
    """Return the listeners (of C(find_listeners)) that a client of loopback may reach and that may not be sent a key."""
    return [
        one
        for one in listeners
        if one["scope"] != "address"
        and one["uid"] != uid
        and one["uid"] > sys_uid_max
        and one["user"] not in trusted_users
    ]


def require_trusted_listener(
    machine: Machine, url: BaseUrl, account: Account, trusted_users: Collection[str] = ()
) -> None:
    """Refuse to send a key to a port of loopback that another user of the host holds.

    A port without a listener passes: nobody answers there, or the kernel forwards it, which only root can set up.

    Raises:
        Failure: C(listener_untrusted), naming who listens.

    """
    if not url.is_loopback:
        return
    setting = _SETTING.search(machine.read("/etc/login.defs") or "")
    limit = min(int(setting[1]), _SYS_UID_MAX) if setting else _SYS_UID_MAX
    strangers = find_strangers(find_listeners(machine, [url.port]), account.uid, trusted_users, limit)
    if not strangers:
        return
    one = strangers[0]
    user = one["user"] or one["uid"]
    raise Failure(
        "listener_untrusted",
        f"The key for {url} was not sent: {one['process'] or 'a process'} of the user {user} listens on {one['address']} port "
        f"{one['port']}, and that is neither root, nor {account.name}, nor the account of a service. Where it is the server that is "
        f"meant, name its user in trusted_users (endpoint_trusted_users or vllm_trusted_users in the inventory); else stop it.",
        **{key: one[key] for key in ("port", "address", "user", "pid", "process")},
    )
