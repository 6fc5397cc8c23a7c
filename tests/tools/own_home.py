"""A plugin of pytest: each process that pytest-xdist starts gets an empty home of its own, in a mount namespace of its own.

Modules look homes up in the passwd database, so files of tests that run at the same time would find each other's notes there. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

# <linux/sched.h> and <linux/mount.h>; os.unshare is there from Python 3.12 on, and nothing that mounts.
_CLONE_NEWNS, _MS_BIND = 0x00020000, 4096


def pytest_configure() -> None:
    """Runs in the thread that runs the tests: the others of the process stay in the namespace of before, and start nothing."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if not worker:
        return
    folder = Path(os.environ["OWN_HOMES"])
    home = folder / worker
    home.mkdir(parents=True, mode=0o700)
    own = pwd.getpwuid(os.geteuid())
    lines = [
        ":".join(map(str, (*entry[:5], home if entry == own else entry.pw_dir, entry.pw_shell)))
        for entry in pwd.getpwall()
    ]
    passwd = home.with_suffix(".passwd")
    passwd.write_text("\n".join([*lines, ""]), encoding="utf-8")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(bytes(passwd), b"/etc/passwd", None, _MS_BIND, None):
        raise OSError(ctypes.get_errno(), "no home of its own for this process")
