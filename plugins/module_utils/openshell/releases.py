# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which releases of OpenShell are taken, what each can do, and how it routes sandboxes to a model (upstream-facts O1, O2, O13)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..failure import Failure

# The wire format changed just before.
OLDEST = (0, 0, 44)
# By the gateway's one inference route (up to 0.0.116), or by a provider that is attached to a sandbox (0.1).
ROUTE, ATTACHMENT = "route", "attachment"

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_PIN = "Install a release from 0.0.44 up to 0.0.116, for CLI and gateway alike (OPENSHELL_VERSION=v0.0.116 for its installer)."


@dataclass(frozen=True, order=True)
class Release:
    """A release such as 0.0.83, with the capabilities that the code asks for."""

    number: tuple[int, int, int]

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.number)

    @property
    def lists_providers_as_json(self) -> bool:
        """True since 0.0.64; older ones show one provider as text."""
        return self.number >= (0, 0, 64)

    @property
    def tells_status_as_json(self) -> bool:
        """True since 0.0.92."""
        return self.number >= (0, 0, 92)

    @property
    def deletes_routes(self) -> bool:
        """True since 0.0.88, which made C(inference delete)."""
        return self.number >= (0, 0, 88)

    @property
    def detaches(self) -> bool:
        """True since 0.0.111: C(sandbox create) ends when the sandbox is ready, without a session in it."""
        return self.number >= (0, 0, 111)


def parse_release(said: str) -> Release | None:
    """Return the first release that a text names, None where it names none."""
    found = _VERSION.search(said)
    return Release((int(found[1]), int(found[2]), int(found[3]))) if found else None


def check_release(said: str, path: str) -> Release:
    """Return the release that C(openshell --version) prints, where it is one that works.

    Raises:
        Failure: C(openshell_version_unknown), C(openshell_too_old), C(openshell_too_new).

    """
    release = parse_release(said)
    if release is None:
        raise Failure(
            "openshell_version_unknown",
            f"Asked {path} for its version, and it says {' '.join(said.split())[:100]!r}, which names no release (builds of "
            f"one's own and 0.0.28 to 0.0.30 do that). {_PIN}",
        )
    if release.number < OLDEST:
        raise Failure(
            "openshell_too_old",
            f"{path} is OpenShell {release}. Releases before 0.0.44 speak another protocol and keep their gateway in a "
            f"container. {_PIN}",
            version=str(release),
        )
    return release


def way_of(help_text: str, attach_help: str) -> str | None:
    """Return the way that a command line knows by its own help, None for neither. Releases that know both use the route."""
    if re.search(r"^\s*inference:?\s", help_text, re.MULTILINE):
        return ROUTE
    # Without a wait nobody knows when a sandbox has applied what was attached.
    return ATTACHMENT if "--wait" in attach_help else None


def check_way(release: Release, path: str, way: str | None, ways: tuple[str, ...]) -> str:
    """Return the way, where it is one of those that are asked for.

    Raises:
        Failure: C(openshell_too_new), C(openshell_too_old).

    """
    if way in ways:
        return str(way)
    if way == ATTACHMENT:
        raise Failure(
            "openshell_too_new",
            f"{path} is OpenShell {release}, which routes sandboxes by attached providers: 0.1.0 removed the inference route, so there is "
            "no "
            f"`openshell inference` and no https://inference.local in the sandbox, and that is what is asked for here. {_PIN} Or attach a "
            "provider with the module openshell_attachment (experimental). Sandboxes of older gateways have to be made again.",
            version=str(release),
        )
    if way == ROUTE:
        raise Failure(
            "openshell_too_old",
            f"{path} is OpenShell {release}, which routes all sandboxes of a gateway by one route and cannot wait for an attached "
            "provider; 0.1 "
            "can. Use openshell_provider and openshell_inference with this release.",
            version=str(release),
        )
    raise Failure(
        "openshell_too_new",
        f"{path} is OpenShell {release}, and its help has neither an inference route nor `sandbox provider attach --wait`: no way by which "
        f"this collection routes sandboxes to a model. {_PIN}",
        version=str(release),
    )
