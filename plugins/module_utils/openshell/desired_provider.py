# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The provider that is wanted, and whether it can be given to OpenShell at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..failure import Failure
from ..transport.credentials import clean_key
from ..transport.url import parse_base_url

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
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


def check_name(what: str, name: str) -> None:
    """Raise C(openshell_name_invalid) for a name that the CLI could take for an option, or the gateway refuses."""
    if not NAME.fullmatch(name):
        raise Failure(
            "openshell_name_invalid",
            f"The {what} is to be called {name!r}. Use letters, digits, dots, - and _, beginning and ending with a letter or "
            "digit.",
        )


def loopback_warnings(desired: Desired) -> list[str]:
    found = []
    for name, value in desired.config.items():
        if name.endswith("_BASE_URL") and parse_base_url(value, "openai-completions", for_sandbox=True).is_loopback:
            found.append(
                f"{name} of the provider {desired.name} is a loopback address, which inside the sandbox means the sandbox itself. "
                "Use host.openshell.internal for a server on the gateway's host."
            )
    return found
