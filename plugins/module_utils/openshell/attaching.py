# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Attaching a provider to a sandbox of OpenShell 0.1, and taking it away again (attachment.py compares)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure, quote
from . import changes, lifecycle, look, text
from .attachment import (
    OF_PROFILE,
    READY,
    REVOKED,
    Desired,
    Seen,
    attached_at,
    decide,
    host_of,
    is_labelled,
    profile_id,
    profile_of,
    see,
)
from .cli import OpenShell, check_name
from .look import list_sandboxes
from .provider import Desired as DesiredProvider
from .provider import check_desired


@dataclass
class Outcome:
    """What was found and what came of it."""

    actions: list[str] = field(default_factory=list)
    state: str = ""
    restarted: bool = False
    restart_needed: bool = False
    warnings: list[str] = field(default_factory=list)


def delete(cli: OpenShell, name: str, *, has_profile: bool) -> None:
    """Delete a provider, absent is fine, and its profile.

    Raises:
        Failure: C(provider_attached), or another of the CLI.

    """
    changes.delete_provider(cli, DesiredProvider(name), False)
    if has_profile:
        cli.call("provider", "profile", "delete", profile_id(name))


class Attachment:
    """One provider at one sandbox: look, plan, apply.

    Args:
        cli: The command line of its gateway.
        desired: What is wanted.
        seen: What look() would return, where somebody has looked already.
        waits: Whether a detachment waits until the sandbox has applied it.

    """

    def __init__(self, cli: OpenShell, desired: Desired, seen: Seen | None = None, *, waits: bool = True) -> None:
        self.desired = desired
        self._cli, self._waits = cli, waits
        self._seen = seen or Seen()

    @property
    def profile(self) -> dict[str, Any]:
        """The profile that is wanted."""
        return profile_of(self.desired, host_of(self._cli.path))

    def look(self) -> Seen:
        """Return what is there. Changes nothing."""
        desired = self.desired
        check_name("provider", desired.provider)
        check_name("sandbox", desired.sandbox)
        found = next((one for one in list_sandboxes(self._cli) if one.name == desired.sandbox), None)
        self._seen = see(self._cli, desired, found, attached_at(self._cli, found.name) if found else [])
        return self._seen

    def plan(self) -> list[str]:
        """Return what apply() would do, by what look() saw. Pure."""
        return decide(self.desired, self._seen, self.profile)

    def apply(self, check_mode: bool) -> Outcome:
        """Do it, or say what would be done.

        Raises:
            Failure: C(openshell_profile_invalid), C(attachment_not_ready), or one of changes.py, of lifecycle.py and of the CLI.

        """
        desired = self.desired
        check_desired(provider_of(desired))
        outcome = Outcome(state=READY)
        for action in self.plan():
            if not action.startswith("restart "):
                outcome.actions.append(action)
                if not check_mode:
                    self.do(action)
            elif desired.may_restart:
                outcome.actions.append(action)
                outcome.restarted = True
                if not check_mode:
                    spec = look.DesiredSandbox(desired.sandbox, timeout=max(desired.timeout, 60))
                    lifecycle.restart_sandbox(self._cli, spec, False)
            else:
                outcome.restart_needed = True
                outcome.warnings.append(self._keeps_the_old_key())
        return outcome

    def do(self, action: str) -> None:
        """Do one thing that plan() names, other than a restart."""
        verb = action.split(" ")[0]
        if action.startswith(OF_PROFILE):
            self._put_profile(verb)
        elif verb in ("create", "update"):
            changes.ensure_provider(self._cli, provider_of(self.desired), False)
        elif verb == "delete":
            self._cli.call("provider", "delete", self.desired.provider)
        elif verb == "attach":
            self.attach()
        elif verb == "detach":
            self.detach()
        else:
            self._wait("status", READY)

    def attach(self) -> None:
        """Attach it, and wait until the sandbox has applied that; one that is attached is only waited for."""
        self._wait("attach", READY)

    def detach(self) -> None:
        """Detach it, and wait until the sandbox has applied that, where it can; absent is fine."""
        if self._waits:
            self._wait("detach", REVOKED)
        else:
            self._cli.call("sandbox", "provider", "detach", self.desired.sandbox, self.desired.provider)

    def remove(self, check_mode: bool) -> Outcome:
        """Detach the provider, and delete it and its profile unless other sandboxes have it too; a user's profile stays."""
        cli, desired = self._cli, self.desired
        seen = self.look()
        outcome = Outcome([f"detach {desired.provider}"] if seen.attached else [])
        names = [one.name for one in list_sandboxes(cli)] if seen.provider else []
        others = [one for one in names if one != desired.sandbox and desired.provider in attached_at(cli, one)]
        has_profile = is_labelled(seen.profile)
        if others:
            outcome.warnings.append(
                f"Provider and profile stay, since other sandboxes have them too: {', '.join(others)}."
            )
        else:
            outcome.actions += [f"delete {desired.provider}"] if seen.provider else []
            outcome.actions += [f"delete profile {profile_id(desired.provider)}"] if has_profile else []
        if check_mode:
            return outcome
        if seen.attached:
            self.detach()
        if not others:
            delete(cli, desired.provider, has_profile=has_profile)
        return outcome

    def _put_profile(self, verb: str) -> None:
        """Lint, then import or update; an update tells the version that was seen, so that nobody's change is lost."""
        content = self.profile
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
            f"Ran openshell provider profile {verb} for {profile_id(self.desired.provider)}, and the gateway refuses it: "
            f"{quote(said, '', 400)}. Correct what it names; if someone else changed the profile meanwhile, run this again.",
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

    def _wait(self, verb: str, state: str) -> None:
        """Run attach, detach or status until the sandbox has applied it."""
        desired = self.desired
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
            f"{desired.timeout} s: {target.get('state')}, {target.get('reason')}. The gateway keeps the request. A sandbox with an older "
            f"supervisor must be recreated (unsupported_supervisor); otherwise check openshell logs, or raise timeout.",
            state=target.get("state"),
            reason=target.get("reason"),
        )

    def _keeps_the_old_key(self) -> str:
        desired = self.desired
        return (
            f"The key of {desired.provider} has changed, and processes running in the sandbox {desired.sandbox} keep the old one. Restart "
            f"the agent there, or allow a restart of the sandbox with restart: true."
        )


def provider_of(desired: Desired) -> DesiredProvider:
    """Return the provider that is wanted."""
    return DesiredProvider(
        desired.provider, profile_id(desired.provider), {desired.credential_name: desired.credential}
    )
