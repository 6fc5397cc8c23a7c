# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of the way from the sandboxes: what a docker command says, and which firewall a host runs.

The docker command here is a script that knows five commands and refuses the rest: what a real engine does not do on request
(Docker Desktop, a network without addresses, an engine that hangs). The real engine is in tests/real/test_sandbox_probe.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Machine,
    find_account,
    run_command,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import network
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.probe import (
    _CLOSED,
    _SCRIPT,
    Desired,
    Firewall,
    allow_command,
    find_firewall,
    input_chain,
    probe,
)

NETWORK: dict[str, Any] = {
    "Id": "0123456789abcdef",
    "Options": {},
    "IPAM": {
        "Config": [{"Subnet": "fd00::/64", "Gateway": "fd00::1"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]
    },
}
# 0.0.0.0:11435 listens, as /proc/net/tcp has it.
LISTENING = "  sl\n   0: 00000000:2CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1 1\n"

_DOCKER = """#!/bin/sh
case "$1 $2" in
  "info --format") {info} ;;
  "network inspect") [ "$3" = "{name}" ] || exit 1; echo '[{network}]' ;;
  "network ls") [ "{name}" = bridge ] || echo "{name}" ;;
  "image inspect") [ "$3" = "there:1" ] || exit 1; echo '[{{"Id": "1"}}]' ;;
  "pull --quiet") echo "Error response from daemon: no route to the registry" >&2; exit 1 ;;
  "run --rm") {run} ;;
  *) echo "this stand-in knows no docker $*" >&2; exit 99 ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    """Return a function that gives a host with the docker command and the files that a case needs."""

    def get(
        run: str = "exit 0",
        info: str = 'echo "20.10.24|Debian GNU/Linux 12"',
        name: str = "openshell-docker",
        network: dict[str, Any] | None = None,
        files: dict[str, str] | None = None,
        programs: dict[str, str] | None = None,
    ) -> Machine:
        programs = {
            "docker": _DOCKER.format(run=run, info=info, name=name, network=json.dumps(network or NETWORK)),
            **(programs or {}),
        }
        for program, body in programs.items():
            path = tmp_path / "bin" / program
            path.parent.mkdir(exist_ok=True)
            path.write_text(body if body.startswith("#!") else f"#!/bin/sh\n{body}\n", encoding="utf-8")
            path.chmod(0o755)
        for file, text in {"/proc/net/tcp": LISTENING, **(files or {})}.items():
            (tmp_path / file.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.lstrip("/")).write_text(text, encoding="utf-8")
        return Machine(root=tmp_path, environ={"PATH": "/bin", "HOME": "/"})

    return get


def ask(machine: Machine, **options: Any) -> dict[str, Any]:
    check_mode = options.pop("check_mode", False)
    return probe(machine, find_account(), replace(Desired(image="there:1"), **options), check_mode)


DESKTOP = 'echo "24.0|Docker Desktop"'
WINDOWS = "host.docker.internal"
CLOSED = 'echo "nemoclaw-probe: nc: timed out" >&2; exit 1'


@pytest.mark.parametrize(
    ("case", "outcome", "words"),
    [
        ({}, "reachable", ""),
        ({"name": "by-its-label"}, "reachable", ""),
        ({"run": CLOSED}, "blocked", "172.18.0.0/16"),
        ({"run": CLOSED, "files": {"/proc/net/tcp": ""}}, "blocked", "nothing listens on port 11435"),
        ({"run": CLOSED, "info": DESKTOP}, "unavailable", "Docker Desktop"),
        ({"run": CLOSED, "info": DESKTOP, "host": WINDOWS}, "blocked", "-Protocol TCP -LocalPort 11435 "),
        ({"run": CLOSED, "host": WINDOWS}, "blocked", "172.18.0.0/16"),
        ({"run": "exit 125"}, "unavailable", "did not run"),
        ({"run": "echo boom >&2; exit 1"}, "unavailable", "boom"),
        ({"run": 'echo "nemoclaw-probe: nc: bad address" >&2; exit 1'}, "unavailable", "does not resolve"),
        ({"info": "echo 'permission denied' >&2; exit 1"}, "unavailable", "permission denied"),
        ({"info": "echo"}, "unavailable", "does not answer"),
        ({"network": {"IPAM": {"Config": []}}}, "unavailable", "no IPv4 gateway"),
        ({"network": {"IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}}}, "unavailable", "no IPv4 gateway"),
        ({"network": {"IPAM": None}}, "unavailable", "no IPv4 gateway"),
        ({"name": ""}, "unavailable", "no network openshell-docker"),
    ],
)
def test_outcomes(machine: Any, case: dict[str, Any], outcome: str, words: str) -> None:
    host = case.get("host", "host.openshell.internal")
    found = ask(machine(**{name: value for name, value in case.items() if name != "host"}), host=host)
    assert found["outcome"] == outcome
    assert words in (found["hint"] or "")
    assert (found["hint"] is None) == (outcome == "reachable")
    assert found["changed"] is False


@pytest.mark.parametrize(
    ("run", "info", "status", "engine"),
    [
        ("exit 0", DESKTOP, None, "desktop"),
        ('echo "nemoclaw-answer: HTTP/1.1 401 Unauthorized"', DESKTOP, 401, "desktop"),
        ('echo "nemoclaw-answer: HTTP/1.0 200 OK"', 'echo "20.10.24|Debian"', 200, "native"),
    ],
)
def test_what_answered(machine: Any, run: str, info: str, status: int | None, engine: str) -> None:
    found = ask(machine(run=run, info=info), path="/v1/models/qwen2.5:14b")
    assert (found["outcome"], found["status"], found["engine"]) == ("reachable", status, engine)


@pytest.mark.parametrize(
    ("options", "network"),
    [
        ({"fallback_network": "bridge"}, "bridge"),
        ({}, None),
        ({"network": "other", "fallback_network": "bridge"}, "other"),
    ],
)
def test_where_openshell_has_no_network_yet(machine: Any, options: dict[str, str], network: str | None) -> None:
    found = ask(machine(name="bridge"), **options)
    assert found["network"] == network
    assert found["outcome"] == ("reachable" if network == "bridge" else "unavailable")


def test_without_docker_nothing_is_said_about_the_way(tmp_path: Path) -> None:
    found = ask(Machine(root=tmp_path, environ={}))
    assert (found["outcome"], found["network"]) == ("unavailable", None)
    assert "no docker command" in found["hint"]


def test_an_engine_that_hangs(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CALL_LIMIT_S", 0.2)
    found = ask(machine(info="exec sleep 60"))
    assert found["outcome"] == "unavailable"
    assert "did not end within" in found["hint"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_no_image_and_none_to_make(machine: Any, check_mode: bool) -> None:
    found = ask(machine(), image="absent:1", check_mode=check_mode)
    assert found["outcome"] == "unavailable"
    assert ("check mode gets none" in found["hint"]) == check_mode
    assert ("busybox-static" in found["hint"]) != check_mode


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"port": 0}, "port_invalid"),
        ({"port": 65536}, "port_invalid"),
        ({"host": "-e"}, "probe_host_invalid"),
        ({"host": "a b"}, "probe_host_invalid"),
        ({"host": ""}, "probe_host_invalid"),
        ({"path": "api"}, "probe_path_invalid"),
        ({"path": "/%s"}, "probe_path_invalid"),
        ({"timeout": 0}, "timeout_invalid"),
        ({"timeout": 61}, "timeout_invalid"),
    ],
)
def test_options_that_make_no_sense(machine: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as caught:
        ask(machine(), **options)
    assert caught.value.code == code


# nft indents with tabs.
DOCKER_RULES = """table ip nat {
    chain DOCKER {
        type nat hook prerouting priority dstnat; policy accept;
    }
}
table ip filter {
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
    }
    chain INPUT {
        type filter hook input priority filter; policy accept;
    }
}
""".replace("    ", "\t")
OWN_RULES = """table inet firewall {
    chain helper {
        accept
    }
    chain incoming {
        type filter hook input priority filter; policy drop;
    }
}
""".replace("    ", "\t")


@pytest.mark.parametrize(
    ("rules", "chain"),
    [
        ("", None),
        (DOCKER_RULES, None),
        (OWN_RULES, "inet firewall incoming"),
        (DOCKER_RULES + OWN_RULES, "inet firewall incoming"),
    ],
)
def test_the_chain_that_a_rule_belongs_in(rules: str, chain: str | None) -> None:
    assert input_chain(rules) == chain


@pytest.mark.parametrize(
    ("case", "kind", "command"),
    [
        (
            {"files": {"/etc/ufw/ufw.conf": "# x\nENABLED=yes\nLOGLEVEL=low\n"}, "programs": {"nft": "exit 1"}},
            "ufw",
            "sudo ufw allow from 172.18.0.0/16 to 172.18.0.1 port 11435 proto tcp",
        ),
        (
            {
                "files": {"/etc/ufw/ufw.conf": "ENABLED=no\n"},
                "programs": {
                    "firewall-cmd": 'case "$1" in --state) ;; --get-zone-of-interface=br-0123456789ab) echo docker ;; esac'
                },
            },
            "firewalld",
            '--zone=docker --add-rich-rule=\'rule family="ipv4" source address="172.18.0.0/16"',
        ),
        (
            {"programs": {"firewall-cmd": "exit 252", "nft": f"cat <<'EOF'\n{OWN_RULES}EOF", "iptables": "exit 0"}},
            "nftables",
            "sudo nft insert rule inet firewall incoming ip saddr 172.18.0.0/16 ip daddr 172.18.0.1 tcp dport 11435 accept",
        ),
        (
            {"programs": {"nft": f"cat <<'EOF'\n{DOCKER_RULES}EOF", "iptables": "exit 0"}},
            "iptables",
            "sudo iptables -I INPUT -s 172.18.0.0/16 -d 172.18.0.1 -p tcp --dport 11435 -j ACCEPT",
        ),
    ],
)
def test_the_firewall_that_the_host_runs(machine: Any, case: dict[str, Any], kind: str, command: str) -> None:
    found = ask(machine(run=CLOSED, **case))
    assert (found["outcome"], found["firewall"]) == ("blocked", kind)
    assert command in found["command"]
    assert found["command"] in found["hint"]
    assert ("reboot" in found["hint"]) == (kind in ("nftables", "iptables"))
    assert (found["close_command"] is None) == (kind == "nftables")


def test_a_host_without_any_firewall_command(tmp_path: Path) -> None:
    assert find_firewall(Machine(root=tmp_path, environ={})) == Firewall("unknown")
    assert allow_command(Firewall("unknown"), "172.18.0.0/16", "172.18.0.1", 1) is None


def test_a_server_for_other_addresses_only(machine: Any) -> None:
    found = ask(machine(run=CLOSED, files={"/proc/net/tcp": LISTENING.replace("00000000:2CAB", "0100007F:2CAB")}))
    assert (found["outcome"], found["reason"]) == ("blocked", "wrong_address")
    on_bridge = LISTENING.replace("00000000:2CAB", "010012AC:2CAB")
    assert ask(machine(run=CLOSED, files={"/proc/net/tcp": on_bridge}))["reason"] == "firewall"


def test_a_netcat_that_says_nothing_of_a_closed_port(
    tmp_path: Path, write_command: Callable[[Path, str], Path]
) -> None:
    """As Debian's netcat-openbsd does, which bare hosts of tests lack: the port is closed, and not unknown."""
    write_command(tmp_path / "nc", "exit 1")
    path = f"{tmp_path}:/usr/bin:/bin"
    ended = run_command(["/bin/sh", "-c", _SCRIPT, "sh", "127.0.0.1", "9", "2", ""], 10, {"PATH": path})
    assert ended.code == 1
    assert ended.output.partition(_CLOSED)[2].startswith("the connection was refused")
