# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins and images at a real registry with a password, asked through a real Docker engine: what a wrong key costs is nothing."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import secrets
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_registry
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine, connect, pull
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry import image as access_module
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.image import (
    Access,
    check_architecture,
    download_bytes,
    inspect_image,
    log_in,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import (
    NGC_USER,
    Credential,
    Reference,
    find_login,
    ngc_login,
    parse_reference,
)

docker = pytest.importorskip("docker")

KEY = f"canary-{secrets.token_hex(12)}"
LAYER = 40_000


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    try:
        client = docker.APIClient(version="auto", timeout=30)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers to this user: {error}")
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(api: Any) -> Iterator[Reference]:
    """Return an image in a registry that wants NVIDIA's user name and our key, and that the engine does not have."""
    with model_registry.serving(htpasswd=model_registry.htpasswd_line(NGC_USER, KEY)) as registry:
        yield push(api, f"127.0.0.1:{registry.port}/nim/lab/small", ngc_login(KEY).as_auth_config(""))


def push(api: Any, name: str, login: dict[str, str]) -> Reference:
    api.import_image_from_data(layer(), repository=name, tag="1")
    pushed = list(api.push(name, tag="1", auth_config=login, stream=True, decode=True))
    assert not any("error" in line for line in pushed), pushed[-1]
    api.remove_image(f"{name}:1")
    return parse_reference(f"{name}:1")


def layer() -> bytes:
    """Return a layer that hardly shrinks when it is packed."""
    content, text = io.BytesIO(), secrets.token_bytes(LAYER)
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("noise")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return content.getvalue()


def refusal(action: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        action()
    assert KEY not in failed.value.message + str(failed.value.details)
    return failed.value


def test_the_right_key_sees_the_image(api: Any, image: Reference) -> None:
    log_in(api, image.registry, ngc_login(KEY))
    found = inspect_image(api, image, ngc_login(KEY))
    assert found.architectures == ("amd64",)
    assert (found.digest or "").startswith("sha256:")
    size = download_bytes(image, "amd64", ngc_login(KEY))
    assert size is not None
    assert LAYER < size < LAYER + 5_000
    by_digest = parse_reference(f"{image.name}@{found.digest}")
    assert inspect_image(api, by_digest, ngc_login(KEY)) == found
    assert download_bytes(by_digest, "amd64", ngc_login(KEY)) == size


@pytest.mark.parametrize("credential", [None, ngc_login("wrong"), Credential("alice", KEY)])
def test_any_other_does_not(api: Any, image: Reference, credential: Credential | None) -> None:
    assert refusal(lambda: inspect_image(api, image, credential)).code == "registry_unauthorized"
    assert download_bytes(image, "amd64", credential) is None
    if credential:
        assert refusal(lambda: log_in(api, image.registry, credential)).code == "registry_unauthorized"


@pytest.mark.parametrize("name", ["nim/lab/small:2", "nim/lab/other:1"])
def test_an_image_that_is_not_there(api: Any, image: Reference, name: str) -> None:
    missing = parse_reference(f"{image.registry}/{name}")
    assert refusal(lambda: inspect_image(api, missing, ngc_login(KEY))).code == "image_not_found"
    assert download_bytes(missing, "amd64", ngc_login(KEY)) is None


def test_an_image_for_another_cpu(api: Any) -> None:
    with model_registry.serving() as registry:
        registry.push("lab/arm", "1", architecture="arm64")
        arm = parse_reference(f"127.0.0.1:{registry.port}/lab/arm:1")
        found = inspect_image(api, arm, None)
        assert found.architectures == ("arm64",)
        assert refusal(lambda: check_architecture(arm, found, "amd64")).code == "image_architecture"


PAGE = "<html><head><title>429 Too Many Requests</title></head></html>"


@pytest.fixture(scope="module")
def gate(api: Any) -> Iterator[model_registry.Limiter]:
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(model_registry.serving())
        push(api, f"127.0.0.1:{registry.port}/lab/popular", {})
        yield stack.enter_context(model_registry.limiting(registry))


@pytest.mark.parametrize("body", [None, PAGE], ids=["as a registry", "as a gate before one"])
@pytest.mark.parametrize("limited", ["/manifests/", "/blobs/"])
def test_a_registry_that_has_had_enough(
    api: Any, gate: model_registry.Limiter, monkeypatch: pytest.MonkeyPatch, limited: str, body: str | None
) -> None:
    monkeypatch.setattr(gate, "limited", re.compile(limited))
    monkeypatch.setattr(gate, "body", body or gate.body)
    popular = parse_reference(f"127.0.0.1:{gate.server_port}/lab/popular:1")
    engine = connect(Machine(), find_account())
    outcomes = [refusal(lambda: pull(engine, str(popular)))]
    if limited == "/manifests/":
        outcomes.append(refusal(lambda: inspect_image(api, popular, None)))
        assert download_bytes(popular, "amd64") is None
    for failure in outcomes:
        assert failure.code == "registry_rate_limited"
        assert "log in, or wait" in failure.message
    assert any(limited in path for path in gate.asked)
    assert engine.image(str(popular)) is None


def test_a_login_at_a_registry_that_has_had_enough(
    api: Any, gate: model_registry.Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "limited", re.compile("^/v2/$"))
    failure = refusal(lambda: log_in(api, f"127.0.0.1:{gate.server_port}", ngc_login(KEY)))
    assert failure.code == "registry_rate_limited"


def test_a_registry_that_is_not_there(api: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = parse_reference(f"127.0.0.1:{unused.getsockname()[1]}/a:1")
    assert refusal(lambda: inspect_image(api, gone, None)).code == "registry_unreachable"
    assert download_bytes(gone, "amd64") is None


def test_a_registry_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = parse_reference(f"127.0.0.1:{silent.getsockname()[1]}/a:1")
        impatient = docker.APIClient(version="auto", timeout=1)
        assert refusal(lambda: inspect_image(impatient, hanging, None)).code == "registry_unreachable"
        assert download_bytes(hanging, "amd64", None, limit_s=0.5) is None


def test_the_login_of_the_docker_command(api: Any, image: Reference, tmp_path: Path) -> None:
    """The login was made by Docker's own command, whose file we read."""
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"}
    machine = Machine(environ=environment)
    access = Access(api, machine, find_account(), None, image.registry)
    assert access.login(image.registry).credential is None
    command = ["docker", "login", image.registry, "--username", NGC_USER, "--password-stdin"]
    subprocess.run(command, input=KEY, env=environment, text=True, capture_output=True, check=True)
    access = Access(api, machine, find_account(), "another", image.registry)
    # At a mirror the user's own login wins over a key.
    assert access.inspect(image).architectures == ("amd64",)
    assert access.as_facts(image.registry)["source"] == "auths"
    assert KEY not in json.dumps(access.as_facts(image.registry))
    assert access.secrets() == [KEY]


@pytest.mark.parametrize("helper", [None, "#!/bin/sh\nsleep 600\n"], ids=["missing", "waiting for a keyring"])
def test_the_sdk_asks_no_credential_helper(
    image: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: str | None
) -> None:
    """As on WSL, where Docker Desktop's store is configured and its program is not on the PATH of another user."""
    programs, folder = tmp_path / "bin", tmp_path / "docker"
    programs.mkdir()
    folder.mkdir()
    (folder / "config.json").write_text('{"credsStore": "desktop.exe"}', encoding="utf-8")
    if helper:
        (programs / "docker-credential-desktop.exe").write_text(helper, encoding="utf-8")
        (programs / "docker-credential-desktop.exe").chmod(0o755)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    client = docker.APIClient(version="auto", timeout=30)
    started = time.monotonic()
    log_in(client, image.registry, ngc_login(KEY))
    assert inspect_image(client, image, ngc_login(KEY)).architectures == ("amd64",)
    assert refusal(lambda: inspect_image(client, image, None)).code == "registry_unauthorized"
    engine = Engine(client, {"endpoint": client.base_url, "kind": "native"})
    list(engine.pull(str(image), ngc_login(KEY).as_auth_config(image.registry)))
    client.remove_image(str(image))
    with pytest.raises(Failure, match="no basic auth credentials"):
        list(engine.pull(str(image)))
    assert time.monotonic() - started < 20
    # What the user is told names the helper.
    machine = Machine(environ={"DOCKER_CONFIG": str(folder), "PATH": f"{programs}:/usr/bin:/bin"})
    monkeypatch.setattr(access_module, "find_login", functools.partial(find_login, limit_s=0.5))
    failure = refusal(lambda: Access(client, machine, find_account()).inspect(image))
    assert failure.code == "registry_unauthorized"
    assert "docker-credential-desktop.exe" in failure.message
    assert "Nobody is logged in" not in failure.message


def test_a_key_is_checked_once_and_kept_nowhere(api: Any, image: Reference, tmp_path: Path) -> None:
    machine = Machine(environ={"DOCKER_CONFIG": str(tmp_path), "PATH": "/usr/bin:/bin"})
    access = Access(api, machine, find_account(), KEY, image.registry)
    assert access.inspect(image).architectures == ("amd64",)
    assert access.as_facts(image.registry)["source"] == "key"
    assert list(tmp_path.iterdir()) == []
    wrong = Access(api, machine, find_account(), "wrong", image.registry)
    assert refusal(lambda: wrong.inspect(image)).code == "registry_unauthorized"
