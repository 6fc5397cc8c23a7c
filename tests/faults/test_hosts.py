# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on a host with systemd, over ssh: the connection is cut, ansible-playbook, the auth proxy or the engine ends on the way.

Each play costs seconds, so each is broken off at few tasks; test_every.py takes all of them, by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import idle_ollama
import lab_host
import llama_server
import payloads
import pytest
from every_host import CALLBACKS, CUT, RECORD, SSHD, STRIKE, UNIT
from harness import INTERRUPT, KILL, Table

# Where something is under way on the host: the proof, the transaction of the route, the one of the token, the removal of the auth proxy.
# A cut connection comes last: the module may come to its end all the same, and there is nothing left to do.
TASKS = {
    "site": {
        INTERRUPT: ["Validate the endpoint"],
        KILL: ["Set the route of the sandboxes"],
        CUT: ["Validate the endpoint", "Set the route of the sandboxes"],
    },
    "switch_model": {KILL: ["Validate the endpoint"], CUT: ["Set the route of the sandboxes"]},
    "rotate_token": {KILL: ["Report which tokens are valid"], INTERRUPT: ["Rotate the token"]},
    "uninstall": {INTERRUPT: ["Remove the auth proxy"], CUT: ["Remove the auth proxy"]},
}
TOKEN = "/home/lab/.nemoclaw/ollama-proxy-token"
PROXY = {"ansible.builtin.include_role": {"name": "nemoclaw.local_inference.proxy"}}
ROUTE = {
    "provider": "ollama",
    "base_url": "http://127.0.0.1:11434/v1",
    "base_url_sandbox": "http://host.openshell.internal:11435/v1",
    "model": "m",
}
# The last thing that a start or a reload of the auth proxy does, and so the middle of its transaction: what a test has left there, once.
HOOK = """
[Service]
ExecStartPost=-+/bin/sh -c 'test -e /run/blow && mv /run/blow /run/struck && sh /run/struck'
ExecReload=-+/bin/sh -c 'test -e /run/blow && mv /run/blow /run/struck && sh /run/struck'
"""
BLOWS = {
    CUT: SSHD,
    f"auth proxy {KILL}": f"systemctl kill -s KILL {UNIT}",
    "auth proxy stopped": f"systemctl stop --no-block {UNIT}",
}
ASK = """
import http.client, pathlib
token = pathlib.Path("/home/lab/.nemoclaw/ollama-proxy-token").read_text().strip()
for headers in {"Authorization": "Bearer " + token}, {}:
    connection = http.client.HTTPConnection("127.0.0.1", 11435)
    try:
        connection.request("GET", "/v1/models", headers=headers)
        print(connection.getresponse().status)
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_host.LabHost]:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    with lab_host.booted(os.environ["LAB_FIREWALL_IMAGE"], tmp_path_factory.mktemp("faults")) as made:
        made.put("/opt/strike", STRIKE)
        made.put("/opt/ask.py", ASK)
        idle_ollama.install(made)
        yield made


@pytest.fixture(scope="module")
def gated(host: lab_host.LabHost) -> lab_host.LabHost:
    """Have the host's Ollama behind the auth proxy, and the route to it recorded."""
    played = host.play([PROXY, {"nemoclaw.local_inference.inference_route": ROUTE}])
    assert played.status == 0, played.said
    host.put(f"/etc/systemd/system/{UNIT}.d/faults.conf", HOOK)
    host.sh("systemctl daemon-reload")
    opens(host)
    return host


def settle(host: lab_host.LabHost) -> None:
    """Wait until what ran when its session went has ended."""
    host.sh("rm -f /run/armed; while pgrep -fx /usr/bin/python3 > /dev/null; do sleep 0.05; done", limit_s=60)


