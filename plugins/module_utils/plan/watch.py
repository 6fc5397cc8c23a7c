# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The watch, compared by the functions that its module decides with: the program, settings, units, the link for the node exporter."""

from __future__ import annotations

from typing import Any

from ..failure import Failure
from ..host.machine import find_account
from ..proxy.token import token_path
from ..route.record import record_path
from ..watch.compare import Host, compare, refuse
from ..watch.layout import WatchSettings, textfile_folder
from .steps import Context, step


def compare_watch(at: Context) -> None:
    """Add the steps for the watch."""
    host = Host.of(at.machine)
    try:
        refuse(host)
        at.steps += [
            step("watch", one.action, one.reason, after=one.what)
            for one in compare(host, watch_settings(at), at.watch["checksum"])
        ]
    except Failure as failure:
        at.refusals.append(failure)


def watch_settings(at: Context) -> WatchSettings:
    """Return the settings of the watch, as the role gives them to its module."""
    settings = at.settings
    account = find_account(settings["watch_user"]) if settings["watch_user"] else at.account

    def own_or(name: str, other: str) -> Any:
        return settings[name if settings.is_given(name) else other]

    return WatchSettings(
        account.name,
        account.home,
        at.watch["host"],
        settings["watch_route_path"] or record_path(account.home),
        own_or("watch_token_path", "proxy_token_path") or token_path(account.home),
        settings["watch_interval"],
        settings["watch_timeout"],
        settings["watch_proof"],
        settings["watch_proof_interval"],
        settings["watch_close_proxy"],
        textfile_folder(at.machine, settings["watch_textfile"]),
        own_or("watch_ca_path", "endpoint_ca_path"),
        own_or("watch_validate_certs", "endpoint_validate_certs"),
    )
