# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which package manager a host has, judged by the command being there and not by the distribution's name."""

from __future__ import annotations

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine

# Command -> name as Ansible calls it. By command presence as the page does for apt-get (nemoclaw-facts 2.2); dnf comes
# before yum, which on today's Fedora and RHEL is a link to it.
_MANAGERS = {
    "apt-get": "apt",
    "dnf": "dnf",
    "yum": "yum",
    "zypper": "zypper",
    "pacman": "pacman",
    "apk": "apk",
    "emerge": "portage",
    "xbps-install": "xbps",
}


def find_package_manager(machine: Machine) -> str | None:
    """Return the name of the first package manager found, or None."""
    return next((name for command, name in _MANAGERS.items() if machine.find_command(command)), None)
