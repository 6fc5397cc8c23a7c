# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The host's NVIDIA GPUs and its memory: what nvidia-smi says, which GPUs to trust, how much memory there is (upstream-facts N2)."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..untrusted import count_of
from .machine import Machine
from .platform import DEVICE_TREE_MODEL, DMI_PRODUCT_NAME

_LINE = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


class Memory(NamedTuple):
    """MiB, rounded down as C(free -m) does; None where the kernel does not say."""

    total_mib: int | None
    available_mib: int | None


def parse_meminfo(text: str | None) -> Memory:
    """Return the total, and what the kernel thinks a new process can get without swapping (MemAvailable).

    MemAvailable and not MemFree: page cache holds nearly all of an idle host's memory, and it is the figure that the
    model choice needs on unified memory (upstream-facts N2, upstream issue 3251).
    """
    found = {key: int(kib) // 1024 for key, kib in _LINE.findall(text or "")}
    return Memory(found.get("MemTotal"), found.get("MemAvailable"))


# Numbers and words without commas stand before and after the name, which may contain commas.
FIELDS = ("index", "uuid", "name", "memory.total", "memory.free", "compute_cap", "driver_version")
# Without these there is nothing to say about a GPU; the others are dropped when a driver does not know them.
_NEEDED = ("name", "memory.total")
# The driver of an idle eight-GPU server without persistence mode takes some seconds to come up; a hang takes for ever.
LIMIT_S = 10.0
# Not on the PATH of a non-login shell (NVIDIA/NemoClaw src/lib/inference/gpu-trust.ts).
WSL_DIRECTORY = "/usr/lib/wsl/lib"

_REFUSED_FIELD = re.compile(r'Field "([^"]+)" is not a valid field to query')


@dataclass(frozen=True)
class GpuRow:
    """One GPU as nvidia-smi tells it; None for what it does not tell. Memory in MiB."""

    index: int
    uuid: str | None
    name: str
    memory_total: int | None
    memory_total_text: str
    memory_free: int | None
    compute_capability: str | None
    driver_version: str | None


class SmiAnswer(NamedTuple):
    """The GPUs, and the sentence that says why there are none or not all."""

    rows: list[GpuRow]
    problem: str | None


def find_nvidia_smi(machine: Machine) -> str | None:
    """Return where nvidia-smi is, the folder of WSL's drivers included."""
    return machine.find_command("nvidia-smi", [WSL_DIRECTORY])


def ask_nvidia_smi(machine: Machine, path: str, limit_s: float = LIMIT_S) -> SmiAnswer:
    """Return the GPUs that nvidia-smi lists, asking again without a field that an old driver refuses."""
    fields = list(FIELDS)
    deadline = time.monotonic() + limit_s
    while True:
        query = [path, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        answer = machine.run(query, max(deadline - time.monotonic(), 0.1))
        refused = _REFUSED_FIELD.search(answer.output)
        if refused and refused[1] in fields and refused[1] not in _NEEDED:
            fields.remove(refused[1])
            continue
        break
    rows = parse_rows(answer.output, fields)
    if answer.code == 0:
        return SmiAnswer(rows, None if rows else "nvidia-smi ran and listed no GPU.")
    if answer.code is None:
        return SmiAnswer(
            rows,
            f"Asked nvidia-smi for the GPUs: {answer.problem}. The NVIDIA driver may be wedged: check dmesg for NVRM and Xid lines, then "
            f"reload the driver or reboot.",
        )
    return SmiAnswer(rows, _explain_failure(answer.code, answer.output))


def ask_mig(machine: Machine, path: str, limit_s: float = LIMIT_S) -> set[int]:
    """Return the indices of the GPUs that are divided by MIG; empty where the driver knows no such thing."""
    query = [path, "--query-gpu=index,mig.mode.current", "--format=csv,noheader,nounits"]
    answer = machine.run(query, limit_s)
    pairs = [line.split(",") for line in answer.output.splitlines()] if answer.code == 0 else []
    return {
        index
        for index, mode in ((count_of(pair[0]), pair[1].strip()) for pair in pairs if len(pair) == 2)
        if index is not None and mode == "Enabled"
    }


def parse_rows(text: str, fields: Sequence[str] = FIELDS) -> list[GpuRow]:
    """Read C(--format=csv,noheader,nounits) output; lines that are no GPU row (warnings, errors) are skipped.

    The name is what is left between the fields counted from both ends, because model names contain commas.
    """
    before = fields.index("name")
    after = len(fields) - before - 1
    rows: list[GpuRow] = []
    for line in text.splitlines():
        head = line.split(",", before)
        tail = head[-1].rsplit(",", after)
        if len(head) != before + 1 or len(tail) != after + 1:
            continue
        values = dict(zip(fields, (part.strip() for part in [*head[:-1], *tail])))
        index = count_of(values.get("index", str(len(rows))))
        if index is None or not values["name"]:
            continue
        rows.append(
            GpuRow(
                index=index,
                uuid=_known(values.get("uuid")),
                name=_printable(values["name"]),
                memory_total=_mebibytes(values["memory.total"]) or None,
                memory_total_text=_printable(values["memory.total"]),
                memory_free=_mebibytes(values.get("memory.free", "")),
                compute_capability=_known(values.get("compute_cap")),
                driver_version=_known(values.get("driver_version")),
            )
        )
    return rows


def _mebibytes(text: str) -> int | None:
    """Return a number of MiB, also with the unit that wrappers of nvidia-smi and old drivers leave on it."""
    return count_of(text.removesuffix("MiB").strip())


def _explain_failure(code: int, output: str) -> str:
    said = " ".join(_printable(output).split())[:300] or "nothing"
    if "version mismatch" in output:
        advice = "The driver was updated under the running kernel: reload its modules or reboot."
    elif "couldn't communicate with the NVIDIA driver" in output:
        advice = "Load the driver (modprobe nvidia), or install the one for the running kernel, and reboot."
    elif "No devices were found" in output:
        advice = "The driver is loaded but sees no usable GPU: check dmesg for NVRM and Xid lines."
    else:
        advice = "Run nvidia-smi on the host and repair the driver."
    return f"nvidia-smi ended with exit code {code} and said: {said} {advice}"


def _known(text: str | None) -> str | None:
    """Return the text unless it is one of nvidia-smi's ways to say that it does not know: C([N/A]), C(N/A), C([...])."""
    if not text or text.startswith("[") or text.upper() == "N/A":
        return None
    return _printable(text)


def _printable(text: str) -> str:
    """Replace control characters: the text comes from a driver that may be a stand-in, and goes to terminals."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


# The vendor's word or a known family.
_KNOWN_NAME = re.compile(
    r"\b(NVIDIA|GeForce|Tesla|Quadro|RTX|GTX|TITAN|H100|H200|A100|A40|A10|L40|L4|GB1\d|GB200|GB300|Grace[\s_-]+Hopper)\b",
    re.IGNORECASE,
)
# The Windows-on-ARM nvidia-smi stand-in and some real unified-memory machines share this name (upstream 3510, 3988).
_SHIM_NAME = re.compile(r"\bJMJWOA-Generic-", re.IGNORECASE)
_UNIFIED_NAME = re.compile(r"GB10|Thor|Orin|Xavier|Jetson|Tegra", re.IGNORECASE)
# A part of a GPU that a hypervisor gives to a virtual machine: its memory and the licence that it needs end the name
# (NVIDIA's documentation of vGPU, "Virtual GPU Types").
_VGPU_NAME = re.compile(r"^(NVIDIA |GRID )[A-Z][\w -]*\d\S*-\d+[QCAB]$|^(NVIDIA |GRID )[A-Z][\w -]* DC-\d+[QCAB]$")
# Those that MIG cannot divide. All others are asked, since each generation has more that it can (NVIDIA's MIG user guide, "Supported
# GPUs", with A800, H800, GH200 and RTX PRO in 2026).
_NEVER_MIG = re.compile(
    r"GeForce|GTX|TITAN|Quadro|Tesla|Orin|Xavier|Tegra|GB10\b|\b(?:RTX [A\d]\w*|[TPVM]\d+|L40?S?|A(?:2|10G?|16|40))\b",
    re.IGNORECASE,
)
_VOUCHING_PLATFORMS = ("dgx-spark", "dgx-station", "jetson")
_UNIFIED_PLATFORMS = ("dgx-spark", "jetson")
_DRIVER_PROC = "/proc/driver/nvidia"
_DRIVER_LINE = re.compile(r"^(?:Model|GPU UUID):\s*(\S.*?)\s*$", re.MULTILINE)
_PCI_DEVICES = "/sys/bus/pci/devices"


def find_gpus(machine: Machine, platform_name: str, memory: Memory) -> dict[str, Any]:
    """Return C(nemoclaw_host.gpus); see describe_gpus for its shape."""
    path = find_nvidia_smi(machine)
    rows: list[GpuRow] = []
    problem = None
    if path is not None:
        rows, problem = ask_nvidia_smi(machine, path)
    elif platform_name != "jetson":
        problem = _missing_driver(machine)
    if not rows and platform_name == "jetson":
        # JetPack 5 has no nvidia-smi at all, and later ones may list nothing (rule 3).
        rows = [_tegra_row(machine)]
    # On ARM only the kernel driver's own folder tells a GPU from a stand-in (upstream 3988, 4424).
    genuine = machine.architecture != "aarch64" or machine.exists(_DRIVER_PROC)
    divided: set[int] = set()
    if path is not None and not all(_NEVER_MIG.search(row.name) for row in rows):
        divided = ask_mig(machine, path)
    return describe_gpus(rows, platform_name, genuine, memory, problem, _known_to_driver(machine), divided)


def _known_to_driver(machine: Machine) -> set[str]:
    """Return the names and UUIDs of the GPUs that the kernel's driver itself tells: no list of names has a vGPU's, or next year's."""
    folder = f"{_DRIVER_PROC}/gpus"
    texts = (machine.read(f"{folder}/{slot}/information") or "" for slot in machine.names(folder))
    return {found for text in texts for found in _DRIVER_LINE.findall(text)}


def describe_gpus(
    rows: Sequence[GpuRow],
    platform_name: str,
    driver_is_genuine: bool,
    memory: Memory,
    problem: str | None = None,
    known_to_driver: Collection[str] = (),
    divided: Collection[int] = (),
) -> dict[str, Any]:
    """Judge the rows and add them up.

    Args:
        rows: What nvidia-smi listed.
        platform_name: Result of classify_platform; a DGX or Jetson firmware vouches for any name.
        driver_is_genuine: False where the kernel driver is not there although nvidia-smi answers (ARM only).
        memory: The host's memory, which is the GPU's where memory is unified.
        problem: What went wrong before, if anything.
        known_to_driver: Names and UUIDs by which the kernel's driver knows its GPUs.
        divided: Indices of those that are divided by MIG, which no container of ours gets.

    Returns:
        C(vendor) (C(nvidia) or None), C(count), C(devices), C(groups), C(memory_total_mib), C(memory_available_mib),
        C(unified_memory), C(summary), C(problem). Counts, groups and sums are over the trusted devices only.

    """
    problems = [problem] if problem else []
    vouched = platform_name in _VOUCHING_PLATFORMS
    shim_present = any(_SHIM_NAME.search(row.name) for row in rows)
    measured, unified = _sort_by_memory(rows, platform_name)
    unmeasured = [row for row in rows if row not in measured and row not in unified]
    problems += [
        f"GPU {row.index} ({row.name}) reports no memory size ({row.memory_total_text or 'empty'}) and is not counted."
        for row in unmeasured
    ]

    def trusted(row: GpuRow) -> bool:
        if vouched:
            return True
        known = bool(_KNOWN_NAME.search(row.name) or (row in unified and _UNIFIED_NAME.search(row.name)))
        known = known or row.uuid in known_to_driver or row.name in known_to_driver
        # One stand-in row spoils the whole answer: it came from a tool that makes GPUs up.
        return bool(known) and not shim_present and driver_is_genuine

    split = [row for row in rows if row.index in divided]
    problems += [
        f"GPU {row.index} ({row.name}) is divided by MIG: its {row.memory_total_text} MiB belong to its instances, and our containers "
        f"cannot use one, so it is not counted. Disable MIG (nvidia-smi -i {row.index} -mig 0), or serve on an instance yourself and use "
        f"the provider vllm."
        for row in split
    ]
    unmeasured += [row for row in split if row not in unmeasured]
    shared = [row for row in unified if trusted(row) and row not in split]
    devices = [
        _device(row, trusted(row), memory, len(shared) if row in shared else 0) for row in rows if row not in unmeasured
    ]
    counted = [device for device in devices if device["trusted"]]
    distrusted = [device["name"] for device in devices if not device["trusted"]]
    if distrusted:
        problems.append(
            f"nvidia-smi lists {', '.join(distrusted)}, which neither the firmware nor the name and driver confirm as "
            "NVIDIA hardware, so it is not counted."
        )
    total = _sum(device["memory_total_mib"] for device in counted if not device["unified_memory"])
    available = _sum(device["memory_free_mib"] for device in counted if not device["unified_memory"])
    if shared:
        total = _sum([total, memory.total_mib])
        available = _sum([available, memory.available_mib])
    groups = group_by_name(counted)
    return {
        "vendor": "nvidia" if counted else None,
        "count": len(counted),
        "devices": devices,
        "groups": groups,
        "memory_total_mib": total or 0,
        "memory_available_mib": available,
        "unified_memory": bool(shared),
        "summary": summarise(groups, total, bool(shared)),
        "problem": " ".join(problems) or None,
    }


def group_by_name(devices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one C({name, count, memory_total_mib}) for each model, in the order of first appearance."""
    groups: dict[str, dict[str, Any]] = {}
    for device in devices:
        group = groups.setdefault(device["name"], {"name": device["name"], "count": 0, "memory_total_mib": 0})
        group["count"] += 1
        group["memory_total_mib"] += device["memory_total_mib"] or 0
    return list(groups.values())


def summarise(groups: Sequence[dict[str, Any]], total_mib: int | None, unified: bool) -> str:
    """Return the preflight line of the page: every model with its memory, and the total."""
    if not groups:
        return "no NVIDIA GPU"
    size = f"{total_mib} MiB" if total_mib else "memory unknown"
    kind = ", shared with the host" if unified else ""
    names = [f"{group['name']} (vGPU)" if _VGPU_NAME.match(group["name"]) else group["name"] for group in groups]
    labels = [f"{group['count']} x {name}" if group["count"] > 1 else name for group, name in zip(groups, names)]
    if len(groups) == 1:
        in_total = " in total" if groups[0]["count"] > 1 else ""
        return f"{labels[0]}, {size}{in_total}{kind}"
    parts = [f"{label} ({group['memory_total_mib']} MiB)" for label, group in zip(labels, groups)]
    return f"{sum(group['count'] for group in groups)} GPUs, {size} in total{kind}: {', '.join(parts)}"


def _sort_by_memory(rows: Sequence[GpuRow], platform_name: str) -> tuple[list[GpuRow], list[GpuRow]]:
    """Return the rows with memory of their own, and those whose memory is the host's (rule 2)."""
    measured = [row for row in rows if row.memory_total is not None]
    unified = [
        row
        for row in rows
        if row.memory_total is None and (platform_name in _UNIFIED_PLATFORMS or _UNIFIED_NAME.search(row.name))
    ]
    return measured, unified


def _device(row: GpuRow, trusted: bool, memory: Memory, sharers: int) -> dict[str, Any]:
    """Return one device; C(sharers) is how many split the host's memory, 0 when this one does not."""
    return {
        "index": row.index,
        "uuid": row.uuid,
        "name": " ".join(row.name.split()),
        "trusted": trusted,
        "memory_total_mib": _share(memory.total_mib, sharers) if sharers else row.memory_total,
        "memory_free_mib": _share(memory.available_mib, sharers) if sharers else row.memory_free,
        "compute_capability": row.compute_capability,
        "driver_version": row.driver_version,
        "unified_memory": sharers > 0,
    }


def _share(mib: int | None, sharers: int) -> int | None:
    return None if mib is None else mib // sharers


def _sum(values: Any) -> int | None:
    """Add up what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _tegra_row(machine: Machine) -> GpuRow:
    """Return the integrated GPU of a Jetson that has no nvidia-smi, named after its firmware."""
    model = (machine.read(DMI_PRODUCT_NAME) or machine.read(DEVICE_TREE_MODEL) or "").strip()
    name = model if _UNIFIED_NAME.search(model) else "NVIDIA Jetson/Tegra GPU"
    if not name.upper().startswith("NVIDIA"):
        name = f"NVIDIA {name}"
    return GpuRow(0, None, name, None, "", None, None, None)


def _missing_driver(machine: Machine) -> str | None:
    """Return a sentence when the PCI bus has an NVIDIA display device although nvidia-smi is not installed."""
    for slot in machine.names(_PCI_DEVICES):
        vendor = (machine.read(f"{_PCI_DEVICES}/{slot}/vendor") or "").strip()
        device_class = (machine.read(f"{_PCI_DEVICES}/{slot}/class") or "").strip()
        # 0x10de is NVIDIA; class 0x03 is a display controller (compute-only boards are 0x0302).
        if vendor == "0x10de" and device_class.startswith("0x03"):
            return (
                f"The PCI bus has an NVIDIA GPU at {slot}, but nvidia-smi is not installed: install the NVIDIA driver."
            )
    return None
