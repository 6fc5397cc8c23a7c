# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run makes of a NIM that an earlier run left, on an engine in memory. A real one is in tests/integration/targets/nim_container."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim import lifecycle
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim.context import Desired

MODEL = "meta/llama-3.1-8b-instruct"
DESIRED = Desired(name="nim", image="lab/nim:1", model=MODEL, gpus="none", keyless=True, publish=["127.0.0.1"])


class Nim:
    """A NIM's life on a host: what each run does, and what answers."""

    def __init__(self, engine: Any, root: Path) -> None:
        self.engine = engine
        self.engine.client = None
        self.engine.images["lab/nim:1"] = {"Id": "sha256:none"}
        self.serves: dict[str, str | None] = {"old": MODEL, "new": MODEL}
        self.port = 0
        self.machine = Machine(root=root, environ={})
        self.account = find_account()._replace(home=str(root))

    def run(self, which: str, check_mode: bool = False, **desired: Any) -> dict[str, Any]:
        wanted = replace(DESIRED, port=self.port, environment={"WHICH": which}, **desired)
        self.engine.calls.clear()
        return lifecycle.converge(self.machine, self.account, wanted, check_mode)

    @property
    def which(self) -> str:
        variables = dict(one.partition("=")[::2] for one in self.engine.there["nim"]["Config"]["Env"])
        return str(variables["WHICH"])


