# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be sent a key on loopback."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.sockets import (
    find_server_uid,
    find_strangers,
    require_trusted_listener,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import parse_base_url

LAB = 1000


@pytest.mark.parametrize(
    ("uid", "user", "scope", "stranger"),
    [
        (0, "root", "any", False),
        (LAB, "lab", "loopback", False),
        (998, "vllm", "loopback", False),
        (1001, "mallory", "loopback", True),
        (1001, "mallory", "any", True),
        (1001, "mallory", "address", False),
        (1002, "trusted", "any", False),
        (165_536, None, "any", True),
        (65_534, "nobody", "loopback", True),
    ],
)
def test_who_is_a_stranger(uid: int, user: str | None, scope: str, stranger: bool) -> None:
    listener = {"uid": uid, "user": user, "scope": scope}
    assert bool(find_strangers([listener], LAB, ["trusted"])) == stranger


def test_a_stranger_beside_the_server_is_one_too() -> None:
    own = {"uid": LAB, "user": "lab", "scope": "loopback"}
    other = {"uid": 1001, "user": "mallory", "scope": "loopback"}
    assert find_strangers([own, other], LAB, []) == [other]


def test_where_nobody_or_the_own_user_listens_a_key_may_be_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = parse_base_url(f"http://localhost:{listener.getsockname()[1]}/v1", "openai-completions")
        require_trusted_listener(Machine(), url, find_account())
    require_trusted_listener(Machine(), url, find_account())


def test_who_took_a_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as connection,
    ):
        assert find_server_uid(Machine(), connection, 0.1) is None, "nobody has taken it"
        with listener.accept()[0]:
            assert find_server_uid(Machine(), connection, 0.1) == os.geteuid()


def has_ipv6_loopback() -> bool:
    """Tell whether this host has ::1, which containers without a network lack."""
    with socket.socket(socket.AF_INET6) as one:
        return one.connect_ex(("::1", 9)) == errno.ECONNREFUSED


def test_who_took_a_connection_to_both_families() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", *(["::1"] if has_ipv6_loopback() else [])):
            with socket.create_connection((address, port)) as connection, listener.accept()[0] as _taken:
                assert find_server_uid(Machine(), connection, 0.1) == os.geteuid()
