# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of four hosts, which are this machine with a route record each, and model servers that serve well or badly."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import payloads
import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import failure
from conftest import KEY, Llama

COLLECTIONS = Path(failure.__file__).parents[5]
REPO = Path(failure.__file__).parents[2]
LIMIT = 300  # seconds for one playbook; on two busy cores one has taken two minutes
HOSTS = ("h1", "h2", "h3", "h4")
OTHER_TIME = """
import time
_time, _gmtime, _localtime = time.time, time.gmtime, time.localtime
time.time = lambda: _time() + {seconds}
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
"""


@dataclass
class Fleet:
    """A controller with an inventory, and what its last playbook said."""

    folder: Path
    url: str
    output: str = ""

    @property
    def state_path(self) -> Path:
        return self.folder / "state" / "rollout.json"

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state_path.read_text(encoding="utf-8"))
        return found

    def states(self) -> dict[str, str]:
        return {host: one["state"] for host, one in self.state["hosts"].items()}

    def record(self, host: str) -> Path:
        return self.folder / host / "local-inference.json"

    def claimed(self) -> set[str]:
        """Return the hosts that a rollout has claimed."""
        return {host for host in HOSTS if self.record(host).with_name("local-inference.rollout.json").exists()}

    def routes(self) -> dict[str, str]:
        """Return where each host that has a route reaches its server."""
        return {
            host: json.loads(self.record(host).read_text(encoding="utf-8"))["base_url_host"]
            for host in HOSTS
            if self.record(host).exists()
        }

    def hosts(self) -> dict[str, dict[str, str]]:
        """Return each host with the server that it is to have, and one that does not answer."""
        found = {
            host: {
                "ansible_connection": "local",
                "nemoclaw_provider": "custom",
                "nemoclaw_endpoint_url": self.url,
                "nemoclaw_route_path": str(self.record(host)),
            }
            for host in HOSTS
        }
        # What a rollout begins with is that of its first host, and holds for the others.
        found["h1"]["rollout_state_path"] = str(self.state_path)
        # Of these two the clocks are off: what a rollout compares is the controller's time.
        for host, seconds in (("h2", -7 * 3600), ("h4", 365 * 86400)):
            found[host]["ansible_python_interpreter"] = str(self.python_at(host, seconds))
        return {**found, "down": {"ansible_connection": "ssh", "ansible_host": "nowhere.invalid"}}

    def python_at(self, host: str, seconds: int) -> Path:
        """Return a Python whose clock is off by so much."""
        folder = self.record(host).with_name("python")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(OTHER_TIME.format(seconds=seconds), encoding="utf-8")
        program = folder / "python"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        return program

    def start(
        self, *options: str, playbook: str = "nemoclaw.local_inference.rollout", hosts: Any = None
    ) -> subprocess.Popen[str]:
        """Start a playbook."""
        inventory = self.folder / "lab.json"
        inventory.write_text(
            json.dumps(
                {"all": {"hosts": hosts or self.hosts(), "vars": {"ansible_python_interpreter": sys.executable}}}
            ),
            encoding="utf-8",
        )
        (self.folder / "ansible.cfg").touch()
        ours = ("ANSIBLE_", "NEMOCLAW_", "PYTHON")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {
            "ANSIBLE_TIMEOUT": "2",
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "COMPATIBLE_API_KEY": KEY,
            **payloads.environment(),
        }
        settings = {
            "nemoclaw_model": "scripted",
            "sandbox_backend": "none",
            "rollout_waves": [1, "50%", "100%"],
            "rollout_soak": 0,
        }
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook]
        command += ["-i", str(inventory), "-e", json.dumps(settings), *options]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        )

    def play(self, *options: str) -> int:
        return self.end(self.start(*options))

    def end(self, process: subprocess.Popen[str]) -> int:
        """Wait for a playbook, and return its exit status."""
        self.output, _nothing = process.communicate(timeout=LIMIT)
        self.output = " ".join(self.output.split())
        assert "Traceback" not in self.output
        assert KEY not in self.output
        assert not self.state_path.exists() or KEY not in self.state_path.read_text(encoding="utf-8")
        return process.returncode

    def wait_for(self, host: str, state: str) -> None:
        """Wait until the controller knows that of the host."""
        until = time.monotonic() + LIMIT
        while not self.state_path.exists() or self.states().get(host) != state:
            assert time.monotonic() < until, f"{host} never was {state}"
            time.sleep(0.05)


def states(*of_hosts: str, down: str = "unreachable") -> dict[str, str]:
    return {**dict(zip(HOSTS, of_hosts)), "down": down}


