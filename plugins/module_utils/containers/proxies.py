# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The web proxies of a host, for a container that downloads by itself: the engine's own serve its pulls alone."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_EXCEPTIONS = ("NO_PROXY", "no_proxy")
# The parts of a server in one container talk to each other.
_ITSELF = ("localhost", "127.0.0.1")


def web_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a host's web proxies, with the container itself among the exceptions; empty without a proxy.

    They may hold a password, so they belong among a container's secrets.
    """
    found = {variable: environ[variable] for variable in _PROXIES if environ.get(variable)}
    if not found:
        return {}
    for variable in _EXCEPTIONS:
        hosts = [host.strip() for host in environ.get(variable, "").split(",") if host.strip()]
        found[variable] = ",".join([*hosts, *(host for host in _ITSELF if host not in hosts)])
    return found


def proxy_secrets(proxies: Mapping[str, str]) -> list[str]:
    """Return what must be shown of no proxy: the passwords, and the addresses that have one in them."""
    found = []
    for value in proxies.values():
        if "@" in value:
            password = value.rpartition("@")[0].rpartition(":")[2]
            found += [value, password, urllib.parse.unquote(password)]
    return list(dict.fromkeys(one for one in found if one))
