# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core of managed containers on a real engine with a real registry: what the integration targets cannot reach."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any

import model_registry
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import (
    managed,
    oneshot,
    readiness,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import plan as plans
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine, connect, pull
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account

SIZE = 6_000_000
PREFIX = f"nemoclaw-test-{secrets.token_hex(4)}"


def docker(*arguments: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, timeout=60, check=True)
    return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def engine() -> Engine:
    if not shutil.which("docker"):
        pytest.skip("there is no Docker engine on this machine")
    return connect(Machine(), find_account())


@pytest.fixture
def registry() -> Iterator[model_registry.Registry]:
    with model_registry.serving() as running:
        yield running


@pytest.fixture
def pushed(engine: Engine, registry: model_registry.Registry) -> Iterator[str]:
    """The name of an image that only the registry has; its one layer is noise, so that it weighs what it says."""
    name = f"127.0.0.1:{registry.port}/{PREFIX}/noise:1"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = SIZE
        tar.addfile(entry, io.BytesIO(os.urandom(SIZE)))
    docker("import", "-c", 'CMD ["/noise"]', "-", name, stdin=archive.getvalue())
    docker("push", "--quiet", name)
    docker("rmi", name)
    yield name
    subprocess.run(["docker", "rmi", name], capture_output=True, timeout=60, check=False)


def test_pulled_with_progress(engine: Engine, pushed: str) -> None:
    reports: list[Any] = []
    assert pull(engine, pushed, reports.append)["Id"].startswith("sha256:")
    assert reports[-1].phase == "pull"
    assert SIZE <= reports[-1].completed == reports[-1].total < SIZE * 1.1
    assert engine.image(pushed) is not None


def test_a_pull_that_stops_half_way(engine: Engine, registry: model_registry.Registry, pushed: str) -> None:
    registry.content.silent_after = SIZE // 2
    with pytest.raises(Failure) as raised:
        pull(engine, pushed, stall_s=3)
    assert raised.value.code == "pull_stalled"
    assert raised.value.details["progress"]["total"] >= SIZE
    assert engine.image(pushed) is None


@pytest.mark.parametrize("name", ["not", "noise:2"])
def test_what_is_not_there(engine: Engine, pushed: str, name: str) -> None:
    with pytest.raises(Failure) as raised:
        pull(engine, f"{pushed.rpartition('/')[0]}/{name}")
    assert raised.value.code == "image_not_found"


def spec(image: str, **more: Any) -> Spec:
    return Spec(name=f"{PREFIX}-server", kind="vllm", image=image, **more)


@pytest.fixture
def clean(engine: Engine) -> Iterator[None]:
    yield
    managed.remove(engine, f"{PREFIX}-server", "vllm", False)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("gpus", ["all", "0,1", "GPU-8f3a1c2d"])
def test_gpu_flags_are_taken_on_create_and_explained_on_start(engine: Engine, pushed: str, gpus: str) -> None:
    """This machine has no NVIDIA runtime: the engine takes the flags when it creates a container and needs it to start one."""
    pull(engine, pushed)
    wanted = spec(pushed, gpus=gpus)
    engine.create(wanted.name, wanted.body())
    assert plans.make_plan(engine, wanted).step == "start", "what was created is what was wanted"
    engine.remove(wanted.name)
    with pytest.raises(Failure) as raised:
        managed.apply(engine, plans.make_plan(engine, wanted))
    assert raised.value.code == "nvidia_runtime_missing"
    assert engine.container(wanted.name) is None


@pytest.mark.usefixtures("clean")
def test_a_program_for_another_processor(engine: Engine, pushed: str) -> None:
    pull(engine, pushed)
    with pytest.raises(Failure) as raised:
        managed.apply(engine, plans.make_plan(engine, spec(pushed)))
    assert raised.value.code == "docker_refused"  # noise is no program at all, which the engine says before it tries
    assert engine.container(f"{PREFIX}-server") is None


def test_a_one_shot_that_cannot_start_leaves_nothing(engine: Engine, pushed: str) -> None:
    pull(engine, pushed)
    work = Spec(name=f"{PREFIX}-work", kind="vllm", image=pushed, command=("/noise",), restart=False)
    with pytest.raises(Failure):
        oneshot.run(engine, work, lambda: oneshot.Amount(0, None, 0), 5, "Working")
    assert engine.container(work.name) is None


@pytest.fixture
def base() -> str:
    """An image that can run something."""
    if "LAB_FIREWALL_IMAGE" not in os.environ:
        pytest.skip("there is no image of a host: bin/test makes it")
    return os.environ["LAB_FIREWALL_IMAGE"]


@pytest.mark.usefixtures("clean")
def test_the_one_before_comes_back(engine: Engine, base: str) -> None:
    """With the names, policies and states of a real engine, and nothing in it that could answer."""
    loop = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    old = spec(base, command=("sh", "-c", loop), model="old")
    managed.apply(engine, plans.make_plan(engine, old))
    engine.set_restart_policy(old.name, old.restart_policy)
    assert plans.make_plan(engine, old).step == "none"
    with pytest.raises(Failure) as raised:
        managed.apply(engine, plans.make_plan(engine, spec(base, command=("/no/such/program",))))
    assert raised.value.details["restored"] == old.name
    assert "the previous one (old) runs again" in raised.value.message
    assert plans.make_plan(engine, old).step == "none"
    assert [engine.container(old.name + ending) for ending in (plans.PREVIOUS, plans.NEXT)] == [None, None]
    # Of a run that was killed before the new one had its name.
    engine.rename(old.name, old.name + plans.PREVIOUS)
    assert plans.make_plan(engine, old).step == "rename"
    managed.apply(engine, plans.make_plan(engine, old))
    assert managed.stop(engine, old.name, "vllm", check_mode=False) == [f"stop {old.name}"]
    assert managed.stop(engine, old.name, "vllm", check_mode=False) == []


def test_what_is_not_there_is_none(engine: Engine) -> None:
    assert engine.container(f"{PREFIX}-none") is None
    assert engine.image(f"{PREFIX}/none:1") is None
    assert engine.network(f"{PREFIX}-none") is None
    assert engine.logs(f"{PREFIX}-none", 10) == ""
    engine.remove(f"{PREFIX}-none")
    engine.stop(f"{PREFIX}-none")
    with pytest.raises(Failure) as raised:
        readiness.look(engine, readiness.Server(f"{PREFIX}-none", 1, ()))
    assert raised.value.code == "container_gone"
