# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""OpenShell in a pinned release: fetched, compared, tried, and only then put in the place of what was there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..fetch import download
from ..fetch.staging import Staging, check_writable
from ..host.accounts import Account
from ..host.machine import Machine
from ..jobs.progress import silent
from .archives import (
    COMPONENTS,
    sources,
    take_out,
)
from .releases import (
    Release,
    check_release,
    parse_release,
)

SYSTEM_PREFIX = "/usr/local"
_RUN_LIMIT_S = 30.0
_VERSION = re.compile(r"v?\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Desired:
    """What is wanted; see the options of the module."""

    version: str
    components: Sequence[str] = ("cli",)
    url: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    mode: str = "system"
    prefix: str | None = None
    stall_timeout: float = 60.0


# Its archives were not looked at, and what it sets up is routed otherwise.
_FIRST_OTHERWISE = (0, 1, 0)


class Installation:
    """One run of the module on one host, as the user that it runs as."""

    def __init__(self, machine: Machine, account: Account, desired: Desired) -> None:
        self._machine, self._account, self._desired = machine, account, desired
        if not _VERSION.fullmatch(desired.version):
            raise Failure(
                "version_invalid",
                f"{desired.version!r} is no release of OpenShell. Write it like 0.0.83, without wildcards (sandbox_openshell_version).",
            )
        # No other release works with the roles of this collection.
        self._release = check_release(desired.version, "What is to be installed")
        if self._release.number >= _FIRST_OTHERWISE:
            raise Failure(
                "openshell_too_new",
                f"OpenShell {self._release} was to be installed, and this module installs 0.0.44 to 0.0.116: 0.1 has no inference route, "
                "which the roles set up. Give such a release, or install 0.1 by its own installer and use openshell_attachment with it "
                "(experimental).",
                version=str(self._release),
            )
        self._prefix = desired.prefix or (SYSTEM_PREFIX if desired.mode == "system" else f"{account.home}/.local")

    def converge(self, check_mode: bool) -> dict[str, Any]:
        """Have the components in that release, unless only checking.

        Raises:
            Failure: With the codes of docs/failure-codes.md, sections OpenShell and Installation.

        """
        desired, machine = self._desired, self._machine
        found = {name: self._look(name) for name in desired.components if name in COMPONENTS}
        asked = sources(str(self._release), desired.components, machine, desired.url, desired.checksums)
        lacking = [name for name in desired.components if found[name][1] != self._release]
        before = {name: str(release) if release else None for name, (_path, release) in found.items()}
        result: dict[str, Any] = {
            "changed": bool(lacking),
            "version": str(self._release),
            "previous": before,
            "paths": {
                name: self._target(name) if name in lacking else path for name, (path, _release) in found.items()
            },
            "actions": [f"install {asked[name]} as {self._target(name)}" for name in lacking],
            "size": None,
            "diff": {
                "before": "".join(f"{name}: {before[name] or 'none'}\n" for name in lacking),
                "after": "".join(f"{name}: {self._release}\n" for name in lacking),
            },
        }
        for name in lacking:
            self._check_place(found[name][0], name)
        if lacking and check_mode:
            folder = check_writable(machine.path(self._prefix))
            sizes = [download.foresee(asked[name], desired.stall_timeout) for name in lacking]
            result["size"] = None if None in sizes else sum(filter(None, sizes))
            download.check_room(folder, result["size"])
        elif lacking:
            result["size"] = self._install({name: asked[name] for name in lacking})
        elif not check_mode:
            self._staging(desired.components).tidy()
        return result

    def _staging(self, components: Iterable[str]) -> Staging:
        return Staging(self._machine.path(self._prefix), "OpenShell", [COMPONENTS[name].place for name in components])

    def _look(self, name: str) -> tuple[str | None, Release | None]:
        """Return where the program of a component is found, and its release; None for what it does not tell."""
        program = COMPONENTS[name].program
        if self._desired.prefix:
            path = self._target(name) if self._machine.exists(self._target(name)) else None
        else:
            path = self._machine.find_command(program, [f"{self._account.home}/.local/bin"])
        return path, self._ask(path) if path else None

    def _target(self, name: str) -> str:
        return f"{self._prefix}/{COMPONENTS[name].place}"

    def _ask(self, path: str) -> Release | None:
        answer = self._machine.run([path, "--version"], _RUN_LIMIT_S)
        return parse_release(answer.output) if answer.code == 0 else None

    def _check_place(self, path: str | None, name: str) -> None:
        if self._desired.mode == "system" and not self._desired.prefix and os.geteuid() != 0:
            raise Failure(
                "root_needed",
                "The mode system installs for the whole host, which only root may do. Run the task with become: true, or set mode: "
                "user. Nothing was changed.",
            )
        if path not in (None, self._target(name)):
            raise Failure(
                "openshell_elsewhere",
                f"This host finds {path}, which is not OpenShell {self._release}, and a new one in {self._prefix}/bin would leave it "
                "there. Remove it (a package by the package manager), or give its folder by prefix. Nothing was changed.",
                path=path,
            )

    def _install(self, asked: Mapping[str, Any]) -> int:
        staging = self._staging(asked)
        staging.open()
        size = 0
        try:
            for name, source in asked.items():
                fetched = download.fetch(source, staging.folder, self._desired.stall_timeout, silent)
                size += fetched.size
                with fetched.file:
                    self._prove(take_out(fetched.file, source, COMPONENTS[name], staging.tree), source)
            try:
                staging.swap()
            except BaseException:  # Ctrl-C as well: close() removes what was there before
                staging.undo()
                raise
        except OSError as error:
            raise Failure(
                "install_failed",
                f"Installing OpenShell {self._release} to {self._prefix} failed: {error}. {staging.outcome}",
            ) from error
        finally:
            staging.close()
        return size

    def _prove(self, program: Path, source: Any) -> None:
        """Run a program where it was unpacked.

        Raises:
            Failure: C(openshell_unusable), C(version_mismatch).

        """
        answer = Machine(environ=self._machine.environ).run([str(program), "--version"], _RUN_LIMIT_S)
        found = parse_release(answer.output) if answer.code == 0 else None
        if found is None:
            said = " ".join(answer.output.split())[:300] or answer.problem or f"exit code {answer.code}"
            raise Failure(
                "openshell_unusable",
                f"Ran the program of {source} before installing it, and it does not work on this host: {said}. Check that the archive "
                "is for this architecture and that the host's C library is new enough for it. What was there before is untouched.",
            )
        if found != self._release:
            raise Failure(
                "version_mismatch",
                f"{source} holds OpenShell {found}, and {self._release} is wanted. Correct version, url or checksums. What was there "
                "before is untouched.",
                found=str(found),
            )
