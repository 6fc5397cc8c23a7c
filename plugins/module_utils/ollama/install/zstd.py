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
# What no other try and no newer package list can mend.
_NOT_ROOT = ("are you root", "Permission denied")
_LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock")
_WHY_ROOT = "which needs root: Ollama's archives are packed with zstd, and packages of the system are root's to install"


def converge(machine: Machine, check_mode: bool) -> dict[str, Any]:
    """Have zstd installed, unless only checking, and return C({changed, installed, package_manager, msg}).

    Raises:
        Failure: C(zstd_missing) where it is not apt's to install, C(zstd_not_installed) where apt could not, C(root_needed).

    """
    manager = find_package_manager(machine)
    if machine.find_command(PROGRAM):
        said = f"The program {PROGRAM} is there."
        return {"changed": False, "installed": True, "package_manager": manager, "msg": said}
    if manager != "apt":
        raise _missing(manager)
    if not check_mode:
        _install(machine)
    said = f"The package {PROGRAM} {'would be' if check_mode else 'was'} installed with apt-get, {_WHY_ROOT}."
    return {"changed": True, "installed": not check_mode, "package_manager": manager, "msg": said}


def _install(machine: Machine) -> None:
    answer = _apt(machine, _INSTALL)
    if answer.code not in (0, None) and not any(word in answer.output for word in (*_NOT_ROOT, *_LOCKED)):
        # A fresh image comes without package lists ("Unable to locate package"), and old lists name files that the mirror has no
        # more ("404 Not Found"). One source of several that cannot be asked is no reason to stop: the second try tells.
        updated = _apt(machine, _UPDATE)
        again = _apt(machine, _INSTALL)
        answer = updated if again.code and updated.code else again
    if answer.code == 0 and machine.find_command(PROGRAM):
        return
    said = [line.strip() for line in answer.output.splitlines() if line.startswith(("E:", "W:"))] or [
        answer.problem or ""
    ]
    if any(word in line for line in said for word in _NOT_ROOT):
        raise Failure(
            "root_needed", f"Ran apt-get install zstd, {_WHY_ROOT}: {said[0]}. Run the task with become: true."
        )
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
