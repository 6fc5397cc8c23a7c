# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in which hosts end in every way: one table, one file, one exit status, and nobody waits for anybody."""

from __future__ import annotations

import json
import re
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.write import render
from conftest import Llama
from test_playbooks import KEY, Controller, forms_of, new_controller

HOSTS = ("done", "new", "typo", "gone", "slow", "full")
LIMIT_S = 240


@pytest.fixture
def fleet(tmp_path: Path, llama: Llama) -> Iterator[Controller]:
    """Return a controller with an inventory: the server of one host answers only once the record of another one is written."""
    controller = new_controller(tmp_path, forms_of(KEY), llama)
    records = {host: tmp_path / "hosts" / host / "local-inference.json" for host in HOSTS}
    for host in HOSTS:
        records[host].parent.mkdir(parents=True)
    (tmp_path / "file").touch()
    records["full"] = tmp_path / "file" / "local-inference.json"

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            until = time.monotonic() + LIMIT_S
            while not records["new"].exists() and time.monotonic() < until:
                time.sleep(0.05)
            self.send_error(401)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hosts: dict[str, Any] = {host: {"nemoclaw_route_path": str(records[host])} for host in HOSTS}
    hosts["typo"]["nemoclaw_provider"] = "costum"
    hosts["gone"] |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    hosts["slow"] |= {
        "nemoclaw_endpoint_url": f"http://127.0.0.1:{server.server_port}/v1",
        "nemoclaw_local_inference_timeout": LIMIT_S,
    }
    content = {"fleet": {"hosts": hosts, "vars": {"sandbox_backend": "none", "nemoclaw_hosts": "fleet"}}}
    (tmp_path / "fleet.json").write_text(json.dumps(content), encoding="utf-8")
    route = build_route(
        provider="custom",
        base_url=controller.environment["NEMOCLAW_ENDPOINT_URL"],
        model="scripted",
        api="openai-completions",
        timeout=180,
        context_window=32768,
    )
    records["done"].write_text(render(route), encoding="utf-8")
    records["done"].chmod(0o600)
    kept = {"when": "2026-11-30T14:05:09Z", "playbook": "switch_model", "code": "timeout", "message": "It is late."}
    records["done"].with_name("local-inference.last.json").write_text(json.dumps(kept), encoding="utf-8")
    yield controller
    server.shutdown()


def test_every_host_has_its_line_and_keeps_its_failure(fleet: Controller) -> None:
    options = ["-i", "fleet.json", "--forks", "6", "-e", "nemoclaw_hosts=fleet"]
    assert fleet.play("site", *options, "-e", "nemoclaw_results_path=results.json") == 4
    path = fleet.folder / "results.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = json.loads(path.read_text(encoding="utf-8"))
    found = {one["host"]: (one["state"], one["code"], one["steps"], one["changed"]) for one in written["hosts"]}
    assert found == {
        "done": ("converged", None, [], False),
        "new": ("changed", None, ["route.record"], True),
        "typo": ("refused", "setting_invalid", [], False),
        "gone": ("unreachable", "host_unreachable", [], False),
        # It was refused by the answer that came after the record of the host `new`, and not by its own limit.
        "slow": ("refused", "auth_failed", [], False),
        "full": ("failed", "route_record_unwritable", [], False),
    }
    assert (written["playbook"], written["exit_code"], written["check_mode"]) == ("site", 4, False)
    table = fleet.output.rsplit("TASK [Show the results]", 1)[1]
    lines = [line.split() for line in table.splitlines()]
    assert [line[:2] for line in lines if line[:1] and line[0] in HOSTS][:6] == [
        ["done", "custom"],
        ["new", "custom"],
        ["typo", "-"],
        ["gone", "-"],
        ["slow", "custom"],
        ["full", "custom"],
    ]
    assert "1 converged, 1 changed, 2 refused, 1 unreachable, 1 failed" in table
    recap = fleet.output.rsplit("PLAY RECAP", 1)[1]
    bad = dict(re.findall(r"^(\w+) .*(unreachable=1|failed=1) ", recap, re.MULTILINE))
    refused = "there is no such value. Did you mean custom?"
    said = [line for line in fleet.output.splitlines() if refused in line and line.startswith(("[typo] ", "[ERROR]"))]
    assert [line.split(":")[0] for line in said] == ["[typo] Refused"], "one line, and no error of Ansible's besides"
    assert bad == {"gone": "unreachable=1", "typo": "failed=1", "slow": "failed=1", "full": "failed=1"}
    assert "Last failure: " not in fleet.output, "a run that ends well tells of no older failure"
    assert "The last failure could not be saved or removed on this host" in fleet.output, "and hid nothing"

    kept = {one.parent.name: one for one in fleet.folder.glob("hosts/*/local-inference.last.json")}
    assert sorted(kept) == ["slow", "typo"], "the one of the host that did well is gone"
    assert {stat.S_IMODE(one.stat().st_mode) for one in kept.values()} == {0o600}
    assert json.loads(kept["slow"].read_text(encoding="utf-8"))["code"] == "auth_failed"

    assert fleet.play("rotate_token", *options, "--limit", "new") == 0
    assert "has no proxy, so there is no token to rotate. It is passed over." in fleet.output
    assert fleet.changed == 0

    assert fleet.play("status", *options, "--limit", "new,typo") == 2
    assert re.search(r"Last failure: 20\S+Z, site: setting_invalid", fleet.output)
    table = fleet.output.rsplit("TASK [Show the results]", 1)[1]
    assert "1 healthy, 1 unhealthy" in table
    assert re.search(r"typo .*unhealthy .*route_not_recorded +Run the playbook", table)
