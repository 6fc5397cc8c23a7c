# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real ufw, firewalld and nftables of Debian, each on a host with systemd and a Docker engine of its own.

They decide about all packets of their host, so they run in a container that has all of that, and is reached over ssh.
LAB_FIREWALL_IMAGE names its image (tests/lab_firewalls/build).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

COLLECTIONS = Path(failure.__file__).parents[5]
NETWORK, PORT = "openshell-docker", 11435
# What a host runs whose administrator writes the rules by hand: nothing comes in but ssh.
NFTABLES = """
table inet site {
  chain incoming {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport 22 accept
    reject
  }
}
"""
START = {
    "ufw": "ufw default reject incoming && ufw allow 22/tcp && ufw --force enable",
    # Docker puts its bridges into a zone that lets everything in; an administrator who wants less moves them.
    "firewalld": "systemctl start firewalld && firewall-cmd --zone=public --change-interface=br-openshell"
    " && firewall-cmd --permanent --zone=public --change-interface=br-openshell",
    "nftables": f"cat > /etc/nftables.conf <<'END'\n{NFTABLES}\nEND\nsystemctl start nftables",
}
STOP = {
    "ufw": "ufw --force reset",
    "firewalld": "systemctl stop firewalld",
    # The service takes all rules away, Docker's own as well.
    "nftables": "systemctl stop nftables && systemctl restart docker",
}


@dataclass(frozen=True)
class Host:
    """A host over ssh, and where its plays keep what they keep."""

    name: str
    address: str
    folder: Path
    bridge: str

    def sh(self, script: str) -> str:
        """Run a script as root, and return what it prints."""
        words = ["docker", "exec", "--interactive", self.name, "bash", "-euc", script]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def play(self, *tasks: dict[str, Any]) -> tuple[int, str]:
        """Run tasks as the user lab, and return the exit status and what was printed."""
        playbook = self.folder / "play.yml"
        (self.folder / "ansible.cfg").touch()
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
        ssh = f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=accept-new"
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), "-i", f"{self.address},"]
        command += ["-u", "lab", "--private-key", str(self.folder / "key"), "--ssh-common-args", ssh]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def open(self) -> tuple[int, str]:
        """Do what the role does once its module has said that the path is blocked."""
        blocked = {"host": "host.openshell.internal", "port": PORT, "network": NETWORK}
        settings = {
            "__sandbox_result": {"failure": blocked},
            "sandbox_backend": "none",
            "sandbox_route": {
                "provider": "ollama",
                "base_url_host": "http://127.0.0.1:11434/v1",
                "base_url_sandbox": f"http://host.openshell.internal:{PORT}/v1",
                "model": "qwen2.5:7b",
                "api": "openai-completions",
                "timeout": 180,
            },
        }
        return self.play(role("firewall", **settings))

    def probe(self) -> dict[str, Any]:
        """Return what the path is, as the user lab sees it."""
        module = {"nemoclaw.local_inference.sandbox_probe": {"port": PORT, "network": NETWORK}, "register": "found"}
        shown = {"ansible.builtin.debug": {"msg": "<<{{ found | to_json }}>>"}}
        status, said = self.play(module, shown)
        assert status == 0, said
        found: dict[str, Any] = json.loads(json.loads(f'"{re.search(r"<<(.*?)>>", said)[1]}"'))  # type: ignore[index]
        return found


def role(tasks_from: str, **settings: Any) -> dict[str, Any]:
    """Return the task that includes tasks of the role."""
    included = {"name": "nemoclaw.local_inference.sandbox", "tasks_from": tasks_from}
    return {"ansible.builtin.include_role": included, "vars": settings}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    folder, name = tmp_path_factory.mktemp("firewalls"), f"nemoclaw-test-{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    words = ["docker", "run", "--detach", "--name", name, "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN"]
    words += ["--security-opt=seccomp=unconfined", "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    words += ["--volume=/var/lib/docker", "--tmpfs=/run", "--tmpfs=/run/lock", os.environ["LAB_FIREWALL_IMAGE"]]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    try:
        booting = ["docker", "exec", name, "systemctl", "is-system-running", "--wait"]
        deadline = time.monotonic() + 60
        while subprocess.run(booting, capture_output=True, text=True, check=False).stdout.strip() != "running":
            assert time.monotonic() < deadline, "systemd did not boot"
            time.sleep(0.2)
        inspect = ["docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name]
        address = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
        made = Host(name, address, folder, "br-openshell")
        key = (folder / "key.pub").read_text(encoding="utf-8").strip()
        made.sh(f"install -D -o lab -g lab -m 0600 /dev/stdin /home/lab/.ssh/authorized_keys <<< '{key}'")
        made.sh("systemctl start docker")
        option = f"--opt com.docker.network.bridge.name={made.bridge}"
        made.sh(f"docker network create --driver bridge {option} {NETWORK}")
        made.sh(f"systemd-run --unit lab-server python3 -m http.server --bind 0.0.0.0 {PORT}")
        yield made
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=60, check=False)


@pytest.fixture(params=sorted(START))
def firewall(request: pytest.FixtureRequest, host: Host) -> Iterator[str]:
    host.sh(START[request.param])
    try:
        yield request.param
    finally:
        host.sh(STOP[request.param])


def test_the_path_is_opened_kept_open_and_closed(host: Host, firewall: str) -> None:
    found = host.probe()
    assert (found["outcome"], found["firewall"]) == ("blocked", firewall)
    if firewall == "nftables":
        # The role runs no command whose rule is gone after a reboot. It prints it, and it works.
        command = re.search(r"sudo (nft insert rule inet site incoming .*? accept)", found["hint"])
        assert command, found
        host.sh(command[1])
        assert host.probe()["outcome"] == "reachable"
        return
    before = rules(host, firewall)
    status, said = host.open()
    assert (status, "changed=0" in said) == (0, False), said
    assert rules(host, firewall) != before
    assert host.probe()["outcome"] == "reachable"

    for changes in (True, False):
        status, said = host.play(role("absent", sandbox_backend="none"))
        assert (status, "changed=0" not in said) == (0, changes), said
        assert rules(host, firewall) == before
    assert host.probe()["outcome"] == "blocked"


def rules(host: Host, firewall: str) -> str:
    """Return the rules as their firewall keeps them for the next boot."""
    kept = {"ufw": "cat /etc/ufw/user.rules", "firewalld": "firewall-cmd --permanent --zone=public --list-rich-rules"}
    return host.sh(kept[firewall])
