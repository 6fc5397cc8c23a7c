# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What ollama_install is asked for, and what its options are called in the role, for the sentences of its failures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..failure import Failure
from ..fetch import download
from ..fetch.source import Source
from ..fetch.staging import check_writable
from ..host.machine import Machine
from . import archive

_SOURCE = ("ollama_install_url", "ollama_install_checksum")
# By the codes whose remedy is one of the options.
VARIABLES: dict[str, tuple[str, ...]] = {
    "archive_not_found": ("ollama_version", "ollama_install_url"),
    "archive_unreadable": ("ollama_install_url",),
    "archive_invalid": _SOURCE,
    "checksum_invalid": ("ollama_install_checksum",),
    "checksum_mismatch": ("ollama_install_checksum",),
    "checksum_missing": ("ollama_install_checksum", "ollama_install_jetpack_checksum"),
    "download_interrupted": ("ollama_install_url",),
    "download_refused": ("ollama_install_url",),
    "download_stalled": ("ollama_install_url",),
    "download_unreachable": ("ollama_install_url",),
    "install_unwritable": ("ollama_install_mode",),
    "method_invalid": ("ollama_install_method", "ollama_install_mode"),
    "ollama_unusable": _SOURCE,
    "redirect_refused": ("ollama_install_url",),
    "script_failed": ("ollama_install_method",),
    "url_credentials": ("ollama_install_url",),
    "url_invalid": ("ollama_install_url",),
    "version_invalid": ("ollama_version", "ollama_minimum_version"),
    "version_mismatch": ("ollama_version", *_SOURCE),
}


def name_variables(failure: Failure) -> Failure:
    """Return the failure with the role's variables in its sentence, where its remedy is an option that they set."""
    names = VARIABLES.get(failure.code)
    if not names:
        return failure
    return Failure(failure.code, f"{failure.message} Variables of the role: {', '.join(names)}.", **failure.details)


SYSTEM_PREFIX = "/usr/local"


@dataclass(frozen=True)
class Desired:
    """What is wanted; see the options of the module."""

    version: str
    minimum_version: str | None
    method: str
    mode: str
    url: str | None
    checksum: str | None
    jetpack_url: str | None
    jetpack_checksum: str | None
    prefix: str | None
    port: int
    restart: bool
    timeout: float
    stall_timeout: float
    keep_previous: bool = False
    reinstall: bool = False


@dataclass
class Result:
    """What was found, and what is there now, or would be in check mode."""

    path: str | None
    previous_version: str | None
    previous_daemon: str | None
    version: str | None
    daemon_version: str | None
    unit: str | None = None  # text of a unit that was written
    previous: str | None = None  # the version that is kept
    source: str | None = None
    size: int | None = None
    changed: bool = False
    daemon_restarted: bool = False
    daemon_restart_needed: bool = False
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def plan(self, action: str) -> None:
        """Note something that is done, or would be in check mode."""
        self.changed = True
        self.actions.append(action)


def check_place(desired: Desired, prefix: str, program: str, path: str | None) -> None:
    """Stop where an installation could not do what is wanted.

    Args:
        desired: What is wanted.
        prefix: Where it would go.
        program: The file that it would be.
        path: The program that this host has now, too old or unreadable; None without one.

    Raises:
        Failure: C(root_needed), C(ollama_elsewhere), C(method_invalid).

    """
    if desired.method == "script" and (desired.mode == "user" or prefix != SYSTEM_PREFIX):
        raise Failure(
            "method_invalid",
            f"The script installs for the whole host, in {SYSTEM_PREFIX}. Use method: archive for mode: user or another prefix.",
        )
    if desired.mode == "system" and os.geteuid() != 0:
        raise Failure(
            "root_needed",
            "The mode system installs for the whole host, which only root may do. Run the task with become: true, or set mode: user. "
            "Nothing was changed.",
        )
    if path not in (None, program):
        raise Failure(
            "ollama_elsewhere",
            f"There is an Ollama that is too old or does not tell its version at {path}, and a new one in {prefix} would leave it there. "
            "Remove it, or give its folder by prefix (the one that has bin/ollama). Nothing was changed.",
            path=path,
        )


def foresee(machine: Machine, desired: Desired, place: Path, sources: list[Source], result: Result) -> None:
    """Say in check mode whether the files are there and how large they are, whether they fit, and what is missing.

    Raises:
        Failure: What the installation itself would stop at.

    """
    folder = check_writable(place)
    sizes = [download.foresee(source, desired.stall_timeout) for source in sources]
    result.size = None if None in sizes else sum(filter(None, sizes))
    if desired.method == "archive":
        download.check_room(folder, result.size)
        try:
            archive.check_zstd(sources[0], machine)
        except Failure as failure:
            result.warnings.append(failure.message)  # a task before this one may install it, which check mode does not
