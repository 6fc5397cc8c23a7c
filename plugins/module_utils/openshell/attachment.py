# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The way of OpenShell 0.1: a profile of the server, a provider of that profile with its key, attached to a sandbox (decision 0027).

The agent in the sandbox calls the server by itself and sends a placeholder, where the supervisor puts the key in. Model and timeout are in
the agent's own configuration then, and not the gateway's. Experimental: no real gateway of 0.1 was seen (upstream-facts O13).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import acting_as
from ..transport.credentials import clean_key, quote
from ..transport.url import parse_base_url
from . import changes, look, provider, text
from .cli import OpenShell, check_name, reading
from .look import ProviderSeen, SandboxSeen, list_sandboxes, read_pages
from .provider import Desired as DesiredProvider

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
_OF_PROFILE = ("import profile ", "update profile ")


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


@dataclass
class Outcome:
    """What was found and what came of it."""

    actions: list[str] = field(default_factory=list)
    state: str = ""
    restarted: bool = False
    restart_needed: bool = False
    warnings: list[str] = field(default_factory=list)


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
        "description": f"Made by the Ansible collection nemoclaw.local_inference for {desired.base_url}",
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


def decide(desired: Desired, seen: Seen, wanted: dict[str, Any]) -> list[str]:
    """Return what has to be done, as verb and object. Pure.

    Raises:
        Failure: C(sandbox_not_ready), C(provider_type_differs).

    """
    if seen.sandbox is None or seen.sandbox.phase != look.READY:
        phase = seen.sandbox.phase if seen.sandbox else "not there"
        raise Failure(
            "sandbox_not_ready",
            f"The provider {desired.provider} was to be attached to the sandbox {desired.sandbox}, and the gateway lists that as {phase}. "
            "Make it "
            "with openshell_sandbox, or look why it is not ready (openshell sandbox get, openshell logs).",
            last_state=phase,
        )
    actions = []
    if seen.profile is None:
        actions.append(f"import profile {wanted['id']}")
    elif not same_profile(seen.profile, wanted):
        actions.append(f"update profile {wanted['id']}")
    foreign = seen.provider is not None and seen.provider.type != wanted["id"]
    if foreign and seen.provider is not None:
        if not desired.may_replace:
            raise Failure(
                "provider_type_differs",
                f"The gateway has a provider {desired.provider} of the profile {seen.provider.type}, and {wanted['id']} is wanted. "
                "OpenShell changes no type. Give another name, or allow that it is deleted and made anew with replace: true.",
                type=seen.provider.type,
            )
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
        one.split()[0] in ("create", "update") and not one.startswith(_OF_PROFILE) for one in actions
    ):
        actions.append(f"restart {desired.sandbox}")
    return actions


