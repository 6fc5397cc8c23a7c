# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What the tasks of roles decide by facts, settings and results: no expression in YAML has two conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.parsing.convert_bool import boolean

from .providers import route

# A rule that is put beside these two is kept by them; what other firewalls keep is the administrator's to say.
_FIREWALLS = ("ufw", "firewalld")


def container_decision(
    server: Mapping[str, Any], host: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], check_mode: bool
) -> dict[str, Any]:
    """Return what the tasks of the role container read.

    Args:
        server: C(container_server).
        host: The facts.
        results: What the tasks have brought so far: C(server) of the module that serves, C(done) of the one that brought a container into
            a state, C(proof) of the probes; each empty where it has not run.
        check_mode: Whether nothing is changed.

    """
    recorded = host["route"] or {}
    providers, docker, done = server["providers"], host["docker"], results["done"]
    before = recorded if recorded.get("provider") in providers else {}
    # Those of this kind that the route uses, or that a switch which was broken off had still to stop.
    left = [one for one in (before, *recorded.get("to_free", ())) if one.get("provider") in providers]
    names = list(dict.fromkeys(one["container"] for one in left if one.get("container")))
    has_library = bool(host["python"]["libraries"]["docker"])
    # In check mode a library that is still to be installed leaves nothing to talk to the engine with.
    is_served = bool(server["managed"]) and (has_library or not check_mode)
    served = results["server"] if is_served else {}
    # Whether there is a container to remove, as far as that can be seen.
    may_exist = bool(server["docker_host"]) or docker["code"] != "absent"
    is_known = bool(names) or (has_library and (bool(server["docker_host"]) or docker["reachable"]))
    is_failed = bool(done.get("failed"))
    return {
        "is_gated": int(server["gate_port"]) > 0,
        # Behind the auth proxy the server itself is on loopback alone.
        "publish": ["127.0.0.1"] if int(server["gate_port"]) > 0 else [],
        "names_before": names,
        "is_recorded": bool(before),
        "was_gated": _port(before.get("base_url_sandbox")) != _port(before.get("base_url_host")),
        # Whichever container of ours the recorded route uses makes room for this one, unless it is this one.
        "instead_of": (recorded.get("container") or "") if boolean(server["make_room"]) else "",
        "is_served": is_served,
        "way": "replace" if served.get("provisional") else "use",
        "actions": served.get("actions") or ["look at the engine, once its Python library is installed"],
        # A server that would have to be made or changed cannot be asked in check mode.
        "can_answer": not server["managed"] or served.get("phase") == "ready",
        "model": (results["server"].get("model") if server["managed"] else server["model"]) or "",
        "is_removable": may_exist and is_known,
        "is_out_of_sight": may_exist and not is_known,
        "is_not_removed": may_exist and is_known and is_failed,
        "name_to_remove": names[0] if names else server["name"],
        # An engine that is only stopped would start it again; one that is gone cannot.
        "is_freed": not is_failed or not may_exist,
        "left_in_words": _left_in_words(done, check_mode),
        "route": _container_route(server, results["proof"]) if "base_url" in results["proof"] else {},
    }


def _port(url: str | None) -> int | None:
    return urlsplit(url or "").port


def _left_in_words(done: Mapping[str, Any], check_mode: bool) -> str:
    """Return what became of a container that was to make way."""
    if done.get("failed"):
        return f"was not stopped, and the next run tries it again: {done.get('msg', 'no reason was given')}"
    return (
        f"{'would be' if check_mode else 'is'} stopped, which frees its GPU. It is kept with its image and its weights, so that "
        "a switch back costs no download; the playbook uninstall removes it."
    )


def _container_route(server: Mapping[str, Any], proof: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is recorded in the end, and what the sandboxes use before that."""
    is_gated, is_managed = int(server["gate_port"]) > 0, bool(server["managed"])
    return route(
        {
            "provider": server["provider"],
            "base_url": proof["base_url"],
            "base_url_sandbox": f"http://{server['sandbox_host']}:{server['gate_port']}/v1" if is_gated else "",
            "sandbox_host": server["sandbox_host"],
            "model": proof["model"],
            "timeout": server["timeout"],
            "context_window": proof.get("context_window") or "",
            "container": server["name"] if is_managed else "",
            "origin": "managed" if is_managed else "external",
        }
    )


def installs_as(mode: str, user: str) -> str:
    """Return as whom a program is installed: root for the whole system, else its user; empty for the user of the play."""
    return "root" if mode == "system" else user


def has_auth_proxy(proxy: Mapping[str, Any]) -> bool:
    """Tell whether there is any part of the auth proxy."""
    return bool(proxy["unit"] or proxy["account"])


def rotates_token(proxy: Mapping[str, Any], skip_missing: bool) -> bool:
    """Tell whether a new token is made; a host without an auth proxy is an error, unless it is to be passed over."""
    return bool(proxy["unit"]) or not skip_missing


def installs_openshell(host: Mapping[str, Any], backend: str) -> bool:
    """Tell whether OpenShell is installed by itself: NemoClaw brings its own."""
    return backend == "openshell" or not host["nemoclaw"]["path"]


def is_to_come(result: Mapping[str, Any], check_mode: bool) -> bool:
    """Tell whether what a task would have installed is not there yet, since this is check mode."""
    return check_mode and bool(result.get("changed"))


def opens_firewall(result: Mapping[str, Any], is_wanted: bool) -> bool:
    """Tell whether a failure to set the route is made good by a rule of a firewall.

    It may also be one without C(failure): an option of a wrong type, or a user that cannot be become.
    """
    return is_wanted and (result.get("failure") or {}).get("firewall") in _FIREWALLS


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "container_decision": container_decision,
            "has_auth_proxy": has_auth_proxy,
            "installs_as": installs_as,
            "installs_openshell": installs_openshell,
            "is_to_come": is_to_come,
            "opens_firewall": opens_firewall,
            "rotates_token": rotates_token,
        }
