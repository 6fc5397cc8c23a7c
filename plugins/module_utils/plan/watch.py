# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The watch, compared by the functions that its module decides with: the program, settings, units, the link for the node exporter."""

from __future__ import annotations

from ..failure import Failure
from ..proxy.token import token_path
from ..route.record import record_path
from ..watch.install import Host, compare, refuse
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
    settings, account = at.settings, at.account
    return WatchSettings(
        account.name,
        account.home,
        at.watch["host"],
        settings["preflight_route_path"] or record_path(account.home),
        settings["proxy_token_path"] or token_path(account.home),
        settings["watch_interval"],
        settings["watch_timeout"],
        settings["watch_proof"],
        settings["watch_proof_interval"],
        settings["watch_close_proxy"],
        textfile_folder(at.machine, settings["watch_textfile"]),
        settings["endpoint_ca_path"],
        settings["endpoint_validate_certs"],
    )
