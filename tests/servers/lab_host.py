# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of a test's own: a container that boots systemd and is reached over ssh as the user lab, with sudo.

For what may not happen on the machine that runs the tests: it is made for one test file and removed after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import payloads
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

COLLECTIONS = Path(failure.__file__).parents[5]
_BOOT_S = 60
_PLAY_S = 300


@dataclass(frozen=True)
class Played:
    """What a playbook did: its exit status, what it printed (white space joined), and the result of each task."""

    status: int
    said: str
    changed: int = field(default=0)


@dataclass(frozen=True)
class LabHost:
    """A host over ssh, and where its plays keep what they keep."""

    name: str
    address: str
    folder: Path

    def sh(self, script: str, user: str = "root", fails: bool = False, limit_s: float = 120) -> str:
        """Run a script as a user, and return what it prints on both outputs."""
        words = ["docker", "exec", "--interactive", "--user", user, self.name, "bash", "-euc", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
        assert fails or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def put(self, path: str, content: str, mode: str = "0644") -> None:
        """Write a file as root."""
        words = ["docker", "exec", "--interactive", self.name, "install", "-D", "-m", mode, "/dev/stdin", path]
        subprocess.run(words, input=content, text=True, check=True, capture_output=True, timeout=30)

    def copy_code(self, folder: str) -> None:
        """Put the collection's own code into a folder, from where Python on the host imports it."""
        top = "ansible_collections/nemoclaw/local_inference"
        packing = ["tar", "-C", str(COLLECTIONS), "--exclude=__pycache__", "-ch", f"{top}/plugins"]
        packed = subprocess.run(packing, check=True, capture_output=True, timeout=60).stdout
        self.sh(f"mkdir -p {folder}")
        words = ["docker", "exec", "--interactive", self.name, "tar", "-x", "-C", folder]
        subprocess.run(words, input=packed, check=True, capture_output=True, timeout=60)

    def play(self, tasks: list[dict[str, Any]], *words: str, **settings: Any) -> Played:
        """Play tasks as the user lab over ssh, with C(words) as arguments of ansible-playbook."""
        playbook = self.folder / "play.yml"
        content = [{"hosts": "all", "gather_facts": False, "vars": settings, "tasks": tasks}]
        playbook.write_text(json.dumps(content), encoding="utf-8")
        return self.playbook(str(playbook), *words)

    def playbook(self, name: str, *words: str, **environment: str) -> Played:
        """Play a playbook as the user lab over ssh."""
        (self.folder / "ansible.cfg").touch()
        ssh = f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=accept-new"
        ours = ("ANSIBLE_", "NEMOCLAW_", "PYTHON")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        environ |= {
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            **payloads.environment(python=os.environ.get("LAB_PYTHON", "")),
            **environment,
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), name, "-i", f"{self.address},"]
        command += ["-u", "lab", "--private-key", str(self.folder / "key"), "--ssh-common-args", ssh, *words]
        # A session of its own, as in a terminal: Ctrl-C reaches all of its processes, and nobody else's.
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=_PLAY_S, check=False, start_new_session=True
        )
        said = " ".join((done.stdout + done.stderr).split())
        changed = said.rpartition("changed=")[2].split(" ")[0]
        return Played(done.returncode, said, int(changed) if changed.isdigit() else 0)


@contextlib.contextmanager
def booted(image: str, folder: Path, *options: str) -> Iterator[LabHost]:
    """Have a host until the block ends; C(options): more of docker's."""
    name = f"nemoclaw-test-{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    words = [
        "docker",
        "run",
        "--detach",
        "--name",
        name,
        "--hostname",
        name,
        "--cap-add=SYS_ADMIN",
        "--cap-add=NET_ADMIN",
    ]
    words += ["--security-opt=seccomp=unconfined", "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    words += ["--volume=/var/lib/docker", "--tmpfs=/run", "--tmpfs=/run/lock", *options, image]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    try:
        booting = ["docker", "exec", name, "systemctl", "is-system-running", "--wait"]
        deadline = time.monotonic() + _BOOT_S
        while subprocess.run(booting, capture_output=True, text=True, check=False).stdout.strip() != "running":
            assert time.monotonic() < deadline, "systemd did not boot"
            time.sleep(0.2)
        inspect = ["docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]
        address = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
        host = LabHost(name, address, folder)
        key = (folder / "key.pub").read_text(encoding="utf-8").strip()
        host.sh(f"install -D -o lab -g lab -m 0600 /dev/stdin /home/lab/.ssh/authorized_keys <<< '{key}'")
        yield host
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=60, check=False)
