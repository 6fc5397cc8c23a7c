# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What of a host the playbook uninstall has to remove, and what it keeps, by one look at it."""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .containers.spec import KIND
from .host.docker_engine import LIMIT_S, connect, parse_docker_host
from .host.machine import Account, Machine
from .ollama import dropin
from .plan.choice import ROLES
from .proxy.token import NEXT_SUFFIX, PREVIOUS_SUFFIX, token_path
from .route.record import record_path
from .untrusted import list_of, object_of, parse_json
from .watch.layout import NAME as WATCH

# In the order in which they are removed: the watch first, or it would note each thing that goes as a failure; the record last.
PARTS = ("watch", "sandbox", "nim", "ollama", "vllm", "endpoint")
# The role sandbox keeps there what closes the firewall again (roles/sandbox/vars/main.yml).
OPENED = "/etc/nemoclaw-local-inference.opened"
# As the role watch looks for them when it is used alone.
_WATCH_FOLDERS = ("/etc", "/etc/systemd/system", "/usr/local/lib", "/var/lib")
_NGINX = "/etc/systemd/system/nginx.service"
_IMAGES = re.compile("vllm|/nim/")
# All of ours, also those that are stopped.
_CONTAINERS = "/containers/json?all=1&filters=" + urllib.parse.quote(f'{{"label":["{KIND}"]}}')
# As Ollama's own installer names it.
_OLLAMA_ACCOUNT = "ollama"
# An engine with many images tells some kilobytes of each.
_ANSWER_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """What the facts of a host do not tell.

    Attributes:
        watch: Whether there is a file of the watch.
        opened: Whether something was opened in the firewall.
        state: Whether there is a file in C(~/.nemoclaw), or a route record elsewhere.
        record: Whether there is a route record.
        token: Whether there is a token of the auth proxy.
        drop_in: Whether a unit has our drop-in.
        containers: The kinds of our containers; None where the engine did not tell.
        folders: Those of the downloads that are there.
        images: The repositories of the engine's images.
        ollama_home: The home of the user of Ollama's service, empty without one.
        nginx_masked: Whether nginx may not start.

    """

    watch: bool = False
    opened: bool = False
    state: bool = False
    record: bool = False
    token: bool = False
    drop_in: bool = False
    containers: tuple[str, ...] | None = ()
    folders: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    ollama_home: str = ""
    nginx_masked: bool = False


def look(
    machine: Machine, account: Account, host: Mapping[str, Any], route_path: str | None, folders: Sequence[str]
) -> Seen:
    """Look at what the facts do not tell; what cannot be read counts as not there, but for the engine's containers.

    Args:
        machine: The host.
        account: Whose inference it is.
        host: Its facts.
        route_path: The route record, if it is not where the account's own lies.
        folders: Where downloads may lie, C(~) for the account's home.

    """
    record = route_path or record_path(account.home)
    token = token_path(account.home)
    docker = host["docker"]
    kinds = _ask(machine, docker, _CONTAINERS)
    images = _ask(machine, docker, "/images/json")
    places = [path if path[:1] != "~" else account.home + path[1:] for path in folders]
    return Seen(
        watch=any(name.startswith(WATCH) for folder in _WATCH_FOLDERS for name in machine.names(folder)),
        opened=machine.exists(OPENED),
        state=_has_files(machine, str(Path(record_path(account.home)).parent)) or machine.exists(record),
        record=machine.exists(record),
        token=any(machine.exists(token + suffix) for suffix in ("", PREVIOUS_SUFFIX, NEXT_SUFFIX)),
        drop_in=bool(dropin.find(machine)),
        containers=None if kinds is None else tuple(_kind(one) for one in kinds),
        folders=tuple(path for path in places if machine.exists(path)),
        images=tuple(name for one in images or [] for name in _repositories(one)),
        ollama_home=_home(_OLLAMA_ACCOUNT),
        nginx_masked=_is_masked(machine, _NGINX),
    )


