# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils import uninstall
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import KIND
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Account, Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import dropin
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.uninstall import PARTS, Seen, kept, look, parts

NO_ENGINE = {"code": "absent", "reachable": False, "endpoint": None}
STOPPED = {"code": "daemon_stopped", "reachable": False, "endpoint": "unix:///var/run/docker.sock"}
ENGINE = {"code": None, "reachable": True, "endpoint": "unix:///var/run/docker.sock"}
NO_PROXY = {"unit": False, "account": False}
LAB = Account("lab", 1000, 1000, "/home/lab", (1000,))


def host(**more: Any) -> dict[str, Any]:
    """Return the facts of a host that has nothing of ours."""
    nothing: dict[str, Any] = {
        "route": None,
        "docker": NO_ENGINE,
        "proxy": NO_PROXY,
        "nemoclaw": {"path": None},
        "openshell": {"path": None},
        "ollama": {"path": None},
        "wsl": None,
    }
    return {**nothing, **more}


def of(provider: str) -> dict[str, Any]:
    return {"provider": provider}


@pytest.mark.parametrize(
    ("facts", "seen", "expected"),
    [
        ({}, Seen(), []),
        (
            {"docker": ENGINE, "ollama": {"path": "/usr/bin/ollama"}, "openshell": {"path": "/usr/bin/openshell"}},
            Seen(),
            [],
        ),
        ({}, Seen(watch=True), ["watch"]),
        ({}, Seen(opened=True), ["sandbox"]),
        ({}, Seen(state=True), ["sandbox"]),
        ({"nemoclaw": {"path": "/usr/bin/nemoclaw"}}, Seen(), ["sandbox"]),
        ({"docker": ENGINE}, Seen(containers=("nim",)), ["nim"]),
        ({"docker": ENGINE}, Seen(containers=("vllm", "vllm")), ["vllm"]),
        # An engine that does not answer may have one that starts with it.
        ({"docker": STOPPED}, Seen(containers=None), ["nim", "vllm"]),
        ({}, Seen(containers=None), []),
        ({"proxy": {"unit": True, "account": False}}, Seen(), ["ollama"]),
        ({"proxy": {"unit": False, "account": True}}, Seen(), ["ollama"]),
        # The look at it failed.
        ({"proxy": None}, Seen(), ["ollama"]),
        ({}, Seen(token=True), ["ollama"]),
        ({}, Seen(drop_in=True), ["ollama"]),
        ({"wsl": {"version": 2}}, Seen(), ["ollama"]),
        ({"route": of("ollama")}, Seen(state=True, record=True), ["sandbox", "ollama", "endpoint"]),
        ({"route": of("start-windows-ollama")}, Seen(state=True, record=True), ["sandbox", "ollama", "endpoint"]),
        ({"route": of("vllm")}, Seen(state=True, record=True), ["sandbox", "vllm", "endpoint"]),
        ({"route": of("install-vllm")}, Seen(state=True, record=True), ["sandbox", "vllm", "endpoint"]),
        ({"route": of("nim")}, Seen(state=True, record=True), ["sandbox", "nim", "endpoint"]),
        ({"route": of("custom")}, Seen(state=True, record=True), ["sandbox", "endpoint"]),
        # What an earlier route used may still be in memory.
        (
            {"route": {**of("custom"), "to_free": [of("install-ollama"), of("nim")]}},
            Seen(state=True, record=True),
            ["sandbox", "nim", "ollama", "endpoint"],
        ),
        # A record that cannot be read.
        ({}, Seen(state=True, record=True), ["sandbox", "nim", "ollama", "vllm", "endpoint"]),
    ],
)
def test_what_is_to_be_removed(facts: dict[str, Any], seen: Seen, expected: list[str]) -> None:
    found = parts(host(**facts), seen)
    assert found == expected
    assert found == [one for one in PARTS if one in found]


ALWAYS = ["the packages that were installed", "every server that this collection does not run"]
OLLAMA = {"ollama": {"path": "/usr/local/bin/ollama"}}


@pytest.mark.parametrize(
    ("facts", "seen", "removes", "expected"),
    [
        ({}, Seen(), False, ALWAYS),
        (OLLAMA, Seen(), False, ["Ollama (/usr/local/bin/ollama) with its models", *ALWAYS]),
        (OLLAMA, Seen(), True, ALWAYS),
        (
            {},
            Seen(ollama_home="/usr/share/ollama"),
            True,
            [
                "the user ollama with its home /usr/share/ollama, where its key and its models lie (userdel --remove ollama deletes them)",
                *ALWAYS,
            ],
        ),
        ({"wsl": {"version": 2}}, Seen(), False, ["what is installed on Windows", *ALWAYS]),
        ({}, Seen(folders=("/a", "/b")), False, ["the downloads in /a", "the downloads in /b", *ALWAYS]),
        (
            {},
            Seen(images=("vllm/vllm-openai", "debian", "vllm/vllm-openai", "nvcr.io/nim/meta/llama")),
            False,
            ["the images vllm/vllm-openai and nvcr.io/nim/meta/llama", *ALWAYS],
        ),
        (
            {"openshell": {"path": "/usr/bin/openshell"}},
            Seen(),
            False,
            ["OpenShell (/usr/bin/openshell) with its sandboxes", *ALWAYS],
        ),
        (
            {},
            Seen(nginx_masked=True),
            False,
            [ALWAYS[0], "the mask of nginx.service (systemctl unmask nginx.service lets it start again)", ALWAYS[1]],
        ),
    ],
)
def test_what_is_kept(facts: dict[str, Any], seen: Seen, removes: bool, expected: list[str]) -> None:
    assert kept(host(**facts), seen, removes) == expected


