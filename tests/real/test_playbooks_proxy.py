# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role proxy where there can be no gate: what a user reads, and that nothing was done before.

The hosts are facts, since a machine that runs the tests either has systemd or not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure

COLLECTIONS = Path(failure.__file__).parents[5]
LIMIT = 300  # seconds for one playbook; on two busy cores one has taken two minutes
PLAY = """
- name: Ask for a gate on hosts that cannot have one
  hosts: all
  gather_facts: false
  tasks:
    - name: Have the facts of the host, as inference_facts gives them
      ansible.builtin.set_fact:
        nemoclaw_host: "{{ facts }}"
        cacheable: true

    - name: Ask
      block:
        - name: Ask for a gate
          ansible.builtin.include_role:
            name: nemoclaw.local_inference.proxy
      rescue:
        - name: Keep the reason
          ansible.builtin.copy:
            dest: "{{ playbook_dir }}/{{ inventory_hostname }}.said"
            content: "{{ ansible_failed_task.name }}: {{ ansible_failed_result.msg }}"
            mode: "0600"
"""
OLLAMA = {"port": 11434, "address": "127.0.0.1", "scope": "loopback", "family": "ipv4", "uid": 1000, "user": "lab"}
OLLAMA |= {"pid": 7, "process": "ollama"}
OPEN = {**OLLAMA, "address": "0.0.0.0", "scope": "any"}
UNSEEN = {**OPEN, "address": "::", "family": "ipv6", "process": None, "user": None, "pid": None}
HOST = {
    "systemd": False,
    "package_manager": "apt",
    "proxy": {"nginx": "/usr/sbin/nginx", "account": True, "unit": False},
}
HOST |= {"user": {"name": "lab"}, "listeners": [OLLAMA]}
HOSTS = {
    "closed": HOST,
    "nothing-there": {**HOST, "listeners": []},
    "open": {**HOST, "listeners": [OPEN, OLLAMA]},
    "open-and-unseen": {**HOST, "listeners": [UNSEEN]},
    "another-port": {**HOST, "listeners": [{**OPEN, "port": 80}]},
    "not-looked-up": {**HOST, "listeners": None},
    "bare": {**HOST, "systemd": True, "package_manager": None, "proxy": {**HOST["proxy"], "nginx": None}},  # type: ignore[dict-item]
}


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
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_a_host_that_can_have_no_gate_is_told_so_and_how_open_it_is(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    inventory = {"all": {"hosts": {name: {"facts": facts} for name, facts in HOSTS.items()}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    done = play(tmp_path, str(tmp_path / "hosts.json"), str(tmp_path / "play.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    said = {name: (tmp_path / f"{name}.said").read_text(encoding="utf-8") for name in HOSTS}
    assert all(text.startswith("Check the host: ") for text in said.values()), said
    for name, text in said.items():
        assert ("does not run it. Boot the host with systemd" in text) == (name != "bare"), text
        assert ("OLLAMA_HOST=127.0.0.1:11434" in text) == name.startswith("open"), text
    for name in ("closed", "nothing-there", "another-port"):
        assert "Nothing was changed. Nothing on port 11434 is open to the network right now." in said[name]
    assert (
        "Port 11434 is open to the network right now, without a token: ollama of the user lab listens on 0.0.0.0."
        in said["open"]
    )
    assert "a process of the user 1000 listens on ::. Stop it" in said["open-and-unseen"]
    assert "look with ss -ltn whether port 11434 is open" in said["not-looked-up"]
    assert "this host does not have, and no package manager that could install it was found" in said["bare"]


def test_a_rotation_passes_over_a_host_without_a_proxy(tmp_path: Path) -> None:
    """Of a fleet, some hosts use a server elsewhere: in 0.1.0 they failed."""
    rotation = ("-e", "nemoclaw_drop_previous_token=true", "nemoclaw.local_inference.rotate_token")
    done = play(tmp_path, "without-proxy,", *rotation)
    said = " ".join(done.stdout.split())
    assert (done.returncode, "This host has no proxy" in said, "changed=0" in said) == (0, True, True), said
    tagged = play(tmp_path, "without-proxy,", "--tags", "rotate", *rotation)
    assert (tagged.returncode, "nothing of this playbook would run" in " ".join(tagged.stdout.split())) == (2, True)