def parts(host: Mapping[str, Any], seen: Seen) -> list[str]:
    """Return which roles have something to remove; in doubt, one has.

    Args:
        host: The facts.
        seen: What they do not tell.

    """
    route = host["route"] or {}
    # A server of an earlier route that still holds a GPU is in the record as well.
    named = [route, *list_of(route.get("to_free"))]
    roles = {ROLES.get(str(object_of(one).get("provider")), "") for one in named}
    # A record that cannot be read may be of any of them.
    is_unknown = seen.record and not route
    docker = host["docker"]
    # An engine that does not answer may have a container that starts with it.
    kinds = ("nim", "vllm") if seen.containers is None and docker["code"] != "absent" else seen.containers or ()
    proxy = host["proxy"] or {}
    is_gated = bool(proxy.get("unit") or proxy.get("account") or seen.token) or host["proxy"] is None
    has = {
        "watch": seen.watch,
        "sandbox": seen.state or seen.opened or bool(host["nemoclaw"]["path"]),
        "nim": "nim" in kinds or "nim" in roles or is_unknown,
        "ollama": is_gated or seen.drop_in or host["wsl"] is not None or "ollama" in roles or is_unknown,
        "vllm": "vllm" in kinds or "vllm" in roles or is_unknown,
        "endpoint": seen.record,
    }
    return [one for one in PARTS if has[one]]


def kept(host: Mapping[str, Any], seen: Seen, removes_ollama: bool) -> list[str]:
    """Return what stays on the host, each as a part of one sentence.

    Args:
        host: The facts, of before or after the removal.
        seen: What they do not tell, of after the removal.
        removes_ollama: Whether Ollama was to be removed.

    """
    ollama = "" if removes_ollama else host["ollama"]["path"]
    ours = list(dict.fromkeys(one for one in seen.images if _IMAGES.search(one)))
    openshell = host["openshell"]["path"]
    said = [
        f"Ollama ({ollama}) with its models" if ollama else "",
        f"the user ollama with its home {seen.ollama_home}, where its key and its models lie (userdel --remove ollama deletes them)"
        if seen.ollama_home
        else "",
        "what is installed on Windows" if host["wsl"] else "",
        *(f"the downloads in {path}" for path in seen.folders),
        f"the images {' and '.join(ours)}" if ours else "",
        f"OpenShell ({openshell}) with its sandboxes" if openshell else "",
        "the packages that were installed",
        "the mask of nginx.service (systemctl unmask nginx.service lets it start again)" if seen.nginx_masked else "",
        "every server that this collection does not run",
    ]
    return [one for one in said if one]


def _ask(machine: Machine, docker: Mapping[str, Any], path: str) -> list[dict[str, Any]] | None:
    """Return the list that the engine of the facts answers, None where it does not."""
    endpoint = parse_docker_host(docker["endpoint"] or "") if docker["reachable"] else None
    if endpoint is None:
        return None
    connection = connect(machine, endpoint, LIMIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            return None
        return [object_of(one) for one in list_of(parse_json(response.read(_ANSWER_LIMIT)))]
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _kind(container: Mapping[str, Any]) -> str:
    labels = container.get("Labels")
    return str(labels.get(KIND)) if isinstance(labels, dict) else ""


def _repositories(image: Mapping[str, Any]) -> list[str]:
    """Return the names of an image without tags, as C(docker image ls) has them; by the digest where no tag is left."""
    tags = [str(one).rpartition(":")[0] for one in image.get("RepoTags") or []]
    named = [one for one in tags if one != "<none>"]
    return named or [str(one).partition("@")[0] for one in image.get("RepoDigests") or []]


def _has_files(machine: Machine, folder: str) -> bool:
    return any(files for _folder, _folders, files in os.walk(str(machine.path(folder))))


def _home(name: str) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_dir
    return ""


def _is_masked(machine: Machine, unit: str) -> bool:
    """Tell what C(systemctl is-enabled) calls masked: a link to nowhere (systemd.unit(5))."""
    try:
        return str(machine.path(unit).readlink()) == "/dev/null"
    except OSError:
        return False
