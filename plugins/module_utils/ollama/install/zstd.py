# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""zstd, which unpacks Ollama's archives: apt installs it, every other package manager's user is told the command (page, Ollama)."""

from __future__ import annotations

from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.packages import (
    find_package_manager,
    install,
)

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
    try:
        install(machine, "apt", [PROGRAM], _WHY_ROOT)
    except Failure as failure:
        # The code that this module has had from its first release.
        code = "zstd_not_installed" if failure.code == "package_not_installed" else failure.code
        raise Failure(code, failure.message, **failure.details) from None
    if not machine.find_command(PROGRAM):
        raise Failure(
            "zstd_not_installed",
            f"apt-get says that {PROGRAM} is installed, and no such program is found. Look at the package, or install zstd by hand.",
        )


def _missing(manager: str | None) -> Failure:
    command = _COMMANDS.get(manager or "")
    remedy = f"Run '{command}' as root" if command else "Install zstd by the means of the distribution"
    return Failure(
        "zstd_missing",
        f"Looked for the program zstd, which Ollama's archives need, and it is not installed. {remedy}, then run the play again.",
        package_manager=manager,
        command=command,
    )
