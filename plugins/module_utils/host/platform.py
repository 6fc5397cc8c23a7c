# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What kind of host this is: firmware names, kernel release, distribution (upstream-facts N1); on WSL, the way to its Windows.

Nothing here decides how sandboxes reach a server: a name that the WSL shell resolves says nothing about containers, and the
other way round (NemoClaw #8127). The sandbox_probe module finds that out.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .machine import Machine
from .sockets import is_of_this_host

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
# What Docker Desktop calls Windows, in containers and in WSL (page, WSL with Windows-Host Ollama).
WINDOWS_HOST = "host.docker.internal"
# Where WSL registers Windows programs with the kernel; the second name is that of distributions that systemd runs.
INTEROP_ENTRIES = ("/proc/sys/fs/binfmt_misc/WSLInterop", "/proc/sys/fs/binfmt_misc/WSLInterop-late")
_INTEROP_OF_ALL = "/proc/sys/fs/binfmt_misc/status"
_ROUTES = "/proc/net/route"
_NO_ADDRESS = "00000000"
_WSLINFO_LIMIT_S = 2.0
# The addresses from which WSL hands out those of its own network behind NAT.
_WSL_NETWORKS = "172.16.0.0/12"
# How Hyper-V's firewall calls WSL (learn.microsoft.com/windows/wsl/networking).
_WSL_CREATOR = "{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}"


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


def read_wsl(machine: Machine) -> dict[str, Any]:
    """Return version, name, networking mode and interop, None where it cannot be known.

    The mode decides which addresses reach Windows (microsoft/WSL issue 12626), and only C(wslinfo) tells it.
    """
    release = (machine.read(KERNEL_RELEASE) or "").strip()
    mode = None
    wslinfo = machine.find_command("wslinfo")
    if wslinfo is not None:
        answer = machine.run([wslinfo, "--networking-mode"], _WSLINFO_LIMIT_S)
        word = answer.output.strip().lower()
        mode = word if answer.code == 0 and re.fullmatch(r"[a-z]+", word) else None
    return {
        # WSL 1 kernels end in -Microsoft (4.4.0-19041-Microsoft); WSL 2 has its own, microsoft-standard by default.
        "version": 1 if release.endswith("-Microsoft") else 2,
        "distro": machine.environ.get("WSL_DISTRO_NAME") or None,
        "networking_mode": mode,
        "interop": _runs_windows_programs(machine),
    }


def reach_windows(machine: Machine, url: str, resolve: Any = None) -> str:
    """Return the URL of a route as this Linux reaches it now.

    A route to Windows is recorded by the name that its containers know. Where this Linux does not know it (NemoClaw #8127), the
    address behind NAT takes its place, which Windows gives out anew at each start: so it is looked up, and recorded nowhere.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a record that somebody edited: who asks it says what is wrong
        return url
    if parts.hostname != WINDOWS_HOST or read_platform(machine).name != "wsl":
        return url
    mode = read_wsl(machine)["networking_mode"]
    for host in ways_to_windows(machine, mode):
        with contextlib.suppress(OSError):
            address = (resolve or socket.gethostbyname)(host)
            if mode == "mirrored" or not is_of_this_host(address):
                port = f":{parts.port}" if parts.port else ""
                return parts._replace(netloc=f"{host}{port}").geturl()
    return url


def default_gateway(table: str | None) -> str | None:
    """Return the IPv4 gateway of the default route of a /proc/net/route text: with NAT that is Windows."""
    for line in (table or "").splitlines():
        fields = line.split()
        is_default = len(fields) > 3 and fields[1] == _NO_ADDRESS
        if is_default and fields[2] != _NO_ADDRESS and re.fullmatch(r"[0-9A-F]{8}", fields[2]):
            return socket.inet_ntoa(struct.pack("<I", int(fields[2], 16)))
    return None


def ways_to_windows(machine: Machine, mode: str | None) -> list[str]:
    """Return the names and addresses that may reach Windows, the page's first."""
    if mode == "mirrored":
        return [WINDOWS_HOST, "127.0.0.1"]
    gateway = default_gateway(machine.read(_ROUTES))
    return [WINDOWS_HOST, gateway] if gateway else [WINDOWS_HOST]


def _runs_windows_programs(machine: Machine) -> bool:
    if (machine.read(_INTEROP_OF_ALL) or "enabled").strip() != "enabled":
        return False
    return any((machine.read(path) or "").startswith("enabled") for path in INTEROP_ENTRIES)


def firewall_commands(port: int) -> list[str]:
    """Return the commands that show the firewall's rules for Ollama, and that open the port for WSL alone."""
    return [
        "Get-NetFirewallRule -DisplayName '*ollama*' | Select-Object 'DisplayName','Enabled','Direction','Action','Profile'",
        f"New-NetFirewallRule -DisplayName 'Ollama for WSL' -Direction Inbound -Action Allow -Protocol TCP -LocalPort {port} "
        f"-RemoteAddress {_WSL_NETWORKS}",
    ]


def hyper_v_command(port: int) -> str:
    """Return the command for mirrored networking, where the firewall of Hyper-V decides what WSL may reach (Microsoft, WSL networking)."""
    return (
        "New-NetFirewallHyperVRule -Name OllamaForWSL -DisplayName 'Ollama for WSL' -Direction Outbound -Action Allow "
        f"-VMCreatorId '{_WSL_CREATOR}' -Protocol TCP -RemotePorts {port}"
    )
