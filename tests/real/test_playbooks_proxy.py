# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a fleet, of which some hosts have no auth proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import payloads
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

COLLECTIONS = Path(failure.__file__).parents[5]
LIMIT = 300  # seconds for one playbook; on two busy cores one has taken two minutes


def play(folder: Path, inventory: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook on this machine with nothing of the machine's own settings; what it keeps goes into the folder."""
    (folder / "ansible.cfg").touch()
    ours = ("ANSIBLE_", "NEMOCLAW_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        **payloads.environment(),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_a_rotation_passes_over_a_host_without_a_proxy(tmp_path: Path) -> None:
    """Of a fleet, some hosts use a server elsewhere: in 0.1.0 they failed."""
    rotation = ("-e", "nemoclaw_drop_previous_token=true", "nemoclaw.local_inference.rotate_token")
    done = play(tmp_path, "without-proxy,", *rotation)
    said = " ".join(done.stdout.split())
    assert (done.returncode, "This host has no proxy" in said, "changed=0" in said) == (0, True, True), said
    tagged = play(tmp_path, "without-proxy,", "--tags", "rotate", *rotation)
    assert (tagged.returncode, "nothing of this playbook would run" in " ".join(tagged.stdout.split())) == (2, True)
