# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What kind of host this is: firmware names, kernel release, distribution. Rules of upstream-facts N1.

Nothing here decides how sandboxes reach a server: a name that the WSL shell resolves says nothing about containers, and the
other way round (NemoClaw #8127). The sandbox_probe module finds that out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from .machine import Machine

DMI_PRODUCT_NAME = "/sys/class/dmi/id/product_name"
DEVICE_TREE_MODEL = "/sys/firmware/devicetree/base/model"
# /proc and not uname(2), so that what a container or a test shows as its kernel is believed.
KERNEL_RELEASE = "/proc/sys/kernel/osrelease"
# Any one of them means an integrated Tegra GPU (upstream-facts N1).
TEGRA_DEVICE_NODES = ("/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvhost-ctrl", "/dev/nvmap")

# Firmware names, first match wins (upstream-facts N1). "DGX_Station_GB300" and "Dell Pro Max with Station GB300" are
# names that real machines report (NVIDIA/NemoClaw issues 7417, 7108).
_FIRMWARE = (
    ("dgx-spark", re.compile(r"DGX[\s_-]+Spark", re.IGNORECASE)),
    (
        "dgx-station",
        re.compile(
            r"DGX[\s_-]+Station|(?<![A-Za-z0-9])(?:P3830|Station[\s_-]+GB300)(?![A-Za-z0-9])",
            re.IGNORECASE,
        ),
    ),
    ("jetson", re.compile(r"Jetson|Tegra|Thor|Orin|Xavier", re.IGNORECASE)),
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Platform(NamedTuple):
    """C(dgx-spark), C(dgx-station), C(jetson), C(wsl) or C(linux), and what gave it away."""

    name: str
    evidence: str


def read_platform(machine: Machine) -> Platform:
    """Classify the host from its files and environment; GPU names are judged later by refine_by_gpu_names."""
    return classify_platform(
        release=(machine.read(KERNEL_RELEASE) or "").strip(),
        wsl_variables=[name for name in ("WSL_DISTRO_NAME", "WSL_INTEROP") if machine.environ.get(name)],
        product_name=(machine.read(DMI_PRODUCT_NAME) or "").strip(),
        device_tree_model=(machine.read(DEVICE_TREE_MODEL) or "").strip(),
        tegra_nodes=[node for node in TEGRA_DEVICE_NODES if machine.exists(node)],
    )


def classify_platform(
    release: str, wsl_variables: Sequence[str], product_name: str, device_tree_model: str, tegra_nodes: Sequence[str]
) -> Platform:
    """Return the platform.

    WSL comes first: its network and its Docker differ from Linux's whatever the hardware is, and Windows hands no
    firmware names through that would tell more.

    Args:
        release: Kernel release, for example C(6.6.87.2-microsoft-standard-WSL2).
        wsl_variables: Those of WSL_DISTRO_NAME and WSL_INTEROP that are set.
        product_name: DMI product name, empty without DMI.
        device_tree_model: Device tree model, empty without a device tree.
        tegra_nodes: Tegra device nodes that exist.

    """
    if "microsoft" in release.lower():
        return Platform("wsl", f"the kernel release is {release!r}")
    if wsl_variables:
        return Platform("wsl", f"{wsl_variables[0]} is set in the environment")
    for source, value in (("DMI product name", product_name), ("device tree model", device_tree_model)):
        for name, pattern in _FIRMWARE:
            if pattern.search(value):
                return Platform(name, f"the {source} is {value!r}")
    if tegra_nodes:
        return Platform("jetson", f"the Tegra device node {tegra_nodes[0]} exists")
    if product_name:
        return Platform("linux", f"the DMI product name {product_name!r} is no NVIDIA platform")
    if device_tree_model:
        return Platform("linux", f"the device tree model {device_tree_model!r} is no NVIDIA platform")
    return Platform("linux", "the firmware names no product")


def refine_by_gpu_names(platform: Platform, unified_gpu_names: Sequence[str]) -> Platform:
    """Return C(dgx-spark) for a Linux host whose trusted, unified-memory GPU is a GB10.

    Partners sell the Spark's board under names of their own, which no list of firmware names can keep up with.
    """
    if platform.name == "linux":
        for name in unified_gpu_names:
            if re.search(r"\bGB10\b", name, re.IGNORECASE):
                return Platform("dgx-spark", f"nvidia-smi names the GPU {name!r} with unified memory")
    return platform


def vllm_profile(platform_name: str, has_nvidia_gpu: bool) -> str:
    """Return the vLLM profile: C(dgx-spark), C(dgx-station), C(linux-nvidia) or C(none) (upstream-facts N27)."""
    if platform_name in ("dgx-spark", "dgx-station"):
        return platform_name
    return "linux-nvidia" if has_nvidia_gpu else "none"


def normalise_architecture(machine_name: str) -> str:
    """Return the CPU architecture as images and release archives name it; an unknown one unchanged."""
    return _ARCHITECTURES.get(machine_name, machine_name)


def parse_os_release(text: str | None) -> dict[str, str | None]:
    """Return C(id), C(version) and C(pretty_name) of /etc/os-release, each None when it is not given."""
    values: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, separator, value = line.strip().partition("=")
        if not separator or key.startswith("#"):
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            words = [value]
        values[key] = words[0] if words else ""
    return {
        "id": values.get("ID") or None,
        "version": values.get("VERSION_ID") or None,
        "pretty_name": values.get("PRETTY_NAME") or None,
    }
