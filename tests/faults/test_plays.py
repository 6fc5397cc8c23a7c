# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks that are broken off between two tasks. What happens within a task is in the other files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import lab_host
import llama_server
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import read_record
from harness import Table

# Seconds for one playbook; on two busy cores one has taken two minutes.
_PLAY_S = 300
CALLBACKS = Path(__file__).parent / "callback"


@dataclass(frozen=True)
class Controller:
    """Plays on this machine, with a folder of its own for all that Ansible and the collection keep."""

    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / ".nemoclaw" / "local-inference.json"

    def play(self, name: str, url: str, step: int = 0, blow: str = "SIGKILL") -> str:
        """Run a playbook for a server, have it broken off at a step, and return its recap; empty where it did not end well."""
        (self.folder / "ansible.cfg").touch()
        ours = ("ANSIBLE_", "NEMOCLAW_", "FAULT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(lab_host.COLLECTIONS),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "NEMOCLAW_ROUTE_PATH": str(self.record),
            "NEMOCLAW_PROVIDER": "custom",
            "NEMOCLAW_ENDPOINT_URL": url,
            "NEMOCLAW_MODEL": "scripted",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "break_off",
            "FAULT_BLOW": str(signal.Signals[blow].value),
            "FAULT_STEP": str(step),
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), f"nemoclaw.local_inference.{name}"]
        command += ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
        command += ["-e", "sandbox_backend=none"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PLAY_S, check=False)
        assert step or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return "" if done.returncode else done.stdout.rpartition("PLAY RECAP")[2]

    def url(self) -> str | None:
        """Return the address in the record."""
        found = read_record(str(self.record))
        return str(found["base_url_host"]) if found else None


def test_a_server_of_ones_own(table: Table, tmp_path: Path) -> None:
    """Set up, switched and removed, each broken off and begun again; until the end of a switch the record has the route before."""
    controller = Controller(tmp_path)
    with llama_server.serving() as one, llama_server.serving() as other:
        for playbook, url, before, after, blows in (
            ("site", one.base_url, None, one.base_url, {"SIGINT": 2, "SIGKILL": 6}),
            ("switch_model", other.base_url, one.base_url, other.base_url, {"SIGKILL": 6}),
            ("uninstall", other.base_url, other.base_url, None, {"SIGINT": 6}),
        ):
            for blow, step in blows.items():
                assert not controller.play(playbook, url, step, blow), f"{playbook} was done before task {step}"
                assert controller.url() == before
            assert controller.play(playbook, url)
            assert controller.url() == after
            assert " changed=0 " in controller.play(playbook, url)
            for blow in blows:
                table.row(f"{playbook}, custom", blow, 1, "answered" if before else "there was none")
