"""A home of its own for a stage that runs modules on this machine: they look homes up in the passwd database, not in HOME.

So what the developer's NemoClaw, OpenShell and Docker keep there decides no test, and stages do not disturb each other.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess

from . import paths
from .run import Run

# In a mount namespace of its own, which ends with the command.
_UNSHARE = ("unshare", "--mount")
_ENTER = 'mount --bind "$0" /etc/passwd && exec "$@"'


def own(run: Run) -> list[object]:
    """Return what to put before a command so that the user's home is an empty folder; nothing where root's rights are missing."""
    if not possible():
        run.say("without root's rights this stage uses the home of the user")
        return []
    folder = paths.HOMES / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    passwd = folder.with_suffix(".passwd")
    passwd.write_text("".join(_line(account, str(folder)) for account in pwd.getpwall()), encoding="utf-8")
    passwd.chmod(0o644)
    return [*_UNSHARE, "sh", "-c", _ENTER, passwd]


def _line(account: pwd.struct_passwd, home: str) -> str:
    name, password, uid, gid, gecos, own_home, shell = account
    return f"{name}:{password}:{uid}:{gid}:{gecos}:{home if uid == os.geteuid() else own_home}:{shell}\n"


@functools.cache
def possible() -> bool:
    """Whether a stage can have a home of its own."""
    if os.geteuid() != 0:
        return False
    trial = [*_UNSHARE, "sh", "-c", _ENTER, "/etc/passwd", "true"]
    return subprocess.run(trial, capture_output=True, timeout=10, check=False).returncode == 0
