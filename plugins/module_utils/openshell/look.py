# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a gateway has: its route, its providers, its sandboxes, whether one can become ready (upstream-facts O5 to O7). Looks only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import Deadline
from ..failure import Failure, quote
from ..host.machine import Machine, find_account
from . import text
from .cli import ATTACHMENT, ROUTE, OpenShell, check_name, find_openshell, reading
from .text import RouteSeen

_PAGE = 100  # what `sandbox list` and `provider list` print without --limit


@dataclass(frozen=True)
class SandboxSeen:
    """A sandbox in the list: phase is Provisioning, Ready, Error, Deleting, or another word of the release."""

    id: str
    name: str
    phase: str


def list_sandboxes(cli: OpenShell) -> list[SandboxSeen]:
    """Return all of them, by name."""
    found: list[SandboxSeen] = []
    if cli.way == ATTACHMENT:
        command = ("sandbox", "list", "-o", "json")
        with reading(cli, *command):
            found = [SandboxSeen(one["id"], one["name"], one["phase"]) for one in read_pages(cli, *command)]
        return sorted(found, key=lambda sandbox: sandbox.name)
    while True:
        words = ("sandbox", "list", "-o", "json", "--limit", str(_PAGE), "--offset", str(len(found)))
        with reading(cli, *words):
            page = text.json_of(cli.call(*words))
            found += [SandboxSeen(entry["id"], entry["name"], entry["phase"]) for entry in page]
        if len(page) < _PAGE:
            return sorted(found, key=lambda sandbox: sandbox.name)


