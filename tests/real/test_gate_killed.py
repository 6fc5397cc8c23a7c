# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The auth proxy as one transaction, on a host with systemd and the distribution's nginx: killed at each step, and where it cannot be had.

What runs on the host is tests/servers/gate_killer.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab_host
import pytest

KILLER = Path(__file__).resolve().parents[1] / "servers" / "gate_killer.py"
TOKEN = "/home/lab/.nemoclaw/ollama-proxy-token"
FILES = [
    "/etc/nemoclaw-ollama-proxy.conf",
    "/etc/nemoclaw-ollama-proxy.tokens",
    "/etc/systemd/system/nemoclaw-ollama-proxy.service",
    TOKEN,
    "/var/lib/nemoclaw-ollama-proxy/temp",
]
UPSTREAM = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": []}')
http.server.ThreadingHTTPServer(("127.0.0.1", 11434), Handler).serve_forever()
"""
# NemoClaw's own proxy by its program, argument, owner and socket, which is all that is looked at.
NODE = """
import pathlib, socket, time
listener = socket.create_server(("0.0.0.0", 11435))
pathlib.Path("/home/lab/.nemoclaw").mkdir(exist_ok=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_host.LabHost]:
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("LAB_FIREWALL_IMAGE names no image made by tests/lab_firewalls/build")
    with lab_host.booted(os.environ["LAB_FIREWALL_IMAGE"], tmp_path_factory.mktemp("hosts")) as made:
        made.copy_code("/opt/collections")
        made.put("/opt/gate_killer.py", KILLER.read_text(encoding="utf-8"))
        made.put("/opt/upstream.py", UPSTREAM)
        made.sh("systemd-run --quiet --unit upstream python3 /opt/upstream.py")
        made.sh(
            "systemctl mask nginx.service && apt-get update -q && apt-get install -q -y --no-install-recommends nginx",
            limit_s=300,
        )
        yield made


def killed(host: lab_host.LabHost, case: str) -> list[dict[str, Any]]:
    """Have the killer play a case, and return what it saw of each step."""
    rows: list[dict[str, Any]] = json.loads(host.sh(f"python3 /opt/gate_killer.py {case}", limit_s=900))
    assert rows, "there is a step to be killed before"
    assert [one["step"] for one in rows if not one["killed"]] == []
    assert [one for one in rows if one["changed"] or one["failed_at_last"]] == [], "the third run has nothing to do"
    return rows


def test_a_first_one_that_is_killed_is_finished_by_the_next_run(host: lab_host.LabHost) -> None:
    rows = killed(host, "first")
    assert [one for one in rows if one["failed"]] == []
    assert [one["left"] for one in rows] == [FILES] * len(rows)


@pytest.mark.parametrize("case", ["reload", "rotate", "replace", "commit"])
def test_nobody_is_refused_while_it_changes_and_is_killed(host: lab_host.LabHost, case: str) -> None:
    """Whoever reads the token file gets an answer, before the next run and while it works: the one before answers until then."""
    rows = killed(host, case)
    assert [one for one in rows if one["failed"] or one["answered"] != "200" or one["gaps"]] == []
    tokens = {".previous"} if case == "rotate" else set()
    assert [one["left"] for one in rows] == [sorted([*FILES, *(TOKEN + one for one in tokens)])] * len(rows)


def test_another_unit_is_restarted_and_what_was_there_answers_until_then(host: lab_host.LabHost) -> None:
    rows = killed(host, "restart")
    assert [one for one in rows if one["failed"] or one["answered"] != "200"] == []
    assert {gap.split()[2] for one in rows for gap in one["gaps"]} <= {"ConnectionRefusedError", "ConnectionResetError"}
    assert [one["left"] for one in rows] == [FILES] * len(rows)


def test_what_was_proved_last_comes_back_however_often_it_is_killed(host: lab_host.LabHost) -> None:
    """The run that was killed had written what does not serve: only what it kept of before says what did."""
    rows = killed(host, "back")
    assert [one["failed"] for one in rows if "The previous auth proxy is restored and works" not in one["failed"]] == []
    assert [one["left"] for one in rows] == [FILES] * len(rows)


def test_what_never_served_leaves_nothing_but_the_token(host: lab_host.LabHost) -> None:
    rows = killed(host, "never")
    assert [
        one["failed"]
        for one in rows
        if "There was no auth proxy before, and none remains. The token stays." not in one["failed"]
    ] == []
    assert [one["left"] for one in rows] == [[TOKEN]] * len(rows)


def test_a_removal_that_is_killed_is_finished_by_the_next_run(host: lab_host.LabHost) -> None:
    rows = killed(host, "absent")
    assert [one for one in rows if one["failed"]] == []
    assert [one["left"] for one in rows] == [[TOKEN]] * len(rows)
    assert "nemoclaw-proxy" not in host.sh("cat /etc/passwd /etc/group")


def try_it(host: lab_host.LabHost, work: str) -> str:
    """Run a line of Python with the killer's names on the host, and return what it prints, or the failure."""
    lines = "import sys; sys.path.insert(0, '/opt'); from gate_killer import *"
    return host.sh(
        f'python3 -c "{lines}\ntry: print({work})\nexcept Failure as failure: print(failure.code, failure.message)"'
    ).strip()


