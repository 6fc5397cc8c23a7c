# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The provider that is wanted: checked, and compared with the one there and with what that was last given.

What was given is known by its keyed hash, since the gateway shows no value again: one JSON file per user, mode 0600. An entry holds
for one provider (by the id that the gateway gave it) and for one version of it, so a change that anybody else made is noticed
(upstream-facts O5).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..failure import Failure, clean_key
from ..host.machine import acting_as, read_file
from ..route.record import record_path
from ..transport.url import parse_base_url
from ..untrusted import object_of, parse_json
from .cli import OpenShell, check_name
from .look import ProviderSeen

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The name of a credential becomes a variable of the CLI's own process: these would change what the CLI does.
_RESERVED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TMPDIR|IFS|LC_.*|LANG|LD_.*|XDG_.*|OPENSHELL_.*|SSL_.*|RUST_.*|NO_COLOR|.*_PROXY",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Desired:
    """The provider that is wanted. credentials and config: names with their values; ours_only: see remove."""

    name: str
    type: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    config: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    replace_other: bool = False
    ours_only: bool = False


def check_desired(desired: Desired) -> Desired:
    """Return what is desired, its key as it will be sent, once all of it can be given to the CLI.

    Raises:
        Failure: C(openshell_name_invalid), C(credential_name_invalid), C(credential_missing), C(key_invalid),
            C(openshell_config_invalid), or one of the URL codes.

    """
    check_name("provider", desired.name)
    for name in desired.credentials:
        if not _VARIABLE.fullmatch(name) or _RESERVED.fullmatch(name):
            raise Failure(
                "credential_name_invalid",
                f"The credential of the provider {desired.name} is to be called {name!r}. OpenShell reads it from an environment "
                "variable of that name, so it has to be letters, digits and _, and none that programs take for themselves. "
                "Use OPENAI_API_KEY.",
            )
    cleaned = {name: clean_key(value) for name, value in desired.credentials.items()}
    if not cleaned or not all(cleaned.values()):
        raise Failure(
            "credential_missing",
            f"The provider {desired.name} has no credential, and OpenShell makes none without. For a server that wants no key "
            "give the word dummy.",
        )
    for name, value in desired.config.items():
        if not _VARIABLE.fullmatch(name) or not value or not value.isprintable():
            raise Failure(
                "openshell_config_invalid",
                f"The setting {name!r} of the provider {desired.name} is not a name of letters, digits and _ with a printable "
                "value. Correct it; to take a setting away leave it out.",
            )
        if name.endswith("_BASE_URL"):
            api = "anthropic-messages" if desired.type == "anthropic" else "openai-completions"
            parse_base_url(value, api, for_sandbox=True)
    return replace(desired, credentials=cleaned)


def loopback_warnings(desired: Desired) -> list[str]:
    found = []
    for name, value in desired.config.items():
        if name.endswith("_BASE_URL") and parse_base_url(value, "openai-completions", for_sandbox=True).is_loopback:
            found.append(
                f"{name} of the provider {desired.name} is a loopback address, which inside the sandbox means the sandbox itself. "
                "Use host.openshell.internal for a server on the gateway's host."
            )
    return found


STATE_NAME = "openshell-providers.json"
_KEY_BYTES = 32


def state_path(home: str) -> str:
    """Return where the file of the user with this home lies: beside the route record, with the same rules.

    Raises:
        Failure: C(home_refused).

    """
    return str(Path(record_path(home)).with_name(STATE_NAME))


@dataclass
class Remembered:
    """The file's content. The key is made on first use; without it, nothing in the file says anything about a secret."""

    key: str = field(default_factory=lambda: secrets.token_hex(_KEY_BYTES), repr=False)
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fingerprint(self, kind: str, credentials: Mapping[str, str], config: Mapping[str, str]) -> str:
        """Return what tells two settings of a provider apart, for who has the key."""
        content = json.dumps([kind, sorted(credentials.items()), sorted(config.items())])
        return hmac.new(self.key.encode(), content.encode(), hashlib.sha256).hexdigest()

    def holds(self, provider_id: str, version: int, fingerprint: str) -> bool:
        """Tell whether this version of the provider is what was given with this fingerprint."""
        entry = self.providers.get(provider_id, {})
        same = hmac.compare_digest(str(entry.get("fingerprint", "")), fingerprint)
        return same and entry.get("resource_version") == version

    def fingerprint_of(self, provider_id: str) -> str | None:
        """Return the fingerprint that was kept of a provider."""
        found = self.providers.get(provider_id, {}).get("fingerprint")
        return found if isinstance(found, str) else None


def read_state(path: str) -> Remembered:
    """Return what is remembered. A file that is absent, or that nobody can read any more, remembers nothing."""
    try:
        content = object_of(parse_json(read_file(path).decode("utf-8")))
    except (OSError, ValueError):
        return Remembered()
    key, providers = content.get("key"), object_of(content.get("providers"))
    if not isinstance(key, str) or len(key) < _KEY_BYTES:
        return Remembered()
    return Remembered(key, {name: entry for name, entry in providers.items() if isinstance(entry, dict)})


@dataclass
class Outcome:
    """What was found and what came of it."""

    before: ProviderSeen | None
    after: ProviderSeen | None
    changed: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fingerprint_before: str | None = None
    fingerprint_after: str | None = None

    @property
    def known_values(self) -> bool:
        """Tell whether these are the values that the provider was last given from here, whatever others did to it since."""
        return self.fingerprint_before is not None and self.fingerprint_before == self.fingerprint_after


def recall(cli: OpenShell) -> Remembered:
    """Return what was last given to the providers of this user's gateways from here."""
    path = state_path(cli.account.home)
    with acting_as(cli.account):
        return read_state(path)


def compare(desired: Desired, before: ProviderSeen | None, remembered: Remembered) -> Outcome:
    """Return what has to be done for a checked desired provider: nothing where this version of the provider is what was given last.

    Raises:
        Failure: C(provider_type_differs).

    """
    wanted = remembered.fingerprint(desired.type, desired.credentials, desired.config)
    outcome = Outcome(before, before, fingerprint_after=wanted, warnings=loopback_warnings(desired))
    if before is None:
        outcome.actions = [f"create {desired.name}"]
    else:
        outcome.fingerprint_before = remembered.fingerprint_of(before.id)
        if before.type.lower() != desired.type.lower():
            _refuse_other_type(desired, before)
            outcome.actions = [f"delete {desired.name} of type {before.type}", f"create {desired.name}"]
        elif not remembered.holds(before.id, before.resource_version, wanted) or desired.force:
            outcome.actions = [f"update {desired.name}"]
    outcome.changed = bool(outcome.actions)
    return outcome


def _refuse_other_type(desired: Desired, before: ProviderSeen) -> None:
    if desired.replace_other:
        return
    raise Failure(
        "provider_type_differs",
        f"The gateway has a provider {desired.name} of type {before.type}, and {desired.type} is wanted. OpenShell changes no type, "
        f"and between deleting and creating it the route reaches no server. Delete it (openshell provider delete {desired.name}), or allow "
        "that: replace: true for the module, sandbox_replace_provider: true for the role.",
        type=before.type,
    )
