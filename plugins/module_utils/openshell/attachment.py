# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The way of OpenShell 0.1: a profile of the server, a provider of that profile with its key, attached to a sandbox (decision 0027).

Here it is looked at and compared; attaching.py does it.

The agent in the sandbox calls the server by itself and sends a placeholder, where the supervisor puts the key in. Model and timeout are in
the agent's own configuration then, and not the gateway's. Experimental: no real gateway of 0.1 was seen (upstream-facts O13).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure, clean_key
from ..transport.url import parse_base_url
from . import look, provider, text
from .cli import OpenShell, reading
from .look import ProviderSeen, SandboxSeen, read_pages

# What the rename of the program changes: the name by which a sandbox knows the gateway's host, by the program's own name.
HOSTS = {"openshell": "host.openshell.internal", "ryno": "host.ryno.internal"}
# The programs in the sandbox that may call the server: what agents and their tools are commonly run by.
BINARIES = (
    "/usr/bin/curl",
    "/usr/local/bin/curl",
    "/usr/bin/node",
    "/usr/local/bin/node",
    "/usr/bin/python3*",
    "/usr/local/bin/python3*",
    "/sandbox/.venv/**",
    "/sandbox/.uv/python/**",
)
READY, REVOKED = "ready", "revoked"
# Actions on the profile. A provider may have the word in its name.
OF_PROFILE = ("import profile ", "update profile ")
# By this a profile is known as ours, also where nothing on the host remembers it.
_LABEL = "Made by the Ansible collection nemoclaw.local_inference"


@dataclass(frozen=True)
class Desired:
    """What is wanted; base_url is what the agent calls, timeout the seconds until the sandbox has applied a change."""

    sandbox: str
    provider: str
    base_url: str = ""
    credential_name: str = "OPENAI_API_KEY"
    credential: str = field(default="", repr=False)
    api: str = "openai-completions"
    binaries: Sequence[str] = BINARIES
    timeout: int = 60
    may_restart: bool = False
    may_replace: bool = False


@dataclass(frozen=True)
class Seen:
    """What the gateway has of it. knows_key: whether the provider has the key that is wanted, in a version that we gave it."""

    sandbox: SandboxSeen | None = None
    profile: dict[str, Any] | None = None
    provider: ProviderSeen | None = None
    knows_key: bool = False
    attached: bool = False
    state: str = ""


def host_of(program: str) -> str:
    """Return the name that a sandbox knows the gateway's host by."""
    return HOSTS.get(Path(program).name, HOSTS["openshell"])


def profile_id(name: str) -> str:
    """Return the id of a provider's profile: lower-case words and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def profile_of(desired: Desired, host: str) -> dict[str, Any]:
    """Return the profile: that server and no other, for those programs and no others."""
    base = parse_base_url(desired.base_url, desired.api, for_sandbox=True)
    known_hosts = (*HOSTS.values(), "host.docker.internal")
    return {
        "id": profile_id(desired.provider),
        "display_name": f"Local inference ({desired.provider})",
        "description": f"{_LABEL} for {desired.base_url}",
        "category": "inference",
        "inference_capable": True,
        "credentials": [
            {
                "name": "api_key",
                "env_vars": [desired.credential_name],
                "required": True,
                "auth_style": "header" if desired.api == "anthropic-messages" else "bearer",
                "header_name": "x-api-key" if desired.api == "anthropic-messages" else "authorization",
            }
        ],
        "endpoints": [
            {
                "host": host if base.host in known_hosts else base.host,
                "port": base.port or (443 if base.scheme == "https" else 80),
                "path": "/v1/**" if desired.api == "anthropic-messages" else f"{base.path or ''}/**",
                "protocol": "rest",
                "access": "read-write",
                "enforcement": "enforce",
            }
        ],
        "binaries": list(desired.binaries),
    }


def called_at(base_url: str, api: str, host: str) -> str:
    """Return what an agent in the sandbox calls: a name of the gateway's host is the one that this program gives it."""
    base = parse_base_url(base_url, api, for_sandbox=True)
    return str(base.with_host(host) if base.host in HOSTS.values() else base)


def is_labelled(profile: dict[str, Any] | None) -> bool:
    """Tell whether a profile as the gateway exports it was made from here."""
    return profile is not None and str(profile.get("description", "")).startswith(_LABEL)


def exported(cli: OpenShell, name: str) -> dict[str, Any] | None:
    """Return a profile of the gateway, None where it has none of that id."""
    words = ("provider", "profile", "export", name, "-o", "json")
    answer = cli.attempt(*words)
    if answer.code:
        if re.search(r"profile.* not found", text.error_of(answer.output)):
            return None
        raise cli.trouble(words, answer.output, answer.code)
    with reading(cli, *words):
        found = text.json_of(answer.output)
        return dict(found)


def attached_at(cli: OpenShell, name: str) -> list[str]:
    """Return the providers that are attached to a sandbox, none where somebody deleted it meanwhile."""
    words = ("sandbox", "provider", "list", name, "-o", "json")
    try:
        with reading(cli, *words):
            return [one["name"] for one in read_pages(cli, *words)]
    except Failure as failure:
        if "sandbox not found" in str(failure.details.get("server_message")):
            return []
        raise


