# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe against a real Docker engine, a bridge of its own, and real rules of the host's firewall."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import probe as openshell_probe
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.probe import Desired, probe

DESIRED = Desired(image="nemoclaw-no-such-image:1", timeout=2)


def command(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@dataclass(frozen=True)
class Lab:
    """A bridge network as OpenShell makes one."""

    network: str
    bridge: str
    subnet: str
    gateway: str


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() or not shutil.which("docker") or not shutil.which("iptables"):
        pytest.skip("firewall rules of a Docker bridge need root, docker and iptables")
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed (Debian package busybox-static)")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    name, device = f"nemoclaw-test-{secrets.token_hex(4)}", f"nlt{secrets.token_hex(4)}"
    options = ["--driver", "bridge", "--opt", f"com.docker.network.bridge.name={device}"]
    command("docker", "network", "create", *options, "--label", f"openshell.ai/managed-by={name}", name)
    try:
        found = command(
            "docker", "network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}", name
        )
        subnet, gateway = found.split()
        yield Lab(name, device, subnet, gateway)
    finally:
        command("docker", "network", "rm", name)
        subprocess.run(["docker", "rmi", openshell_probe.OWN_IMAGE], capture_output=True, check=False)


@pytest.fixture
def server(lab: Lab) -> Iterator[socket.socket]:
    """Return a socket that listens on all addresses, as the proxy does."""
    with socket.create_server(("0.0.0.0", 0)) as listening:
        yield listening


def run(lab: Lab, port: int, check_mode: bool = False, **options: object) -> dict[str, object]:
    desired = replace(DESIRED, network=lab.network, port=port, **options)  # type: ignore[arg-type]
    return probe(Machine(), find_account(), desired, check_mode)


@contextlib.contextmanager
def rule(*words: str) -> Iterator[None]:
    command("iptables", "-I", *words)
    try:
        yield
    finally:
        command("iptables", "-D", *words)


def test_the_way_is_open(lab: Lab, server: socket.socket) -> None:
    port = server.getsockname()[1]
    found = run(lab, port)
    assert (found["outcome"], found["reason"], found["hint"]) == ("reachable", "open", None)
    assert (found["subnet"], found["gateway"], found["network"]) == (lab.subnet, lab.gateway, lab.network)
    assert found["image"] == openshell_probe.OWN_IMAGE, "made of the host's busybox, since no registry has the other"
    again = run(lab, port)
    assert again["outcome"] == "reachable"
    assert not again["changed"]
    assert run(lab, port, check_mode=True)["outcome"] == "reachable"
    assert run(lab, port, host=lab.gateway)["outcome"] == "reachable"
    left = command("docker", "ps", "--all", "--quiet", "--filter", "name=^nemoclaw-probe-")
    assert left == "", "no container stays"


class _NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404, explain=self.path)

    def log_message(self, *_arguments: object) -> None:
        pass


def test_what_answers_over_http(lab: Lab, server: socket.socket) -> None:
    with ThreadingHTTPServer(("0.0.0.0", 0), _NotFound) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        found = run(lab, answering.server_address[1], path="/api/version")
        assert (found["outcome"], found["status"], found["engine"]) == ("reachable", 404, "native"), found["hint"]
        answering.shutdown()
    silent = run(lab, server.getsockname()[1], path="/api/version")
    assert (silent["outcome"], silent["status"]) == ("blocked", None)
    assert "no HTTP answer to GET /api/version" in str(silent["hint"])


@pytest.mark.parametrize("verdict", [["DROP"], ["REJECT"], ["REJECT", "--reject-with", "tcp-reset"]])
def test_a_firewall_blocks_it_and_the_hint_opens_it(lab: Lab, server: socket.socket, verdict: list[str]) -> None:
    port = server.getsockname()[1]
    with rule("INPUT", "-i", lab.bridge, "-p", "tcp", "--dport", str(port), "-j", *verdict):
        found = run(lab, port)
        assert (found["outcome"], found["reason"], found["firewall"]) == ("blocked", "firewall", "iptables")
        assert lab.subnet in str(found["hint"])
        assert str(found["command"]) in str(found["hint"])
        words = str(found["command"]).split()
        assert words[0] == "sudo"
        command(*words[1:])
        try:
            assert run(lab, port)["outcome"] == "reachable", "the printed command opens the way"
        finally:
            command(*("-D" if word == "-I" else word for word in words[1:]))
    assert run(lab, port)["outcome"] == "reachable"


def test_nobody_listens(lab: Lab) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
    found = run(lab, port)
    assert (found["outcome"], found["reason"], found["command"]) == ("blocked", "not_listening", None)


def test_a_server_on_loopback_is_named(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = run(lab, listening.getsockname()[1])
    assert (found["outcome"], found["reason"]) == ("blocked", "wrong_address")
    assert "127.0.0.1 alone" in str(found["hint"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "nemoclaw-no-such-network"}, "no network nemoclaw-no-such-network"),
        ({"network": "none"}, "IPv4 gateway"),
        ({"host": "no-such-host.invalid"}, "does not resolve"),
        ({"busybox": "/etc/hostname"}, "did not run"),
    ],
)
def test_what_cannot_be_probed_is_no_verdict(
    lab: Lab, server: socket.socket, options: dict[str, str], words: str
) -> None:
    if "busybox" in options:
        subprocess.run(["docker", "rmi", openshell_probe.OWN_IMAGE], capture_output=True, check=False)
    desired = replace(DESIRED, **{"network": lab.network, "port": server.getsockname()[1], **options})
    found = probe(Machine(), find_account(), desired, False)
    assert (found["outcome"], found["reason"]) == ("unavailable", "not_probed")
    assert words in str(found["hint"])
    if "busybox" in options:
        # It would stay, and be no better the next time.
        assert not command("docker", "images", "--quiet", openshell_probe.OWN_IMAGE)


def test_check_mode_makes_no_image(lab: Lab, server: socket.socket) -> None:
    subprocess.run(["docker", "rmi", openshell_probe.OWN_IMAGE], capture_output=True, check=False)
    found = run(lab, server.getsockname()[1], check_mode=True)
    assert found["outcome"] == "unavailable"
    assert not command("docker", "images", "--quiet", openshell_probe.OWN_IMAGE)
    assert run(lab, server.getsockname()[1])["changed"]


def test_the_real_rules_of_this_host_are_read() -> None:
    if not shutil.which("iptables"):
        pytest.skip("no iptables")
    assert openshell_probe.find_firewall(Machine()).kind in ("ufw", "firewalld", "nftables", "iptables")