def put(root: Path, path: str, text: str = "x") -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


FOLDERS = ("~/.cache/huggingface/hub", "/srv/nim")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(uninstall, "_home", lambda _name: "")
    return Machine(tmp_path, {})


def see(machine: Machine, docker: dict[str, Any] | None = None, route_path: str | None = None) -> Seen:
    return look(machine, LAB, host(docker=docker or NO_ENGINE), route_path, FOLDERS)


def test_a_look_at_nothing(machine: Machine) -> None:
    assert see(machine) == Seen(containers=None)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("/var/lib/nemoclaw-watch/last.json", "x", {"watch": True}),
        ("/etc/systemd/system/nemoclaw-watch.timer", "x", {"watch": True}),
        ("/etc/nemoclaw-local-inference.opened", "x", {"opened": True}),
        ("/home/lab/.nemoclaw/local-inference.json", "x", {"state": True, "record": True}),
        # What a play that was broken off left behind.
        ("/home/lab/.nemoclaw/jobs/sandbox-route/lock", "x", {"state": True}),
        ("/home/lab/.nemoclaw/ollama-proxy-token.previous", "x", {"state": True, "token": True}),
        ("/srv/route.json", "x", {"state": True, "record": True}),
        ("/etc/systemd/system/ollama.service.d/" + dropin.FILE_NAME, dropin.render({}), {"drop_in": True}),
        ("/etc/systemd/system/ollama.service.d/" + dropin.FILE_NAME, "somebody else's", {}),
        ("/home/lab/.cache/huggingface/hub/x", "x", {"folders": ("/home/lab/.cache/huggingface/hub",)}),
        ("/srv/nim/x", "x", {"folders": ("/srv/nim",)}),
    ],
)
def test_a_look_at_files(machine: Machine, path: str, text: str, expected: dict[str, Any]) -> None:
    put(machine.root, path, text)
    route_path = path if path == "/srv/route.json" else None
    assert see(machine, route_path=route_path) == Seen(containers=None, **expected)


def test_a_look_at_nginx(machine: Machine) -> None:
    """A unit file of somebody's own, or a link to one, is no mask."""
    unit = machine.root / "etc/systemd/system/nginx.service"
    unit.parent.mkdir(parents=True)
    unit.symlink_to("/lib/systemd/system/nginx.service")
    assert not see(machine).nginx_masked
    unit.unlink()
    unit.symlink_to("/dev/null")
    assert see(machine).nginx_masked


def test_a_look_at_the_engine(short_path: Path, serve: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a tag is told by the digest, and an image without either has none."""
    monkeypatch.setattr(uninstall, "_home", lambda _name: "")
    images = [
        {"RepoTags": ["vllm/vllm-openai:v0.11", "localhost:5000/mine:1"]},
        {"RepoTags": ["<none>:<none>"], "RepoDigests": ["nvcr.io/nim/meta/llama@sha256:00"]},
        {"RepoTags": None, "RepoDigests": None},
    ]
    answers = {
        uninstall._CONTAINERS: json.dumps([{"Labels": {KIND: "nim"}}, {"Labels": None}]).encode(),
        "/images/json": json.dumps(images).encode(),
    }
    socket = serve("docker.sock", answers)
    docker = {"code": None, "reachable": True, "endpoint": f"unix:///{socket.relative_to(short_path)}"}
    seen = look(Machine(short_path, {}), LAB, host(docker=docker), None, ())
    assert seen.containers == ("nim", "")
    assert seen.images == ("vllm/vllm-openai", "localhost:5000/mine", "nvcr.io/nim/meta/llama")


@pytest.mark.parametrize("answer", [b"{", b"nothing"])
def test_an_engine_that_does_not_tell(
    short_path: Path, serve: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(uninstall, "_home", lambda _name: "")
    socket = serve("docker.sock", {uninstall._CONTAINERS: answer})
    docker = {"code": None, "reachable": True, "endpoint": f"unix:///{socket.relative_to(short_path)}"}
    seen = look(Machine(short_path, {}), LAB, host(docker=docker), None, ())
    assert (seen.containers, seen.images) == (None, ())
    assert parts(host(docker=docker), seen) == ["nim", "vllm"]
