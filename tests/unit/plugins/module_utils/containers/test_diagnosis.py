# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log speaks for. The lines are those of vLLM, torch, huggingface_hub and the engine."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.readiness import (
    diagnose,
    explain,
    masked,
    tail,
)

LINES = [
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "gpu_out_of_memory"),
    (
        "ValueError: No available memory for the cache blocks. Try increasing gpu_memory_utilization",
        "gpu_out_of_memory",
    ),
    (
        "ValueError: Free memory on device (3.1/23.6 GiB) on startup is less than desired GPU memory utilization",
        "gpu_out_of_memory",
    ),
    (
        "ValueError: To serve at least one request with the models's max seq len (262144), 16.00 GiB KV cache is needed, "
        "which is larger than the available KV cache memory",
        "context_too_large",
    ),
    ("ModuleNotFoundError: No module named 'fastsafetensors'", "container_import_error"),
    ("ImportError: libcudart.so.12: cannot open shared object file", "container_import_error"),
    ("OSError: [Errno 28] No space left on device", "disk_full"),
    ("ImportError: x\nOSError: [Errno 28] No space left on device", "disk_full"),
    ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "weights_unauthorized"),
    ("Error: Access denied. Model 'lab/gated' requires approval.", "weights_unauthorized"),
    ("Error: Model 'lab/missing' not found.", "weights_not_found"),
    ("Error: Local entry not found. [Errno 111] Connection refused", "weights_unreachable"),
    (
        "LocalEntryNotFoundError: Cannot find the requested files and outgoing traffic has been disabled",
        "weights_incomplete",
    ),
    ("429 Client Error: Too Many Requests for url", "weights_rate_limited"),
    ("exec /usr/bin/vllm: exec format error", "image_architecture"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "gpu_too_old"),
    ("CUDA driver version is insufficient for CUDA runtime version", "gpu_driver_too_old"),
    ("vllm: error: unrecognized arguments: --nonsense", "serve_arguments_invalid"),
    ("error sending request for url: tcp connect error: Connection refused (os error 111)", "weights_unreachable"),
    # No reasons: a peer that is not up yet, a request, a package that could have been used.
    ("[c10d] The client socket has failed to connect to [node]:29500 (errno: 111 - Connection refused).", None),
    ("NCCL WARN socketStartConnect: Connect to 10.0.0.1<4> failed : Connection refused", None),
    ('INFO:     127.0.0.1:1 - "GET /v1/models HTTP/1.1" 401 Unauthorized', None),
    ("WARNING 11-22 10:00:00 [interface.py:221] ImportError: No module named 'vllm._C'", None),
    ("/usr/lib/x.py:3: UserWarning: ImportError: flash_attn is not there, so it is slower", None),
    ("Everything is well.", None),
    ("", None),
]


@pytest.mark.parametrize(("log", "code"), LINES)
def test_signs(log: str, code: str | None) -> None:
    assert diagnose(log) == code


@pytest.mark.parametrize(("log", "code"), [(log, code) for log, code in LINES if code])
def test_signs_without_a_download(log: str, code: str) -> None:
    of_a_download = ("weights_unauthorized", "weights_rate_limited", "weights_not_found", "weights_unreachable")
    assert diagnose(log, downloads=False) == (None if code in of_a_download else code)


def found(**state: Any) -> dict[str, Any]:
    return {"State": {"Status": "exited", "ExitCode": 1, **state}}


@pytest.mark.parametrize(("log", "code"), [(log, code) for log, code in LINES if log])
def test_a_failure_has_the_log_and_a_remedy(log: str, code: str | None) -> None:
    failure = explain("served", found(), f"2026-11-22T10:00:00.1Z {log}\n", "ended with exit code 1")
    assert failure.code == (code or "container_exited")
    assert failure.message.startswith("The container served ended with exit code 1. ")
    assert failure.message.count(". ") >= 2
    assert failure.details["last_logs"] == log.splitlines()[:1] or code == "disk_full"
    assert (failure.details["exit_code"], failure.details["last_state"]) == (1, "exited")


def test_the_kernels_word_counts_more_than_the_log() -> None:
    failure = explain("served", found(OOMKilled=True, ExitCode=137), "ImportError: x", "ended with exit code 137")
    assert failure.code == "container_out_of_memory"


def test_the_line_that_is_quoted_is_the_one_that_tells() -> None:
    log = "start\nError: it broke\nHint: read the manual"
    assert "It logged: Error: it broke." in explain("served", found(), log, "ended").message
    assert "It logged nothing." in explain("served", found(), "", "ended").message


def test_the_tail_is_fit_for_a_terminal() -> None:
    log = "2026-11-22T10:00:00.1Z \x1b[31mred\x1b[0m\x07\n\n2026-11-22T10:00:00.2Z 10%\r 50%\r100%\nplain\n"
    assert tail(log) == ["red?", "100%", "plain"]
    assert tail("a\n" * 100, 3) == ["a", "a", "a"]


def test_secrets_are_taken_out() -> None:
    assert masked(["the key hf_x is wrong"], ["hf_x", ""]) == ["the key ******** is wrong"]