def same_profile(seen: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Tell whether a profile as the gateway exports it says what is wanted. Texts for people and fields that we leave open do not count."""
    if seen is None:
        return False

    def essence(profile: dict[str, Any]) -> Any:
        return (
            [
                (one.get("env_vars"), one.get("auth_style"), one.get("header_name"))
                for one in profile.get("credentials") or []
            ],
            [
                (
                    one.get("host"),
                    one.get("port") or next(iter(one.get("ports") or []), None),
                    one.get("path"),
                    one.get("access"),
                )
                for one in profile.get("endpoints") or []
            ],
            [one["path"] if isinstance(one, dict) else one for one in profile.get("binaries") or []],
        )

    return bool(essence(seen) == essence(wanted))


def see(cli: OpenShell, desired: Desired, found: SandboxSeen | None, attached: Sequence[str]) -> Seen:
    """Return what the gateway has of an attachment, for a sandbox that has these providers."""
    name = desired.provider
    seen = look.find_provider(cli, name)
    has_it = name in attached
    knows_key = seen is not None and _holds(cli, desired, seen)
    state = _state(cli, desired) if has_it else ""
    return Seen(found, exported(cli, profile_id(name)), seen, knows_key, has_it, state)


def _holds(cli: OpenShell, desired: Desired, seen: ProviderSeen) -> bool:
    """Tell whether the provider has the key that is wanted, in a version that it got from here."""
    if not desired.credential:
        return False
    remembered = provider.recall(cli)
    credentials = {desired.credential_name: clean_key(desired.credential)}
    wanted = remembered.fingerprint(profile_id(desired.provider), credentials, {})
    return remembered.holds(seen.id, seen.resource_version, wanted)


def _state(cli: OpenShell, desired: Desired) -> str:
    words = ("sandbox", "provider", "status", desired.sandbox, desired.provider, "-o", "json")
    with reading(cli, *words):
        target = text.json_of(cli.call(*words))["targets"][0]
        return str(target["state"])


def decide(desired: Desired, seen: Seen, wanted: dict[str, Any]) -> list[str]:
    """Return what has to be done, as verb and object. Pure.

    Raises:
        Failure: C(sandbox_not_ready), C(profile_foreign), C(provider_type_differs).

    """
    if seen.sandbox is None or seen.sandbox.phase != look.READY:
        phase = seen.sandbox.phase if seen.sandbox else "not there"
        raise Failure(
            "sandbox_not_ready",
            f"The provider {desired.provider} was to be attached to the sandbox {desired.sandbox}, which the gateway lists as {phase}. "
            f"Create it with openshell_sandbox, or find out why it is not ready (openshell sandbox get, openshell logs).",
            last_state=phase,
        )
    actions = []
    if seen.profile is None:
        actions.append(f"import profile {wanted['id']}")
    elif not same_profile(seen.profile, wanted):
        actions.append(f"update profile {wanted['id']}")
    refuse_foreign(desired, seen, wanted["id"], differs=bool(actions))
    foreign = seen.provider is not None and seen.provider.type != wanted["id"]
    if foreign:
        actions += [f"detach {desired.provider}"] if seen.attached else []
        actions += [f"delete {desired.provider}"]
    if seen.provider is None or foreign:
        actions.append(f"create {desired.provider}")
    elif not seen.knows_key:
        actions.append(f"update {desired.provider}")
    if not seen.attached or foreign:
        actions.append(f"attach {desired.provider}")
    elif actions or seen.state != READY:
        actions.append(f"wait for {desired.provider}")
    # An attached provider's key is in the environment of the processes that run: they keep the one that they began with.
    if seen.attached and any(
        one.split()[0] in ("create", "update") and not one.startswith(OF_PROFILE) for one in actions
    ):
        actions.append(f"restart {desired.sandbox}")
    return actions


def refuse_foreign(desired: Desired, seen: Seen, wanted: str, *, differs: bool) -> None:
    """Raise C(profile_foreign) or C(provider_type_differs) for what somebody else made under our names, unless it may be replaced."""
    if desired.may_replace:
        return
    remedy = "or allow its recreation: replace: true for the module, sandbox_replace_provider: true for the role."
    if differs and seen.profile is not None and not is_labelled(seen.profile):
        raise Failure(
            "profile_foreign",
            f"The gateway has a profile {wanted} that was not created here, and it does not grant {desired.base_url} as required. Nothing "
            f"was changed. Keep it under another id (openshell provider profile export, import, delete), {remedy}",
            profile=wanted,
        )
    if seen.provider is not None and seen.provider.type != wanted:
        raise Failure(
            "provider_type_differs",
            f"The gateway has a provider {desired.provider} of the profile {seen.provider.type}, but {wanted} is required. OpenShell "
            f"cannot change a type. Delete it, {remedy}",
            type=seen.provider.type,
        )
