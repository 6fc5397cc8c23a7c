# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of machine a host is."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.platform import (
    Platform,
    classify_platform,
    normalise_architecture,
    parse_os_release,
    read_platform,
    refine_by_gpu_names,
    vllm_profile,
)


@pytest.mark.parametrize(
    ("product_name", "expected"),
    [
        ("NVIDIA_DGX_Spark", "dgx-spark"),
        ("NVIDIA DGX Spark", "dgx-spark"),
        ("nvidia-dgx-spark-founders", "dgx-spark"),
        ("DGX_Station_GB300", "dgx-station"),
        ("GB300 DGX Station", "dgx-station"),
        ("Dell Pro Max with Station GB300", "dgx-station"),
        ("NVIDIA P3830 Rev A", "dgx-station"),
        ("P38301", "linux"),
        ("XP3830", "linux"),
        ("Weather Station GB3000", "linux"),
        ("Precision Workstation GB300", "linux"),
        ("NVIDIA Jetson Thor Developer Kit", "jetson"),
        ("DGXH100", "linux"),
        ("Sparkling DGX", "linux"),
        ("", "linux"),
    ],
)
def test_firmware_names(product_name: str, expected: str) -> None:
    found = classify_platform("6.8.0", [], product_name, "", [])
    assert found.name == expected
    assert product_name in found.evidence


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("6.6.87.2-microsoft-standard-WSL2", [], "", "", []), "wsl"),
        (("4.4.0-19041-Microsoft", [], "", "", []), "wsl"),
        (("6.6.87-custom", ["WSL_INTEROP"], "", "", []), "wsl"),
        (("6.6.87.2-microsoft-standard-WSL2", [], "NVIDIA DGX Spark", "", ["/dev/nvmap"]), "wsl"),
        (("5.15.0", [], "", "NVIDIA Jetson Orin NX", []), "jetson"),
        (("5.15.0", [], "Generic Carrier", "NVIDIA Orin Nano", []), "jetson"),
        (("5.15.0", [], "Generic Carrier", "", ["/dev/nvhost-gpu"]), "jetson"),
        (("5.15.0", [], "NVIDIA DGX Spark", "", ["/dev/nvmap"]), "dgx-spark"),
        (("6.1.0", [], "", "Raspberry Pi 5 Model B", []), "linux"),
    ],
)
def test_sources_in_their_order(arguments: tuple, expected: str) -> None:
    assert classify_platform(*arguments).name == expected


def test_reads_a_device_tree_name_without_its_nul(tmp_path: Path) -> None:
    model = tmp_path / "sys/firmware/devicetree/base/model"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"NVIDIA Jetson AGX Orin\0")
    platform = read_platform(Machine(root=tmp_path, environ={}))
    assert platform == Platform("jetson", "the device tree model is 'NVIDIA Jetson AGX Orin'")


@pytest.mark.parametrize(
    ("platform", "names", "expected"),
    [
        ("linux", ["NVIDIA GB10"], "dgx-spark"),
        ("linux", ["NVIDIA GB100"], "linux"),
        ("linux", [], "linux"),
        ("wsl", ["NVIDIA GB10"], "wsl"),
        ("jetson", ["NVIDIA GB10"], "jetson"),
    ],
)
def test_gb10_makes_a_linux_host_a_spark(platform: str, names: list[str], expected: str) -> None:
    assert refine_by_gpu_names(Platform(platform, "before"), names).name == expected


@pytest.mark.parametrize(
    ("platform", "has_gpu", "expected"),
    [
        ("dgx-spark", True, "dgx-spark"),
        ("dgx-station", False, "dgx-station"),
        ("jetson", True, "linux-nvidia"),
        ("wsl", True, "linux-nvidia"),
        ("wsl", False, "none"),
        ("linux", True, "linux-nvidia"),
        ("linux", False, "none"),
    ],
)
def test_vllm_profile(platform: str, has_gpu: bool, expected: str) -> None:
    assert vllm_profile(platform, has_gpu) == expected


def test_architecture_names() -> None:
    assert [normalise_architecture(name) for name in ("x86_64", "aarch64", "riscv64")] == ["amd64", "arm64", "riscv64"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n', ("ubuntu", "24.04", "Ubuntu 24.04 LTS")),
        ("# a comment\nID='arch'\n\nBUILD_ID=rolling\n", ("arch", None, None)),
        ('ID="unclosed\nVERSION_ID=\n', ('"unclosed', None, None)),
        ("not a variable", (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_os_release(text: str | None, expected: tuple) -> None:
    assert tuple(parse_os_release(text).values()) == expected