def read_pages(cli: OpenShell, *words: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a list of 0.1, which comes in pages: an object with one list and the token of the next page.

    A list that stands alone, as older releases and the list of one sandbox's providers print it, is its only page.
    """
    token: list[str] = []
    known: set[str] = set()
    while True:
        page = text.json_of(cli.call(*words, *token))
        if isinstance(page, list):
            yield from page
            return
        yield from next((value for value in page.values() if isinstance(value, list)), [])
        following = str(page.get("next_page_token") or "")
        if following in ("", *known):
            return  # at the end, or where it was before
        known.add(following)
        token = ["--page-token", following]


def find_sandbox(cli: OpenShell, name: str) -> SandboxSeen | None:
    """Return the sandbox of that name, None where there is none."""
    return next((sandbox for sandbox in list_sandboxes(cli) if sandbox.name == name), None)


def find_route(cli: OpenShell) -> RouteSeen | None:
    """Return the user's route, None where none is set."""
    words = ("inference", "get")
    with reading(cli, *words):
        return text.route_of(cli.call(*words))


@dataclass(frozen=True)
class ProviderSeen:
    """A provider as the gateway shows it: the names of its values only."""

    id: str
    name: str
    type: str
    resource_version: int
    credential_keys: list[str]
    config_keys: list[str]


def find_provider(cli: OpenShell, name: str) -> ProviderSeen | None:
    """Return the provider, None where the gateway has none of that name."""
    if cli.way == ATTACHMENT or not cli.release.lists_providers_as_json:
        return _find_in_text(cli, name)
    offset = 0
    while True:
        words = ("provider", "list", "-o", "json", "--limit", str(_PAGE), "--offset", str(offset))
        with reading(cli, *words):
            page = text.json_of(cli.call(*words))
            for entry in page:
                if entry["name"] == name:
                    return ProviderSeen(
                        id=entry["id"],
                        name=name,
                        type=entry["type"],
                        resource_version=int(entry["resource_version"]),
                        credential_keys=sorted(entry.get("credential_keys", [])),
                        config_keys=sorted(entry.get("config_keys", [])),
                    )
        if len(page) < _PAGE:
            return None
        offset += _PAGE


def _find_in_text(cli: OpenShell, name: str) -> ProviderSeen | None:
    words = ("provider", "get", name)
    try:
        found = text.fields_of(cli.call(*words))
    except Failure as failure:
        if failure.code == "openshell_provider_missing":
            return None
        raise
    with reading(cli, *words):
        return ProviderSeen(
            id=found["id"],
            name=name,
            type=found["type"],
            resource_version=int(found["resource version"]),
            credential_keys=text.keys_of(found["credential keys"]),
            config_keys=text.keys_of(found["config keys"]),
        )


def find_standing_route(cli: OpenShell) -> RouteSeen | None:
    """Return the user's route, None where none is set.

    Raises:
        Failure: C(route_dangling); its provider is gone. A sandbox that runs keeps the route that it read last, so that its answers prove
            nothing, and one that starts then has inference switched off for as long as it runs (upstream-facts O11).

    """
    route = find_route(cli) if cli.way == ROUTE else None
    if route is None or find_provider(cli, route.provider) is not None:
        return route
    raise Failure(
        "route_dangling",
        f"The gateway routes to {route.model} via the provider {route.provider}, but that provider was deleted. Running sandboxes continue "
        f"with what they read last, its key included, and one that starts now would never get inference. Create the provider again "
        f"(openshell_provider), or set another route (openshell_inference), and run this again.",
        provider=route.provider,
        model=route.model,
    )


READY, DELETING = "Ready", "Deleting"
# Phases that change by themselves.
PASSING = ("Provisioning", "Starting", "Unspecified", "Unknown")
# Phases without a process that goes on; one in Error has to be made anew.
RESTING = ("Stopped", "Stopping", "Completed", DELETING, "Error")
_LOG_LINES = 50
# 0.0.88 takes DNS labels of at most 19 characters without two hyphens in a row; checked for all, so that an upgrade works.
_NAME = re.compile(r"[a-z]([a-z0-9]|-(?!-))*(?<!-)")
_NAME_LIMIT = 19


@dataclass(frozen=True)
class DesiredSandbox:
    """The sandbox that is wanted; timeout in seconds, for all of it."""

    name: str
    image: str | None = None
    providers: Sequence[str] = ()
    policy: str | None = None
    timeout: int = 180


def find_usable(cli: OpenShell, desired: DesiredSandbox) -> SandboxSeen | None:
    """Return the sandbox of that name, None where there is none, once nothing keeps it from becoming ready.

    Raises:
        Failure: C(sandbox_name_invalid), C(sandbox_image_invalid), C(timeout_invalid), C(sandbox_error), C(sandbox_stopped), or one
            of the CLI.

    """
    _check(desired)
    found = find_sandbox(cli, desired.name)
    if found is not None and found.phase not in (DELETING, READY, *PASSING):
        raise not_ready(cli, desired, found, Deadline(desired.timeout))
    return found


def has_to_be_made(found: SandboxSeen | None) -> bool:
    """Tell whether what C(find_usable) found is no sandbox: one that is being deleted is made anew."""
    return found is None or found.phase == DELETING


def not_ready(
    cli: OpenShell, desired: DesiredSandbox, found: SandboxSeen | None, deadline: Deadline, said: str = ""
) -> Failure:
    """Return why the sandbox is not ready, with what OpenShell said and logged about it."""
    phase = found.phase if found else "not listed"
    facts = {"last_state": phase, "elapsed": round(deadline.elapsed, 1), "last_logs": _logs(cli, desired.name)}
    reason = f" OpenShell reports: {said.rstrip('. ')}." if said else ""
    stays = "It is left in place; openshell_sandbox with state: absent deletes it."
    if phase == "Stopped":
        return Failure(
            "sandbox_stopped",
            f"The sandbox {desired.name} is there and stopped. Start it (openshell_sandbox with state: restarted, or openshell sandbox "
            f"start {desired.name}), or delete it.",
            **facts,
        )
    if phase in (*PASSING, "not listed"):
        return Failure(
            "sandbox_timeout",
            f"The sandbox {desired.name} is not ready after {deadline.seconds:g} s; its phase is {phase}.{reason} {stays} A large "
            "image that is still being pulled needs a longer nemoclaw_sandbox_ready_timeout (option timeout). A sandbox calls its "
            "gateway from the Docker network openshell-docker, so this host's firewall must let that network through to the gateway's port "
            "(openshell gateway list has it). Otherwise check last_logs.",
            **facts,
        )
    return Failure(
        "sandbox_error",
        f"The sandbox {desired.name} did not come up; its phase is {phase}.{reason} {stays} Correct what it says or what is in "
        "last_logs, delete it, and run this again.",
        **facts,
    )


def _logs(cli: OpenShell, name: str) -> list[str]:
    try:
        lines = text.plain(cli.call("logs", name, "-n", str(_LOG_LINES))).splitlines()
    except Failure as failure:
        lines = [f"openshell logs failed: {failure.message}"]
    return [quote(line, cli.secret, 300) for line in lines[-_LOG_LINES:] if line.strip()]


def check_sandbox_name(name: str) -> None:
    """Raise C(sandbox_name_invalid) for a name that a release of OpenShell refuses."""
    if len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        raise Failure(
            "sandbox_name_invalid",
            f"The sandbox is to be called {name!r}. OpenShell takes lower-case letters, digits and single hyphens, "
            f"beginning with a letter and not ending with a hyphen, and since 0.0.88 at most {_NAME_LIMIT} characters; this has "
            f"{len(name)}. Names that only older releases take are refused too, so that an upgrade keeps the sandbox.",
        )


def _check(desired: DesiredSandbox) -> None:
    check_sandbox_name(desired.name)
    for what, value in (("image", desired.image), ("policy", desired.policy)):
        if value is not None and (not value.strip() or value.startswith("-") or not value.isprintable()):
            raise Failure(
                "sandbox_image_invalid",
                f"The sandbox's {what} is {value!r}, which is invalid. Use an image such as registry.example.com/agent:1 and a path such "
                f"as /etc/nemoclaw/policy.yaml.",
            )
    for provider in desired.providers:
        check_name("provider", provider)
    check_timeout(desired)


def check_timeout(desired: DesiredSandbox) -> None:
    if desired.timeout < 1:
        raise Failure(
            "timeout_invalid",
            f"The time limit for the sandbox {desired.name} is {desired.timeout} s. Give the seconds that its image may take to be "
            "pulled and started, for example 180.",
        )


def open_cli(params: Mapping[str, Any], secret: str = "", ways: tuple[str, ...] = (ROUTE,)) -> OpenShell:
    """Return the CLI that the options C(gateway), C(gateway_endpoint), C(executable) and C(user) mean.

    Raises:
        Failure: C(user_unknown), or one of find_openshell.

    """
    return find_openshell(
        Machine(),
        find_account(params["user"]),
        gateway=params["gateway"],
        endpoint=params["gateway_endpoint"],
        executable=params["executable"],
        secret=secret,
        ways=ways,
    )
