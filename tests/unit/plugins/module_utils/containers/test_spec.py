# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The body that the engine gets, and what counts as a difference."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import (
    SECRETS,
    Difference,
    Mount,
    Spec,
    as_diff,
    differences,
    gpus_of,
    is_sealed,
    seal,
    seals_of,
)

SECRET = "canary-51c0ffee"
SPEC = Spec(
    name="served",
    kind="vllm",
    image="lab/vllm:1",
    command=("vllm", "serve", "m"),
    environment={"A": "1"},
    secrets={"KEY": SECRET},
    mounts=(Mount("/srv/hub", "/hub"),),
    addresses=("127.0.0.1", "172.17.0.1"),
    port=8000,
    container_port=8000,
    gpus="all",
    ipc="host",
    model="m",
)
IMAGE = {"Id": "sha256:aaaa"}


def inspected(spec: Spec = SPEC, image: str = "sha256:aaaa") -> dict[str, Any]:
    """Return what the engine says of a container made from the spec: what the image and the engine add is there too."""
    body = spec.body()
    host = {"ShmSize": 67108864, "IpcMode": "private", **body["HostConfig"]}
    env = ["PATH=/usr/bin", "CUDA=12", *body["Env"]]
    labels = {"maintainer": "somebody", **body["Labels"]}
    return {"Image": image, "Config": {**body, "Env": env, "Labels": labels}, "HostConfig": host}


def test_what_was_made_from_it_is_as_wanted() -> None:
    assert differences(SPEC, inspected(), IMAGE) == []
    assert differences(SPEC, inspected(), None) == [], "the tag is gone, the container runs the image that had it"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"image": "lab/vllm:2"}, ["image"]),
        ({"command": ("vllm", "serve", "other")}, ["command"]),
        ({"entrypoint": ("vllm",)}, ["entrypoint"]),
        ({"user": "1000:1000"}, ["user"]),
        ({"shm_bytes": 1 << 34}, ["shm_bytes"]),
        ({"mounts": (Mount("/srv/hub", "/hub", read_only=False),)}, ["mounts"]),
        ({"addresses": ("127.0.0.1",)}, ["ports"]),
        ({"port": 8001}, ["ports"]),
        ({"gpus": "GPU-1,GPU-2"}, ["gpus"]),
        ({"gpus": "none"}, ["gpus"]),
        ({"environment": {"A": "2"}}, ["environment A"]),
        ({"environment": {}}, ["environment A"]),
        ({"environment": {"A": "1", "B": "2"}}, ["environment B"]),
        ({"secrets": {"KEY": "another"}}, ["environment KEY"]),
        ({"secrets": {}}, ["environment KEY"]),
        ({"restart": False}, ["restart_policy"]),
        ({"name": "renamed", "model": "n"}, []),
    ],
)
def test_each_option_that_differs_is_named(changes: dict[str, Any], names: list[str]) -> None:
    assert [change.name for change in differences(dataclasses.replace(SPEC, **changes), inspected(), IMAGE)] == names


def test_a_tag_that_moved_is_another_image() -> None:
    (change,) = differences(SPEC, inspected(), {"Id": "sha256:bbbb"})
    assert (change.before, change.after) == ("lab/vllm:1 (sha256:aaaa)", "lab/vllm:1 (sha256:bbbb)")


def test_variables_of_the_image_are_not_ours_to_remove() -> None:
    found = inspected()
    found["Config"]["Env"].append("NEW_IN_THE_IMAGE=1")
    assert differences(SPEC, found, IMAGE) == []


def test_only_the_restart_policy_is_changed_in_place() -> None:
    found = inspected()
    found["HostConfig"]["RestartPolicy"] = {"Name": "no"}
    assert differences(SPEC, found, IMAGE) == [Difference("restart_policy", "no", "unless-stopped", in_place=True)]


def test_no_secret_is_in_a_label_or_a_difference() -> None:
    assert SECRET not in json.dumps(SPEC.body()["Labels"])
    for secrets in ({"KEY": SECRET + "2"}, {}, {"KEY": SECRET, "OTHER": SECRET + "3"}):
        changes = differences(dataclasses.replace(SPEC, secrets=secrets), inspected(), IMAGE)
        assert changes
        assert SECRET not in json.dumps(as_diff(changes, "served", "running", "running"))


def test_a_plain_setting_that_becomes_a_secret_is_hidden() -> None:
    found = inspected(dataclasses.replace(SPEC, secrets={}, environment={"A": "1", "KEY": SECRET}))
    assert SECRET not in str(differences(SPEC, found, IMAGE))


def test_seals() -> None:
    assert is_sealed("a", seal("a"))
    assert not is_sealed("b", seal("a"))
    assert seal("a") != seal("a"), "two containers with one secret do not show it"
    assert not is_sealed("", "")
    assert not is_sealed("a", None)


@pytest.mark.parametrize("label", [None, "", "[]", "{", "null", '"x"'])
def test_a_label_that_nobody_of_us_wrote(label: str | None) -> None:
    assert seals_of(label) == {}


def test_seals_are_read_back() -> None:
    assert is_sealed(SECRET, seals_of(SPEC.body()["Labels"][SECRETS])["KEY"])


@pytest.mark.parametrize(
    ("gpus", "sent"),
    [
        ("none", []),
        ("all", [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]], "Options": {}}]),
        ("1, GPU-8f3a", [{"Driver": "", "DeviceIDs": ["1", "GPU-8f3a"], "Capabilities": [["gpu"]], "Options": {}}]),
    ],
)
def test_the_gpu_flag_is_what_docker_run_sends(gpus: str, sent: list[dict[str, Any]]) -> None:
    body = dataclasses.replace(SPEC, gpus=gpus).body()
    assert body["HostConfig"]["DeviceRequests"] == sent
    assert gpus_of(body) == gpus.replace(" ", "")