def broken_off(
    host: lab_host.LabHost, name: str, blow: str, step: object, *words: str, **environment: str
) -> lab_host.Played:
    """Play a playbook that is broken off at the task with this name or number."""
    settings = {
        **payloads.environment(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "break_off",
        "FAULT_STEP": str(step),
    }
    if blow == CUT:
        host.sh("touch /run/armed")
        settings["FAULT_PROGRAM"] = json.dumps(["docker", "exec", host.name, "sh", "/opt/strike", SSHD, "0", "0"])
    else:
        settings["FAULT_BLOW"] = str(signal.Signals[blow].value)
    played = host.playbook(f"nemoclaw.local_inference.{name}", *words, **environment, **settings)
    settle(host)
    return played


def breaks(
    host: lab_host.LabHost, name: str, check: Callable[[], object], *words: str, **environment: str
) -> dict[str, int]:
    """Break a playbook off by each blow at each of its tasks, check what there is after each, and return how often each fell."""
    fell: dict[str, int] = {}
    for blow, tasks in TASKS[name].items():
        for step in tasks:
            played = broken_off(host, name, blow, step, *words, **environment)
            assert played.status != 0, f"{name} was done before {step}"
            assert blow != CUT or "unreachable=1" in played.said, played.said
            check()
            fell[blow] = fell.get(blow, 0) + 1
    return fell


def converges(host: lab_host.LabHost, name: str, *words: str, **environment: str) -> str:
    """Play it to its end, and once more, which has nothing to do; return what that said."""
    for is_third in (False, True):
        played = host.playbook(f"nemoclaw.local_inference.{name}", *words, **environment)
        assert played.status == 0, played.said
        assert not is_third or played.changed == 0, played.said
    return played.said


def is_converged(host: lab_host.LabHost, **settings: Any) -> None:
    """Have the role proxy find nothing to do."""
    played = host.play([PROXY], **settings)
    assert (played.status, played.changed) == (0, 0), played.said


def opens(host: lab_host.LabHost) -> None:
    """See that the token of the file opens the auth proxy, and nothing else does."""
    assert host.sh("python3 /opt/ask.py").split() == ["200", "401"]


def recorded(host: lab_host.LabHost) -> str | None:
    """Return the address in the record."""
    said = host.sh(f"cat {RECORD} 2>/dev/null || echo null")
    found: dict[str, Any] | None = json.loads(said)
    return str(found["base_url_host"]) if found else None


def test_a_server_elsewhere(table: Table, host: lab_host.LabHost) -> None:
    """Set up, and switched to another: the record has a route that was proved, whole, all the while."""
    bridge = re.findall(r"default via (\S+)", host.sh("ip -4 route"))[0]
    with contextlib.ExitStack() as held:
        one, other = (held.enter_context(llama_server.serving(bind=bridge)).base_url for _number in range(2))
        for playbook, url, known, before in (
            ("site", one, (None, one), "there was none"),
            ("switch_model", other, (one, other), "answered"),
        ):
            settings = {"NEMOCLAW_PROVIDER": "custom", "NEMOCLAW_ENDPOINT_URL": url, "NEMOCLAW_MODEL": "scripted"}
            words = ("-e", "sandbox_backend=none")

            def has_one_that_was_proved(known: tuple[str | None, ...] = known) -> None:
                assert recorded(host) in known

            fell = breaks(host, playbook, has_one_that_was_proved, *words, **settings)
            converges(host, playbook, *words, **settings)
            assert recorded(host) == url
            for blow, number in fell.items():
                table.row(f"{playbook}, custom", blow, number, before)


def test_a_rotation(table: Table, gated: lab_host.LabHost) -> None:
    """Whoever reads the token file is let in, wherever it ended; the proxy that ends is started again by the rotation or by systemd."""
    fell = breaks(gated, "rotate_token", lambda: opens(gated))
    for blow, command in BLOWS.items():
        before = gated.sh(f"cat {TOKEN}")
        gated.put("/run/blow", command)
        played = gated.playbook("nemoclaw.local_inference.rotate_token")
        settle(gated)
        gated.sh("rm /run/struck")  # it fell
        # A killed proxy may be back in time for the proof of the new token.
        is_kept = gated.sh(f"cat {TOKEN}") == before
        assert played.status == 0 or blow == CUT or "The token was not rotated" in played.said, played.said
        assert blow == CUT or (played.status != 0) == is_kept, played.said
        assert ("unreachable=1" in played.said) == (blow == CUT), played.said
        opens(gated)
        fell[blow] = 1
    before = gated.sh(f"cat {TOKEN}")
    played = gated.playbook("nemoclaw.local_inference.rotate_token")
    assert (played.status, gated.sh(f"cat {TOKEN}") != before) == (0, True), played.said
    opens(gated)
    is_converged(gated)
    for blow, number in fell.items():
        table.row("rotate_token, ollama", blow, number, "stops for a moment" if "proxy" in blow else "answered")


def test_the_proxy_and_the_engine_are_down(table: Table, gated: lab_host.LabHost) -> None:
    """Status says so; the role starts the auth proxy, and says that the engine died meanwhile, which is not its own to start."""
    # Started by systemd: what has just been killed may still hold its port.
    again = f"systemctl show --property=NRestarts --value {UNIT}"
    gated.sh(f"old=$({again}); systemctl kill -s KILL {UNIT}; until test $({again}) != $old; do sleep 0.1; done")
    wait_for(gated, 11435)
    opens(gated)
    gated.sh(f"systemctl stop {UNIT}")
    shown = gated.playbook("nemoclaw.local_inference.status")
    assert (shown.status, "Inference (auth proxy): un" in shown.said) == (2, True), shown.said
    gated.put("/run/blow", "systemctl kill -s KILL ollama.service")
    played = gated.play([PROXY])
    assert (played.status, played.changed, "does not answer" in played.said) == (0, 1, True), played.said
    shown = gated.playbook("nemoclaw.local_inference.status")
    assert (shown.status, "Inference: un" in shown.said) == (2, True), shown.said
    gated.sh("systemctl start ollama.service")
    wait_for(gated, 11434)
    shown = gated.playbook("nemoclaw.local_inference.status")
    assert shown.status == 0, shown.said
    opens(gated)
    is_converged(gated)
    table.row("role proxy", "auth proxy stopped", 1, "status says so")
    table.row("role proxy", "engine SIGKILL", 1, "status says so")


def wait_for(host: lab_host.LabHost, port: int) -> None:
    """Wait until somebody listens on the port."""
    host.sh(f"for i in $(seq 200); do ss -ltn | grep -q :{port} && exit; sleep 0.1; done; exit 1")


def test_a_removal(table: Table, gated: lab_host.LabHost) -> None:
    fell = breaks(gated, "uninstall", lambda: None)
    said = converges(gated, "uninstall")
    for kept in (
        "Kept: Ollama (/usr/local/bin/ollama) with its models",
        "the user ollama with its home",
        "the mask of nginx.service",
    ):
        assert kept in said
    left = gated.sh(
        f"ls {RECORD} {TOKEN} /etc/nemoclaw-ollama-proxy.conf /etc/systemd/system/{UNIT} 2>/dev/null", fails=True
    )
    assert left == ""
    for blow, number in fell.items():
        table.row("uninstall, ollama", blow, number, "-")
