# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""zstd, which unpacks Ollama's archives: apt installs it, every other package manager's user is told the command (page, Ollama)."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.commands import CommandResult
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.packages import find_package_manager

PROGRAM = "zstd"
# By the names that find_package_manager gives.
_COMMANDS = {
    "apt": "apt-get install zstd",
    "dnf": "dnf install zstd",
    "yum": "yum install zstd",
    "zypper": "zypper install zstd",
    "pacman": "pacman -S zstd",
    "apk": "apk add zstd",
    "portage": "emerge app-arch/zstd",
    "xbps": "xbps-install zstd",
}
# As the page's own step: nothing recommended along with it. A fleet's unattended upgrades may hold the lock for minutes.
_INSTALL = ("-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install", PROGRAM)
_UPDATE = ("-q", "update")
_INSTALL_LIMIT_S = 600.0
_NO_LISTS = "Unable to locate package"


def converge(machine: Machine, check_mode: bool) -> dict[str, Any]:
    """Have zstd installed, unless only checking, and return C({changed, installed, package_manager}).

    Raises:
        Failure: C(zstd_missing) where it is not apt's to install, C(zstd_not_installed) where apt could not, C(root_needed).

    """
    manager = find_package_manager(machine)
    if machine.find_command(PROGRAM):
        return {"changed": False, "installed": True, "package_manager": manager}
    if manager != "apt":
        raise _missing(manager)
    if not check_mode:
        _install(machine)
    return {"changed": True, "installed": not check_mode, "package_manager": manager}


def _install(machine: Machine) -> None:
    answer = _apt(machine, _INSTALL)
    if answer.code != 0 and _NO_LISTS in answer.output:
        # A fresh image comes without package lists, and old lists name versions that are gone.
        updated = _apt(machine, _UPDATE)
        answer = _apt(machine, _INSTALL) if updated.code == 0 else updated
    if answer.code == 0 and machine.find_command(PROGRAM):
        return
    said = [line.strip() for line in answer.output.splitlines() if line.startswith(("E:", "W:"))] or [
        answer.problem or ""
    ]
    if any("are you root" in line or "Permission denied" in line for line in said):
        raise Failure("root_needed", f"Ran apt-get install zstd: {said[0]}. Run the task with become: true.")
    raise Failure(
        "zstd_not_installed",
        f"Ran apt-get install zstd: {' '.join(said)[:400] or f'exit code {answer.code}'}. Check the host's package sources and its way "
        "to them, or install zstd by hand.",
    )


def _apt(machine: Machine, words: tuple[str, ...]) -> CommandResult:
    path = machine.find_command("apt-get") or "/usr/bin/apt-get"
    quiet = Machine(machine.root, {**machine.environ, "DEBIAN_FRONTEND": "noninteractive"})
    return quiet.run([path, *words], _INSTALL_LIMIT_S)


def _missing(manager: str | None) -> Failure:
    command = _COMMANDS.get(manager or "")
    remedy = f"Run '{command}' as root" if command else "Install zstd by the means of the distribution"
    return Failure(
        "zstd_missing",
        f"Looked for the program zstd, which Ollama's archives need, and it is not installed. {remedy}, then run the play again.",
        package_manager=manager,
        command=command,
    )