def test_the_proxy_of_nemoclaw_goes_on_until_nginx_finds_nothing_wrong(host: lab_host.LabHost) -> None:
    try_it(host, "bare()")
    host.put("/opt/ollama-auth-proxy.js", NODE)
    host.sh("systemd-run --quiet --unit node --uid lab bash -c 'exec -a node python3 /opt/ollama-auth-proxy.js'")
    holder = "ss -ltnH sport = :11435"
    host.sh(f"until {holder} | grep -q 11435; do sleep 0.1; done")
    said = try_it(host, "ensure(listen=['198.51.100.7'])")
    assert said.startswith("proxy_config_refused"), said
    assert ("198.51.100.7" in said, "There was no auth proxy before" in said) == (True, True), said
    assert "11435" in host.sh(holder)
    # It is sent away by what does not serve then, which is said.
    said = try_it(host, "ensure(DOWN, 0.3)")
    assert ("The token stays" in said, "nemoclaw connect starts it again" in said) == (True, True), said
    assert "11435" not in host.sh(holder)


def test_another_program_on_the_port_is_named_and_nothing_is_changed(host: lab_host.LabHost) -> None:
    try_it(host, "ensure()")
    before = host.sh("stat -c '%n %i %Y' /etc/nemoclaw*")
    host.sh(
        "systemd-run --quiet --unit squatter python3 -m http.server 11436; until ss -ltn | grep -q 11436; do sleep 0.1; done"
    )
    try:
        said = try_it(host, "ensure(GATE._replace(port=11436))")
    finally:
        host.sh("systemctl stop squatter")
    assert said.startswith("port_taken"), said
    assert host.sh("stat -c '%n %i %Y' /etc/nemoclaw*") == before
    assert try_it(host, "answer()") == "200"


def test_an_address_that_the_host_has_not_changes_nothing(host: lab_host.LabHost) -> None:
    try_it(host, "ensure()")
    before = host.sh("cat /etc/nemoclaw-ollama-proxy.conf")
    said = try_it(host, "ensure(listen=['198.51.100.7'])")
    assert (said.startswith("proxy_config_refused"), "is restored and works" in said) == (True, True), said
    assert host.sh("cat /etc/nemoclaw-ollama-proxy.conf") == before
    assert try_it(host, "answer()") == "200"


@pytest.fixture
def stubborn(host: lab_host.LabHost) -> Iterator[None]:
    """Have lines of the user's own let neither a reload nor another port pass."""
    folder = "/etc/systemd/system/nemoclaw-ollama-proxy.service.d"
    lines = "ExecStartPre=/bin/sh -c '! grep -q 11436 /etc/nemoclaw-ollama-proxy.conf'\nExecReload=\nExecReload=/bin/false\n"
    try_it(host, "ensure()")
    host.put(f"{folder}/lab.conf", f"[Service]\n{lines}")
    host.sh("systemctl daemon-reload")
    yield
    host.sh(f"rm -r {folder} && systemctl daemon-reload")


def test_a_proxy_that_does_not_reload_keeps_the_token(host: lab_host.LabHost, stubborn: None) -> None:
    before = host.sh(f"cat {TOKEN}")
    said = try_it(host, "rotate()")
    assert "The token was not rotated: the previous one remains valid." in said
    assert host.sh(f"cat {TOKEN}") == before
    assert host.sh("ls /home/lab/.nemoclaw").split() == [Path(TOKEN).name]
    assert try_it(host, "answer()") == "200"


def test_a_proxy_that_does_not_start_leaves_the_one_of_before(host: lab_host.LabHost, stubborn: None) -> None:
    """What nginx finds nothing wrong with, and does not start."""
    assert "The previous auth proxy is restored and works" in try_it(host, "ensure(GATE._replace(port=11436))")
    assert try_it(host, "answer()") == "200"


def test_no_diff_has_a_token_and_the_second_run_has_none(host: lab_host.LabHost) -> None:
    try_it(host, "bare()")
    planned = try_it(host, "json.dumps(transaction.ensure(MACHINE, desired(), True).as_result())")
    assert host.sh("ls /etc").count("nemoclaw") == 0, "check mode changes nothing"
    done = try_it(host, "json.dumps(ensure().as_result())")
    token = host.sh(f"cat {TOKEN}").strip()
    assert token not in done + try_it(host, "json.dumps(rotate().as_result())")
    first, second = json.loads(planned), json.loads(done)
    assert first["actions"] == second["actions"], "check mode says what is done"
    assert [one["after_header"] for one in second["diff"]] == [TOKEN, *FILES[::2][:2]]
    assert json.loads(try_it(host, "json.dumps(ensure().as_result())"))["diff"] == []


def test_the_unit_is_hardened(host: lab_host.LabHost) -> None:
    """docs/security.md names the figure; below 2 is what systemd calls OK."""
    try_it(host, "ensure()")
    said = host.sh("systemd-analyze security --no-pager nemoclaw-ollama-proxy.service | tail -n 1")
    assert float(said.split(":")[1].split()[0]) < 2, said