@pytest.fixture
def nim(memory_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nim]:
    """A host whose NIM answers on its port, as the container that has the name would; there is no container to do it."""
    life = Nim(memory_engine, tmp_path)
    monkeypatch.setattr(lifecycle, "connect", lambda *_arguments: memory_engine)
    # The port counts as the container's: nobody has to be asked who listens there.
    monkeypatch.setattr(lifecycle, "check", lambda *_arguments: (False, None))

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model = life.serves[life.which]
            body = json.dumps({"data": [{"id": model}]}).encode()
            self.send_response(200 if model else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        life.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield life
        server.shutdown()


def killed_before_the_proof(nim: Nim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the new one started, and its worker killed before it saw whether it is ready."""
    nim.run("old")

    def kill(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle.managed, "follow", kill)
        with pytest.raises(KeyboardInterrupt):
            nim.run("new")
    assert sorted(nim.engine.there) == ["nim", "nim-previous"]


@pytest.mark.parametrize(
    ("state", "serves", "code"),
    [
        ({"Status": "restarting", "Restarting": True}, None, "container_exited"),
        ({"Status": "paused"}, None, "container_exited"),
        ({"StartedAt": "2026-11-22T08:00:00Z"}, None, "container_stalled"),
        ({}, "lab/another", "model_mismatch"),
    ],
    ids=["restarting", "paused", "silent", "wrong model"],
)
def test_one_that_nobody_proved_and_that_fails_gives_way(
    nim: Nim, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], serves: str | None, code: str
) -> None:
    killed_before_the_proof(nim, monkeypatch)
    nim.engine.state("nim", **state)
    nim.engine.there["nim"]["RestartCount"] = 3
    nim.serves["new"] = serves
    served_model = MODEL if serves else ""
    planned = nim.run("new", check_mode=True, served_model=served_model)
    assert (planned["changed"], planned["phase"]) == (True, "planned")
    assert planned["actions"][0] == "wait for nim"
    with pytest.raises(Failure) as failed:
        nim.run("new", served_model=served_model)
    assert (failed.value.code, failed.value.details["restored"]) == (code, "nim")
    assert (list(nim.engine.there), nim.which) == (["nim"], "old")
    assert nim.run("old")["changed"] is False


def test_one_that_nobody_proved_and_that_works_is_kept(nim: Nim, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_before_the_proof(nim, monkeypatch)
    planned = nim.run("new", check_mode=True)
    done = nim.run("new")
    assert done["actions"] == planned["actions"] == ["wait for nim", "remove nim-previous"]
    assert (list(nim.engine.there), nim.which, done["phase"]) == (["nim"], "new", "ready")
    assert nim.run("new")["changed"] is False


def test_what_was_kept_for_a_proof_is_removed_by_a_run_that_wants_none(nim: Nim) -> None:
    nim.run("old")
    assert nim.run("new", keep_previous=True)["previous"] == "nim-previous"
    assert nim.run("new", keep_previous=True)["changed"] is False
    assert nim.run("new", check_mode=True)["actions"] == ["remove nim-previous"]
    assert nim.run("new")["actions"] == ["remove nim-previous"]
    assert list(nim.engine.there) == ["nim"]


def test_one_that_was_proved_is_not_rolled_back(nim: Nim) -> None:
    nim.run("old")
    nim.engine.state("nim", Status="paused")
    with pytest.raises(Failure, match="is paused"):
        nim.run("old")
    assert list(nim.engine.there) == ["nim"]


def test_it_gets_the_web_proxies_of_the_host_and_tells_nobody(nim: Nim) -> None:
    proxy = "http://u:canary@proxy.lab:3128"
    nim.machine = replace(nim.machine, environ={"https_proxy": proxy})
    shown = str(nim.run("old"))
    container = nim.engine.there["nim"]
    assert f"https_proxy={proxy}" in container["Config"]["Env"]
    assert "canary" not in shown + str({**container, "Config": {**container["Config"], "Env": []}})
    assert nim.run("old")["changed"] is False
    nim.engine.log = f"2026-11-22T10:00:01Z ProxyError: {proxy} refused u:canary\n"
    nim.engine.state("nim", Status="exited", Running=False, ExitCode=1)
    nim.serves["old"] = None
    nim.engine.start = lambda name: None
    with pytest.raises(Failure, match="refused") as failed:
        nim.run("old")
    assert "canary" not in failed.value.message + str(failed.value.details)


@pytest.mark.parametrize(
    ("desired", "code"),
    [
        ({"name": ""}, "container_name_invalid"),
        ({"name": "a\n"}, "container_name_invalid"),
        ({"instead_of": "../x"}, "container_name_invalid"),
        ({"port": 0}, "port_invalid"),
        ({"port": -1}, "port_invalid"),
        ({"port": 10**400}, "port_invalid"),
        ({"wait_timeout": 0}, "timeout_invalid"),
        ({"wait_timeout": 10**400}, "timeout_invalid"),
        ({"stall_timeout": -(10**400)}, "timeout_invalid"),
        ({"stall_timeout": 10**12}, "timeout_invalid"),
        ({"ngc_api_key": "nvapi-1\nnvapi-2"}, "key_invalid"),
        ({"ngc_api_key": "nvapi-\u201c"}, "key_invalid"),
        ({"model": "", "image": ""}, "model_missing"),
        ({"image": "Upper case"}, "image_name_invalid"),
        ({"image": "", "registry": "https://nvcr.io"}, "image_name_invalid"),
        ({"models": {MODEL: {"weights_bytes": 10**400}}}, "catalogue_invalid"),
    ],
)
def test_options_that_cannot_be_meant(nim: Nim, desired: dict[str, Any], code: str) -> None:
    with pytest.raises(Failure) as failed:
        nim.port = desired.pop("port", nim.port)
        nim.run("old", **desired)
    assert failed.value.code == code
    assert "nvapi-" not in failed.value.message + str(failed.value.details)
    assert nim.engine.there == {}


def test_loopback_is_published_whatever_else_is(nim: Nim) -> None:
    """This host asks it there."""
    published = nim.run("old", check_mode=True, publish=["192.0.2.1"])["container"]["published"]
    assert published == [f"127.0.0.1:{nim.port}", f"192.0.2.1:{nim.port}"]


@pytest.mark.parametrize("facts", [{"kind": "podman"}, {"endpoint": "tcp://192.0.2.1:2375"}])
def test_an_engine_that_it_could_not_be_waited_for_on(nim: Nim, facts: dict[str, str]) -> None:
    nim.engine.facts.update(facts)
    with pytest.raises(Failure) as failed:
        nim.run("old")
    assert failed.value.code == "docker_endpoint_unsupported"
    # What is there can be taken away all the same.
    assert nim.run("old", state="absent")["changed"] is False
