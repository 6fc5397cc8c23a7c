# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Why a container ended, from its last log lines: a code for playbooks and a remedy for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..failure import Failure
from ..transport.credentials import MASK
from ..untrusted import object_of

# Lines that a failure carries: enough for a Python traceback and the line that explains it (upstream-facts N33: 30).
SHOWN_LINES = 30
_LINE_LIMIT = 400
# The engine's time before each line.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+ ?")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# What stands in a log -> code. The first match counts, so what explains more stands before what only accompanies it: a failed
# import after a full disk is a full disk. Sources: upstream-facts N29; vLLM v1/engine and v1/worker; huggingface_hub/errors.py.
FAILURE_CODES = {
    # Ours, for what the engine says beside the log.
    r"^OOMKilled$": "container_out_of_memory",
    r"No space left on device|Disk quota exceeded": "disk_full",
    r"exec format error|exec user process caused.*format": "image_architecture",
    r"no kernel image is available|cudaErrorNoKernelImageForDevice|is not supported on GPU .* capability"
    r"|requires compute capability|minimum capability|sm_\d+ is not compatible": "gpu_too_old",
    r"CUDA driver version is insufficient|forward compatibility was attempted|Error 80[34]:": "gpu_driver_too_old",
    r"CUDA out of memory|OutOfMemoryError|No available memory for the cache blocks|NV_ERR_NO_MEMORY"
    r"|Free memory on device .* is less than desired": "gpu_out_of_memory",
    r"KV cache is needed, which is larger|maximum number of tokens that can be stored in KV cache": "context_too_large",
    r"GatedRepoError|401 Client Error|403 Client Error|401 Unauthorized|403 Forbidden|Access to model .* is restricted"
    r"|Invalid user token|Invalid credentials|Authentication Error|Access denied|requires approval": "weights_unauthorized",
    r"429 Client Error|Too Many Requests": "weights_rate_limited",
    r"RepositoryNotFoundError|RevisionNotFoundError|404 Client Error|Error: (?:Model|Revision) '.*' not found": "weights_not_found",
    r"\[Errno 111\]|Name or service not known|Temporary failure in name resolution|Max retries exceeded|Network is unreachable"
    r"|ConnectError|ConnectTimeout|os error 111": "weights_unreachable",
    r"LocalEntryNotFoundError|outgoing traffic has been disabled|in offline mode"
    r"|couldn't find them in the cached files": "weights_incomplete",
    r"unrecognized arguments|error: argument |invalid choice:|No such option": "serve_arguments_invalid",
    r"ImportError|ModuleNotFoundError": "container_import_error",
}
# What a server that downloads nothing cannot mean by them: NCCL, too, is refused connections.
_OF_DOWNLOADS = ("weights_unauthorized", "weights_rate_limited", "weights_not_found", "weights_unreachable")
# Lines that are no reason to end: a request that was answered (with 401, perhaps), and a warning (of a package that could have been used).
_NO_REASON = re.compile(r'"[A-Z]+ \S+ HTTP/\d|\bWARN(?:ING)?\b|\b\w*Warning: ')
_REMEDIES = {
    "disk_full": "The disk is full: free space where Docker keeps its data and where the weights lie",
    "image_architecture": "The image was built for another processor: choose one for this machine",
    "gpu_too_old": "The GPU's compute capability is too low for this model or image: choose a model in another format (FP8 needs 8.9)",
    "gpu_driver_too_old": "The NVIDIA driver is older than the image's CUDA: update the driver, or take an older image",
    "gpu_out_of_memory": "The GPU's memory was not enough: stop what else uses it, choose a smaller model or context, or lower "
    "--gpu-memory-utilization",
    "container_out_of_memory": "The host's memory was not enough: stop what else uses it, or choose a smaller model",
    "context_too_large": "The context does not fit into the GPU's memory beside the weights: lower max_model_len",
    "weights_unauthorized": "The registry of the weights refused the key: check the token, and accept the model's licence on its page",
    "weights_rate_limited": "The registry of the weights limits anonymous downloads: set a token, or wait, then run this again",
    "weights_not_found": "There is no such model: check its name",
    "weights_incomplete": "The weights on this host are not complete, and the server may not download: remove them and run this again",
    "weights_unreachable": "The registry of the weights could not be reached: check DNS, firewall and proxy, then run this again",
    "serve_arguments_invalid": "The server does not know one of its arguments: correct the extra arguments, or take another image",
    "container_import_error": "A Python package is missing in the image: choose another image",
}
_DEFAULT_REMEDY = "Look at the last lines of its log, correct what they name, then run this again"


def explain(name: str, found: dict[str, Any], log: str, what: str, downloads: bool = True) -> Failure:
    """Return the failure for a container that ended, or that ends again and again.

    Args:
        name: The container.
        found: What inspect says of it.
        log: Its last lines.
        what: What was seen, as a sentence's middle: C(ended with exit code 1).
        downloads: Whether it fetches weights.

    """
    state = object_of(found.get("State"))
    told = "\n".join([log, str(state.get("Error") or ""), "OOMKilled" if state.get("OOMKilled") else ""])
    code = diagnose(told, downloads)
    remedy = _REMEDIES[code] if code else _DEFAULT_REMEDY
    lines = tail(log)
    last = f" It said: {_telling(lines)}".rstrip(".") + "." if lines else " It wrote nothing."
    details = {
        "container": name,
        # Of one that runs again it is no code, though the engine says 0.
        "exit_code": None if state.get("Running") and not state.get("Restarting") else state.get("ExitCode"),
        "last_state": str(state.get("Status")),
        "last_logs": lines,
    }
    message = f"The container {name} {what}. {remedy}.{last}"
    if code:
        return Failure(code, message, **details)
    return Failure("container_exited", message, **details)


def _telling(lines: list[str]) -> str:
    """Return the last line that names an error, else the last one: tools end with hints and closing words."""
    return next((line for line in reversed(lines) if re.search(r"error|denied|fail", line, re.IGNORECASE)), lines[-1])


def diagnose(log: str, downloads: bool = True) -> str | None:
    """Return the code that a log speaks for, None where no sign of it is known. C(downloads): whether it fetches weights."""
    text = "\n".join(line for line in log.splitlines() if not _NO_REASON.search(line))
    codes = (code for sign, code in FAILURE_CODES.items() if re.search(sign, text, re.MULTILINE))
    return next((code for code in codes if downloads or code not in _OF_DOWNLOADS), None)


def tail(log: str, lines: int = SHOWN_LINES) -> list[str]:
    """Return the last lines that say something, without times and colours, fit for a terminal; a redrawn line counts once."""
    # A redrawn line is one to the engine; splitlines() would take it apart.
    last_drawn = (line.rstrip("\r").rpartition("\r")[2] for line in log.split("\n"))
    shown = (_ANSI.sub("", _STAMP.sub("", line)) for line in last_drawn)
    kept = [_printable(line.rstrip())[:_LINE_LIMIT] for line in shown if line.strip()]
    return kept[-lines:]


def masked(lines: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """Return the lines without the secrets that a server may have printed."""
    result = list(lines)
    for secret in secrets:
        if secret:
            result = [line.replace(secret, MASK) for line in result]
    return result


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line.replace("\t", "    "))
