# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads and deletions by a real Ollama from a real registry, and everything that goes wrong on the way."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import healthy_process
import model_registry
import ollama_server
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.catalogue import Size
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.daemon import Daemon, identify, weights_of
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import parse_address
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.model import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.model_work import (
    check_room,
    converge,
    find_store,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.names import ModelName

MEGABYTES = 1_000_000


def make(daemon: ollama_server.Ollama, name: str, state: str = "present", check: bool = False, **desired: Any) -> Any:
    desired = {"allow_download": True, "insecure_registry": True, "stall_timeout": 5, "timeout": 30, **desired}
    return converge(Daemon(parse_address(daemon.host)), Desired(name, state, **desired), dict, check)


def failing(daemon: ollama_server.Ollama, name: str, state: str = "present", **desired: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        make(daemon, name, state, **desired)
    assert failed.value.message.endswith(".")
    return failed.value


def names(daemon: ollama_server.Ollama) -> list[str]:
    return [one["name"] for one in identify(Daemon(parse_address(daemon.host)))[1]]


@pytest.fixture
def swift(registry: model_registry.Registry) -> Iterator[model_registry.Registry]:
    """Return the registry, and end what a test made of its speed."""
    yield registry
    registry.content.rate = registry.content.silent_after = None


def test_from_nothing_to_deleted(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    name = registry.push("lab/whole", "1b", padding=20 * MEGABYTES)
    planned = make(ollama, name, check=True)
    assert (planned["changed"], planned["size_source"], planned["progress"]) == (True, "registry", None)
    assert names(ollama) == []
    done = make(ollama, name)
    assert (done["changed"], done["model"], done["size_source"]) == (True, name, "disk")
    # /api/tags counts the configuration in, which the manifest lists apart from the layers.
    assert planned["size"] < done["size"] < planned["size"] + 1000
    assert done["actions"] == planned["actions"] == [f"pull {name}, 19.07 MiB"]
    assert (done["progress"]["phase"], done["progress"]["percent"]) == ("done", 100.0)
    assert done["progress"]["completed"] == done["progress"]["total"] > 20 * MEGABYTES
    assert done["capabilities"] == ["completion", "tools"]
    again = make(ollama, name.upper().replace("LOCALHOST", "localhost"))
    assert (again["changed"], again["progress"], again["digest"]) == (False, None, done["digest"])
    assert make(ollama, name, "unloaded")["changed"] is False
    assert make(ollama, name, "absent", check=True)["changed"] is True
    assert names(ollama) == [name]
    assert make(ollama, name, "absent")["changed"] is True
    assert make(ollama, name, "absent")["changed"] is False
    assert names(ollama) == []


def test_the_weights_that_models_share(
    ollama: ollama_server.Ollama, registry: model_registry.Registry, pull: Any
) -> None:
    name = registry.push("lab/shared", "1b")
    other = registry.push("lab/other", "1b", padding=10)
    for one in (name, other):
        pull(one)
    daemon = Daemon(parse_address(ollama.host))
    assert daemon.ask("POST", "/api/copy", {"source": name, "destination": "copied:1b"}).status == 200
    made = daemon.ask(
        "POST", "/api/create", {"model": "spoken:1b", "from": name, "system": "Be brief.", "stream": False}
    )
    assert made.status == 200, made.error
    digests = {one["name"]: one["digest"] for one in identify(daemon)[1]}
    assert digests[name] == digests["copied:1b"] != digests["spoken:1b"]
    assert weights_of(daemon, name) is not None
    assert weights_of(daemon, name) == weights_of(daemon, "copied:1b") == weights_of(daemon, "spoken:1b")
    assert weights_of(daemon, other) not in (None, weights_of(daemon, name))


def test_latest_is_what_no_tag_means(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    name = registry.push("lab/untagged", "latest")
    assert make(ollama, name.removesuffix(":latest"))["model"] == name
    assert make(ollama, name)["changed"] is False


def test_no_byte_without_consent(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    name = registry.push("lab/consent", "1b", padding=5 * MEGABYTES)
    sent = registry.content.sent
    failure = failing(ollama, name, allow_download=False)
    assert (failure.code, failure.details["size_source"]) == ("download_not_allowed", "registry")
    assert "4.77 MiB" in failure.message and "allow_download" in failure.message
    assert (registry.content.sent, names(ollama)) == (sent, [])


def test_a_model_without_tools(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    name = registry.push("lab/plain", "1b", tools=False)
    failure = failing(ollama, name)
    assert (failure.code, failure.details["capabilities"]) == ("model_without_tools", ["completion"])
    assert "ollama show" in failure.message and "deleted again" in failure.message
    assert names(ollama) == []
    assert make(ollama, name, require_tools=False)["capabilities"] == ["completion"]


def test_cut_in_the_middle_and_resumed(ollama: ollama_server.Ollama, swift: model_registry.Registry) -> None:
    name = swift.push("lab/cut", "1b", padding=30 * MEGABYTES)
    swift.content.rate, swift.content.silent_after = 20 * MEGABYTES, swift.content.sent + 15 * MEGABYTES
    started = time.monotonic()
    failure = failing(ollama, name, stall_timeout=2)
    assert failure.code == "pull_stalled"
    assert time.monotonic() - started < 15
    assert 45 < failure.details["progress"]["percent"] < 55
    assert names(ollama) == []
    swift.content.rate = swift.content.silent_after = None
    before = swift.content.sent
    done = make(ollama, name)
    assert done["progress"]["percent"] == 100
    assert done["progress"]["completed"] > 30 * MEGABYTES
    # The first half did not travel again.
    assert swift.content.sent - before < 16 * MEGABYTES


def test_a_connection_that_is_closed_in_the_middle(
    ollama: ollama_server.Ollama, swift: model_registry.Registry
) -> None:
    name = swift.push("lab/closed", "1b", padding=30 * MEGABYTES)
    before = swift.content.sent
    swift.content.cut_after = before + 15 * MEGABYTES
    done = make(ollama, name)
    assert (swift.content.cut_after, done["progress"]["percent"], names(ollama)) == (None, 100, [name])
    assert len(swift.content.ranges) > 1
    # The daemon goes on from there by itself; what was under way when it was closed may travel twice.
    assert swift.content.sent - before < 35 * MEGABYTES


def test_what_the_registry_does_not_have(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    registry.push("lab/known", "1b")
    for name in ("lab/known:no-such-tag", "lab/unknown:1b"):
        failure = failing(ollama, f"localhost:{registry.port}/{name}")
        assert (failure.code, "no such model or tag" in failure.message) == ("model_not_in_registry", True)


def test_a_registry_with_a_password(ollama: ollama_server.Ollama) -> None:
    with model_registry.serving(htpasswd="me:$2y$05$abcdefghijklmnopqrstuv") as registry:
        assert failing(ollama, f"localhost:{registry.port}/lab/x:1b").code == "registry_unauthorized"


def test_plain_http_without_consent_to_it(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    name = registry.push("lab/http", "1b")
    for check in (True, False):
        failure = failing(ollama, name, insecure_registry=False, check=check)
        assert (failure.code, "ollama_insecure_registry" in failure.message) == ("registry_insecure", True)
    # Nor is a daemon needed to notice it: Ollama may not be installed yet.
    nobody = Daemon(parse_address(f"127.0.0.1:{ollama_server.free_port()}"))
    with pytest.raises(Failure) as failed:
        converge(nobody, Desired(name, "loaded", allow_download=True), dict, check_mode=True, planning=True)
    assert failed.value.code == "registry_insecure"


def test_a_registry_that_does_not_redirect(ollama: ollama_server.Ollama) -> None:
    with model_registry.serving(redirects=False) as registry:
        failure = failing(ollama, registry.push("lab/direct", "1b"))
    assert failure.code == "registry_without_redirect"
    assert "no Location header" in failure.message and "Air gap" in failure.message


def test_the_registry_of_the_user_guide(ollama: ollama_server.Ollama, tmp_path: Path) -> None:
    """The registry runs by the guide's file with the places of this test; a file server has the part of its nginx (root, one location)."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "user-guide.md").read_text(encoding="utf-8")
    recipe, site = re.findall(r"```(?:yaml|nginx)\n(# /etc/.*?)```", guide, re.DOTALL)
    root, port = re.search(r"root (\S+);", site), ollama_server.free_port()
    assert root and f"rootdirectory: {root[1]}\n" in recipe
    assert "location /docker/registry/v2/blobs/ {" in site
    with model_registry.ContentServer(str(tmp_path / "store")) as content:
        threading.Thread(target=content.serve_forever, daemon=True).start()
        places = {
            root[1]: content.store,
            "blobs.lab.example:5001": f"127.0.0.1:{content.server_address[1]}",
            "addr: :5000": f"addr: 127.0.0.1:{port}",
        }
        for old, new in places.items():
            assert old in recipe
            recipe = recipe.replace(old, new)
        (tmp_path / "config.yml").write_text(recipe, encoding="utf-8")
        process = subprocess.Popen(
            [model_registry.PROGRAM, "serve", tmp_path / "config.yml"], stderr=subprocess.DEVNULL
        )
        try:
            healthy_process.wait_for(process, (port, "/v2/"), tmp_path / "config.yml", 20)
            name = model_registry.Registry(port, content).push("lab/guide", "1b", padding=MEGABYTES)
            assert make(ollama, name)["progress"]["percent"] == 100
            assert name in names(ollama)
        finally:
            process.terminate()
            process.wait(10)
            content.shutdown()


def test_a_registry_that_is_not_there(ollama: ollama_server.Ollama) -> None:
    failure = failing(ollama, f"localhost:{ollama_server.free_port()}/lab/x:1b")
    assert failure.code == "registry_unreachable"
    assert failing(ollama, "localhost:1/lab/x:1b", allow_download=False).details["size_source"] == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_too_small_is_noticed_before_the_first_byte(
    swift: model_registry.Registry, ollama: ollama_server.Ollama
) -> None:
    name = swift.push("lab/large", "1b", padding=30 * MEGABYTES)
    machine, daemon = Machine(), parse_address(ollama.host)
    assert find_store(machine, daemon, find_account()) == str(ollama.store)

    def check(name: ModelName, size: Size) -> None:
        check_room(name, size, str(ollama.store), machine)

    desired = Desired(name, "present", allow_download=True, insecure_registry=True, stall_timeout=2, timeout=30)
    ollama.store.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", ollama.store], check=False).returncode:
        pytest.skip("this machine may not mount")
    try:
        sent = swift.content.sent
        for check_mode in (True, False):
            with pytest.raises(Failure) as failed:
                converge(Daemon(daemon), desired, dict, check_mode, check_room=check)
            assert failed.value.code == "disk_too_small"
            assert "OLLAMA_MODELS" in failed.value.message and failed.value.message.endswith("Nothing was downloaded.")
        assert swift.content.sent == sent
        # What an earlier try has left counts: with two thirds of it there, the rest has room.
        subprocess.run(["mount", "-o", "remount,size=40m", ollama.store], check=True)
        swift.content.rate, swift.content.silent_after = 40 * MEGABYTES, sent + 20 * MEGABYTES
        with pytest.raises(Failure):
            converge(Daemon(daemon), desired, dict, False, check_room=check)
        swift.content.rate = swift.content.silent_after = None
        subprocess.run(["mount", "-o", "remount,size=33m", ollama.store], check=True)
        assert converge(Daemon(daemon), desired, dict, False, check_room=check)["changed"]
    finally:
        subprocess.run(["umount", "--lazy", ollama.store], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk(registry: model_registry.Registry, ollama: ollama_server.Ollama) -> None:
    name = registry.push("lab/full", "1b", padding=30 * MEGABYTES)
    ollama.store.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", ollama.store], check=False).returncode:
        pytest.skip("this machine may not mount")
    try:
        failure = failing(ollama, name)
    finally:
        subprocess.run(["umount", "--lazy", ollama.store], check=True)
    assert failure.code == "disk_full"
    assert "OLLAMA_MODELS" in failure.message


def test_a_daemon_that_dies_while_it_loads(ollama: ollama_server.Ollama, registry: model_registry.Registry) -> None:
    # The model has no tensors, which makes 0.9.3 end with a panic; later versions survive it.
    name = registry.push("lab/dies", "1b")
    failure = failing(ollama, name, "loaded")
    assert failure.code == "load_failed"
    # It takes a moment to print its stack before it lets go of the port.
    deadline = time.monotonic() + 20
    while (code := failing(ollama, name).code) == "ollama_lost" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert code == "ollama_not_running"
    assert make(ollama, name, "unloaded")["changed"] is False


def test_nothing_of_a_failed_pull_is_listed(ollama: ollama_server.Ollama, swift: model_registry.Registry) -> None:
    name = swift.push("lab/damaged", "1b", padding=MEGABYTES)
    blob = max(
        Path(swift.content.store).rglob("data"),
        key=lambda path: path.stat().st_mtime_ns * (path.stat().st_size > 500_000),
    )
    blob.write_bytes(os.urandom(blob.stat().st_size))
    assert failing(ollama, name).code == "pull_damaged"
    assert names(ollama) == []
