# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/nim.md says what is pulled, from the same data as the collection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Host
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim import context as nim
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nim.catalogue import build_catalogue, choose
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions import choose_gpus
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.catalogue import gpu_names

PAGE = (Path(__file__).parents[5] / "docs" / "nim.md").read_text(encoding="utf-8")


def test_the_list_of_models() -> None:
    rows = [
        f"| `{model.name}` | `{model.image}` | {model.needed_memory_mib} MiB | {model.weights_bytes / 10**9:g} GB |"
        for model in build_catalogue()
    ]
    assert re.findall(r"^\| `[^`]+` \| `nim/.*", PAGE, re.MULTILINE) == rows


@pytest.mark.parametrize(
    ("machine", "row", "gpu"), [("dgx-spark", "Spark", "GB10"), ("dgx-station", "Station", "GB300")]
)
def test_what_a_dgx_gets(machine_named: Callable[[str], Machine], machine: str, row: str, gpu: str) -> None:
    host = Host(machine_named(machine), find_account())
    choice = choose(build_catalogue(), choose_gpus("auto", host.gpus), None, gpu_names(host.profile))
    assert f"| DGX {row} | `{choice.model.name}` | `{choice.model.reference()}` | its {gpu}" in PAGE
    assert choice.gpus is not None
    assert all(gpu in device["name"] for device in choice.gpus.devices)


def test_the_constants() -> None:
    assert f"takes {nim.MEMORY_SHARE:.0%}".replace("%", " %") in PAGE
    assert f"{nim.SHM_BYTES // 1024**3} GiB of shared memory" in PAGE
    assert f"`{nim.DEFAULT_NAME}`" in PAGE
    assert f"`~/{nim.DEFAULT_CACHE}`" in PAGE