@contextmanager
def way_to(choose: Callable[[], str]) -> Iterator[str]:
    """Forward each connection to the server that is chosen then, or close it at once where none is; yield the URL of the way."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # Either side has gone.
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with client:
            if url := choose():
                host, port = url.split("/")[2].split(":")
                with socket.create_connection((host, int(port))) as server:
                    back = threading.Thread(target=pump, args=(server, client), daemon=True)
                    back.start()
                    pump(client, server)
                    back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):  # The test is over.
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, llama: Llama) -> Fleet:
    """Return four hosts that have no route yet."""
    good = llama("good").base_url
    return Fleet(tmp_path_factory.mktemp("rollout"), good)


def test_a_rollout_in_three_waves_a_second_one_meanwhile_and_a_controller_that_dies(fleet: Fleet) -> None:
    first = fleet.start("-e", "rollout_soak=300")
    fleet.wait_for("h1", "changed")
    assert list(fleet.routes()) == ["h1"], "the canary, and nobody else"
    assert fleet.play() == 4
    assert f"process {first.pid}" in fleet.output
    assert "A rollout of this inventory runs already" in fleet.output
    assert "rollout_running" in fleet.output.rsplit("TASK [Show the results]", 1)[1], (
        "each host has its line all the same"
    )
    # Another controller, which has a file of its own, is told by the hosts, those included that no wave has reached.
    assert fleet.claimed() == set(HOSTS)
    assert fleet.play("-e", f"rollout_state_path={fleet.folder / 'elsewhere.json'}", "--limit", "h3,h4") == 2
    assert "A rollout of 2 of these hosts runs already (h3)" in fleet.output
    assert f"process {first.pid}. Nothing was changed." in fleet.output
    assert fleet.claimed() == set(HOSTS)
    # A controller that dies between two waves: its file says what it had reached, and holds nobody up.
    first.kill()
    first.communicate(timeout=LIMIT)
    assert list(fleet.routes()) == ["h1"]
    assert fleet.states() == states("changed", "untouched", "untouched", "untouched")
    begun = fleet.state["id"]
    assert fleet.play() == 4, "a host that is down is listed, and not fatal for the others"
    assert f"Rollout {begun} resumes" in fleet.output
    assert (
        "Wave 2: 1 host, h2 Wave 3: 2 hosts, h3, h4 Not in a wave, converged: h1 Not in a wave, unreachable: down"
        in fleet.output
    )
    assert "1 converged, 3 changed, 1 unreachable" in fleet.output
    assert list(fleet.routes()) == list(HOSTS)
    assert fleet.claimed() == set()
    assert (fleet.state["by"], fleet.state["finished"]) == (None, "")
    assert fleet.state_path.stat().st_mode & 0o777 == 0o600


def test_a_model_that_leaks_stops_after_the_canary(fleet: Fleet, llama: Llama) -> None:
    """It shows in the first wave alone, as with a model that has to be downloaded first."""
    before = {host: fleet.record(host).read_bytes() for host in HOSTS}
    ended, good, leaks = fleet.state["id"], llama("good").base_url, llama("leaks").base_url
    with way_to(lambda: good if fleet.state["id"] == ended else leaks) as url:
        assert fleet.play("-e", f"nemoclaw_endpoint_url={url}", "-e", "rollout_max_failures=2") == 4
    assert {host: fleet.record(host).read_bytes() for host in HOSTS} == before
    assert fleet.states() == states("refused", "untouched", "untouched", "untouched")
    assert "tool_calls_leaked on h1" in fleet.state["stopped"]
    assert "Stopped: 1 host of wave 1 failed the proof" in fleet.output
    assert "1 refused, 3 untouched, 1 unreachable" in fleet.output
    assert fleet.claimed() == set()


def test_no_site_has_more_hosts_at_a_download_than_it_may(fleet: Fleet) -> None:
    """With the keyword of the roles, on a task that says when it begins and ends."""
    tasks = [
        task
        for path in (
            "ollama/tasks/install.yml",
            "ollama/tasks/serve.yml",
            "vllm/tasks/serve.yml",
            "nim/tasks/serve.yml",
        )
        for task in yaml.safe_load((REPO / "roles" / path).read_text(encoding="utf-8"))
        if "throttle" in task
    ]
    keywords = {task["throttle"] for task in tasks}
    assert (len(tasks), len(keywords)) == (4, 1)
    log = fleet.folder / "downloads"
    script = f"echo {{{{ inventory_hostname }}}} >> {log}; sleep 0.5; echo {{{{ inventory_hostname }}}} >> {log}"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.raw": script, "throttle": keywords.pop()}],
    }
    (fleet.folder / "downloads.yml").write_text(json.dumps([play]), encoding="utf-8")
    fetches, nothing = {"download_bytes": 1}, {"download_bytes": 0, "download_unknown": False}
    sites = {
        **{f"a{number}": {"rollout_downloads": 1, "inference_plan": fetches} for number in range(3)},
        **{f"b{number}": {"rollout_downloads": 2, "inference_plan": fetches} for number in range(3)},
        **{f"c{number}": {"rollout_downloads": 1, "inference_plan": nothing} for number in range(3)},
    }
    hosts = {host: {**one, "ansible_connection": "local"} for host, one in sites.items()}
    assert fleet.end(fleet.start("--forks", "9", playbook="downloads.yml", hosts=hosts)) == 0
    at_work: set[str] = set()
    most: dict[str, int] = {}
    for host in log.read_text(encoding="utf-8").split():
        at_work ^= {host}
        most[host[0]] = max(most.get(host[0], 0), sum(one[0] == host[0] for one in at_work))
    assert (most["a"], most["b"] <= 2, most["c"] > 1) == (1, True, True), most
