# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Ask nvidia-smi, and read what it says: its CSV, its refusals and its excuses."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..untrusted import count_of
from .machine import Machine

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
            f"Asked nvidia-smi for the GPUs: {answer.problem}. The NVIDIA driver may be wedged: look for NVRM and Xid "
            "lines in dmesg, then reload the driver or reboot.",
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
                memory_total=count_of(values["memory.total"]),
                memory_total_text=_printable(values["memory.total"]),
                memory_free=count_of(values.get("memory.free")),
                compute_capability=_known(values.get("compute_cap")),
                driver_version=_known(values.get("driver_version")),
            )
        )
    return rows


def _explain_failure(code: int, output: str) -> str:
    said = " ".join(_printable(output).split())[:300] or "nothing"
    if "version mismatch" in output:
        advice = "The driver was updated under the running kernel: reload its modules or reboot."
    elif "couldn't communicate with the NVIDIA driver" in output:
        advice = "Load the driver (modprobe nvidia), or install the one for the running kernel, and reboot."
    elif "No devices were found" in output:
        advice = "The driver is loaded and sees no usable GPU: look for NVRM and Xid lines in dmesg."
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
