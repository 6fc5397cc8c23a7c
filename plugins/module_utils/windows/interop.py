# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The way from WSL to Windows: whether there is one, where powershell.exe is, and why it could not be started."""

from __future__ import annotations

import configparser
import re

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import read_platform
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.wsl import INTEROP_ENTRIES

WSL_CONF = "/etc/wsl.conf"
_SOCKETS = "/run/WSL"
_FOLDERS = ("Windows/System32/WindowsPowerShell/v1.0", "WINDOWS/System32/WindowsPowerShell/v1.0")
_NAME = "powershell.exe"


def find_powershell(machine: Machine) -> str:
    """Return the path of powershell.exe as Linux sees it.

    Raises:
        Failure: C(not_wsl), C(wsl_interop_off), C(powershell_missing).

    """
    platform = read_platform(machine)
    if platform.name != "wsl":
        raise Failure(
            "not_wsl",
            f"Asked for Ollama on the Windows side of WSL, but this host is not WSL: {platform.evidence}. Use the provider ollama "
            "here, or run this on a WSL host.",
        )
    root = mount_root(machine)
    folders = [f"{root}{drive}/{folder}" for drive in _drives(machine, root) for folder in _FOLDERS]
    path = machine.find_command(_NAME, folders)
    if path is None:
        raise Failure(
            "powershell_missing",
            f"Looked for {_NAME} on PATH and in {', '.join(folders[:2])}, and found none. Windows' drive has to be mounted in WSL "
            f"(section automount of {WSL_CONF}), or the folder of {_NAME} has to be on PATH. {WSL_CONF} is read when WSL "
            "starts: run 'wsl.exe --shutdown' on Windows after a change.",
            diagnosis=[f"ls {root}", f"cat {WSL_CONF}", "mount -t drvfs,9p"],
        )
    return path


def mount_root(machine: Machine) -> str:
    """Return below which folder Windows' drives are mounted, with a slash at its end; C(/mnt/) by default."""
    root = _setting(machine, "automount", "root") or "/mnt/"
    return root.rstrip("/") + "/"


def _drives(machine: Machine, root: str) -> list[str]:
    """Return the drives by their letters, C first."""
    return sorted(
        {"c", *(name for name in machine.names(root) if re.fullmatch("[a-z]", name))}, key=lambda one: one != "c"
    )


def environment(machine: Machine) -> dict[str, str]:
    """Return what a Windows program is started with.

    Over SSH and below systemd nobody sets WSL_INTEROP, which names the socket of the session; the first one, of WSL's own
    init, serves everybody. An OLLAMA_HOST of the Linux side must not travel along by WSLENV.
    """
    environ = {name: value for name, value in machine.environ.items() if name not in ("OLLAMA_HOST", "WSLENV")}
    sockets = [name for name in machine.names(_SOCKETS) if re.fullmatch(r"\d+_interop", name)]
    given = environ.get("WSL_INTEROP")
    if sockets and not (given and machine.exists(given)):
        environ["WSL_INTEROP"] = f"{_SOCKETS}/{min(sockets, key=lambda name: int(name.partition('_')[0]))}"
    return environ


def interop_failure(machine: Machine, path: str, said: str) -> Failure:
    """Return why a Windows program cannot be started, by what the host's files say."""
    remedy = "Run 'wsl.exe --shutdown' on Windows afterwards, and the play again."
    if (_setting(machine, "interop", "enabled") or "true").lower() in ("false", "0", "no"):
        why = f"{WSL_CONF} has enabled = false in its section interop. Set it to true. {remedy}"
    elif not any(machine.exists(entry) for entry in INTEROP_ENTRIES):
        why = (
            f"The kernel's entry {INTEROP_ENTRIES[0]} is gone, which another binfmt service removes sometimes. Restart WSL: run 'wsl.exe "
            "--shutdown' on Windows, and the play again."
        )
    else:
        why = f"The kernel's entry is there, so WSL's own side of it does not work. {remedy}"
    return Failure(
        "wsl_interop_off",
        f"Tried to start {path}, and WSL starts no Windows programs ({said}). {why}",
        diagnosis=[f"cat {INTEROP_ENTRIES[0]}", f"cat {WSL_CONF}", f"ls {_SOCKETS}", "cmd.exe /c ver"],
    )


def _setting(machine: Machine, section: str, key: str) -> str | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(machine.read(WSL_CONF) or "")
        return parser.get(section, key).strip().strip('"')
    except configparser.Error:
        return None
