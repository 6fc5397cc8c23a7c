# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible packs of each module for a host, kept from one play to the next: packing is a quarter of the CPU that a play takes.

Ansible itself keeps it for one run of ansible-playbook, in its temporary folder. What is packed follows from the sources alone, so a
folder of the suite stands in its place, one for each state of the sources. Without C(SHARED_PAYLOADS) each play packs for itself.

Another quarter is a host that compiles a module and all that it imports, each time that it is called. So their bytecode is packed as
well, once they are there: C(demo) and the benchmarks play what users have, which is without.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

CALLBACKS = Path(__file__).with_name("callback")
# Each state of the sources that a developer tests takes 30 MB.
_UNUSED_SECONDS = 24 * 3600.0


def folder(cache: Path, plugins: Path) -> Path:
    """Return the folder for these sources, and remove those that nobody has used for a day."""
    digest = hashlib.sha256()
    for path in sorted(plugins.rglob("*.py")):
        digest.update(f"{path.relative_to(plugins)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    found = cache / digest.hexdigest()[:12]
    found.mkdir(parents=True, exist_ok=True)
    os.utime(found)
    for other in cache.iterdir():
        if time.time() - other.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(other)
    return found


def environment(*callbacks: Path, shared: str = "", python: str = "") -> dict[str, str]:
    """Return what makes ansible-playbook use the folder, by default that of this process.

    callbacks: folders of others that it gets. python: one of the version that the hosts have, where that is not Ansible's own;
    C(LAB_PYTHON) has it for the lab's.
    """
    shared = shared or os.environ.get("SHARED_PAYLOADS", "")
    folders = [*callbacks, *([CALLBACKS] if shared else [])]
    settings = {
        "ANSIBLE_CALLBACK_PLUGINS": ":".join(map(str, folders)),
        "SHARED_PAYLOADS": shared,
        "PAYLOADS_PYTHON": python if shared else "",
    }
    return {name: value for name, value in settings.items() if value}