class Attachment:
    """One provider at one sandbox: look, plan, apply."""

    def __init__(self, cli: OpenShell, desired: Desired) -> None:
        self._cli, self._desired = cli, desired
        self._wanted: dict[str, Any] = {}
        self._seen = Seen()

    def look(self) -> Seen:
        """Return what is there. Changes nothing."""
        cli, desired = self._cli, self._desired
        check_name("provider", desired.provider)
        check_name("sandbox", desired.sandbox)
        found = next((one for one in list_sandboxes(cli) if one.name == desired.sandbox), None)
        seen = look.find_provider(cli, desired.provider)
        attached = found is not None and desired.provider in self._attached()
        self._seen = Seen(
            found,
            self._exported(profile_id(desired.provider)),
            seen,
            seen is not None and self._holds(seen),
            attached,
            self._state() if attached else "",
        )
        return self._seen

    def plan(self) -> list[str]:
        """Return what apply() would do, by what look() saw. Pure."""
        self._wanted = profile_of(self._desired, host_of(self._cli.path))
        return decide(self._desired, self._seen, self._wanted)

    def apply(self) -> Outcome:
        """Do it.

        Raises:
            Failure: C(openshell_profile_invalid), C(attachment_not_ready), or one of provider.have, sandbox.restart and the CLI.

        """
        cli, desired = self._cli, self._desired
        outcome = Outcome(self.plan(), READY)
        for action in outcome.actions:
            verb = action.split(" ")[0]
            if action.startswith(_OF_PROFILE):
                self._put_profile(verb)
            elif verb in ("create", "update"):
                changes.ensure_provider(cli, self._provider_spec(), False)
            elif verb == "delete":
                cli.call("provider", "delete", desired.provider)
            elif verb in ("attach", "detach"):
                self._move(verb)
            elif verb == "wait":
                self._wait("status", READY)
            elif desired.may_restart:
                changes.restart_sandbox(
                    cli, look.DesiredSandbox(desired.sandbox, timeout=max(desired.timeout, 60)), False
                )
                outcome.restarted = True
            else:
                outcome.restart_needed = True
                outcome.warnings.append(self._keeps_the_old_key())
        if not outcome.restarted:
            outcome.actions = [one for one in outcome.actions if not one.startswith("restart ")]
        return outcome

    def remove(self, check_mode: bool) -> Outcome:
        """Detach the provider, and delete it and its profile unless other sandboxes have it too."""
        cli, desired = self._cli, self._desired
        seen = self.look()
        outcome = Outcome()
        outcome.actions += [f"detach {desired.provider}"] if seen.attached else []
        outcome.actions += [f"delete {desired.provider}"] if seen.provider else []
        outcome.actions += [f"delete profile {profile_id(desired.provider)}"] if seen.profile else []
        if check_mode:
            return outcome
        if seen.attached:
            self._move("detach")
        try:
            changes.delete_provider(cli, DesiredProvider(desired.provider), False)
            if seen.profile:
                cli.call("provider", "profile", "delete", profile_id(desired.provider))
        except Failure as failure:
            if failure.code != "provider_attached":
                raise
            outcome.actions = outcome.actions[: 1 if seen.attached else 0]
            outcome.warnings.append(
                f"Provider and profile stay, since other sandboxes have them too: {failure.details['server_message']}."
            )
        return outcome

    def _provider_spec(self) -> DesiredProvider:
        desired = self._desired
        return DesiredProvider(desired.provider, self._wanted["id"], {desired.credential_name: desired.credential})

    def _holds(self, seen: ProviderSeen) -> bool:
        desired = self._desired
        with acting_as(self._cli.account):
            remembered = provider.read_state(provider.state_path(self._cli.account.home))
        credentials = {desired.credential_name: clean_key(desired.credential)}
        wanted = remembered.fingerprint(profile_id(desired.provider), credentials, {})
        return remembered.holds(seen.id, seen.resource_version, wanted)

    def _exported(self, name: str) -> dict[str, Any] | None:
        words = ("provider", "profile", "export", name, "-o", "json")
        answer = self._cli.attempt(*words)
        if answer.code:
            if re.search(r"profile.* not found", text.error_of(answer.output)):
                return None
            raise self._cli.trouble(words, answer.output, answer.code)
        with reading(self._cli, *words):
            found = text.json_of(answer.output)
            return dict(found)

    def _put_profile(self, verb: str) -> None:
        """Lint, then import or update; an update tells the version that was seen, so that nobody's change is lost."""
        content = dict(self._wanted)
        if verb == "update" and self._seen.profile:
            content["resource_version"] = self._seen.profile.get("resource_version", 0)
        with self._file(json.dumps(content)) as path:
            target = (content["id"],) if verb == "update" else ()
            for words in (("lint",), (verb, *target)):
                answer = self._cli.attempt("provider", "profile", *words, "-f", path)
                if answer.code:
                    raise self._unfit(words[0], answer.output)

    def _unfit(self, verb: str, output: str) -> Failure:
        said = " ".join(text.plain(output).replace("Provider profile diagnostics:", "").split())
        known = self._cli.trouble(("provider", "profile"), output, 1)
        if known.code != "openshell_failed":
            return known
        return Failure(
            "openshell_profile_invalid",
            f"Ran openshell provider profile {verb} for {self._wanted['id']}, and the gateway refuses it: {quote(said, '', 400)}. Correct "
            "what it "
            "names; if somebody else changed the profile meanwhile, run this again.",
            server_message=quote(said, "", 400),
        )

    @contextmanager
    def _file(self, content: str) -> Iterator[str]:
        """Yield a file with the content that the owner of the CLI can read. The profile has no secret."""
        with tempfile.TemporaryDirectory(prefix="openshell-profile-") as folder:
            path = Path(folder, "profile.json")
            path.write_text(content, encoding="utf-8")
            Path(folder).chmod(0o755)
            path.chmod(0o644)
            yield os.fspath(path)

    def _attached(self) -> list[str]:
        words = ("sandbox", "provider", "list", self._desired.sandbox, "-o", "json")
        with reading(self._cli, *words):
            return [one["name"] for one in read_pages(self._cli, *words)]

    def _state(self) -> str:
        words = ("sandbox", "provider", "status", self._desired.sandbox, self._desired.provider, "-o", "json")
        with reading(self._cli, *words):
            target = text.json_of(self._cli.call(*words))["targets"][0]
            return str(target["state"])

    def _move(self, verb: str) -> None:
        self._wait(verb, READY if verb == "attach" else REVOKED)

    def _wait(self, verb: str, state: str) -> None:
        """Run attach, detach or status until the sandbox has applied it."""
        desired = self._desired
        words = ("sandbox", "provider", verb, desired.sandbox, desired.provider)
        answer = self._cli.attempt(
            *words,
            "--wait",
            "--timeout",
            str(desired.timeout),
            "-o",
            "json",
            limit_s=desired.timeout + 15.0,
            errors_apart=True,
        )
        try:
            target = text.json_of(answer.output)["targets"][0]
        except (ValueError, KeyError, IndexError, TypeError):
            raise self._cli.trouble(words, f"{answer.output}\n{answer.errors}", answer.code) from None
        if answer.code == 0 and target.get("state") == state:
            return
        raise Failure(
            "attachment_not_ready",
            f"Ran openshell sandbox provider {verb} for {desired.provider} at {desired.sandbox}, and the sandbox has not applied it after "
            f"{desired.timeout} s: {target.get('state')}, {target.get('reason')}. The gateway keeps what was asked for. A sandbox of an "
            "older supervisor has to be made anew (unsupported_supervisor); else see openshell logs, or raise timeout.",
            state=target.get("state"),
            reason=target.get("reason"),
        )

    def _keeps_the_old_key(self) -> str:
        desired = self._desired
        return (
            f"The key of {desired.provider} is another one now, and processes that run in the sandbox {desired.sandbox} keep the one that "
            "they began "
            "with. Restart the agent there, or allow that the sandbox is stopped and started with restart: true."
        )
