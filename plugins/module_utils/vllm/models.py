# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The models and images of managed vLLM as data, in the shape that the role variable C(vllm_models) has too.

Sources: the page's tables of profiles and slugs; flags, lengths, sizes and digests of upstream-facts N27 and N28. Where
upstream corrected itself later, its later value is here.
"""

from __future__ import annotations

from typing import Any

# What each field means, and what it is when it is not given, stands in catalogue.py (VllmModel).
#
# Upstream also gives all but deepseek-r1-distill-70b the flag "--load-format fastsafetensors", and runs "pip install
# vllm[fastsafetensors]" at each start, because the image lacks that library. Our server has no way to PyPI and must not
# change what it runs, and the flag only shortens loading: it is left out. Add it by C(flags) for an image that has the library.
MODELS: dict[str, dict[str, Any]] = {
    "qwen3.6-27b": {
        "model": "Qwen/Qwen3.6-27B-FP8",
        "max_model_len": 262_144,
        "reasoning_parser": "qwen3",
        "tool_call_parser": "qwen3_coder",
        "flags": ["--max-num-seqs", "4", "--enable-prefix-caching"],
        "download_bytes": 30_900_000_000,
        "compute_capability": "8.9",
    },
    "nemotron-3-nano-4b": {
        "model": "nvidia/NVIDIA-Nemotron-3-Nano-4B-FP8",
        "max_model_len": 262_144,
        # Without the parsers an agent's request gets HTTP 400, and think tags leak into the answer (upstream 6314, 6915).
        "reasoning_parser": "nemotron_v3",
        "tool_call_parser": "qwen3_coder",
        "download_bytes": 5_280_000_000,
        "compute_capability": "8.9",
    },
    "deepseek-r1-distill-70b": {
        "model": "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        "max_model_len": 32_768,
        "reasoning_parser": "deepseek_r1",
        "tool_call_parser": "hermes",
        "flags": ["--max-num-seqs", "4"],
        "download_bytes": 141_000_000_000,
        "gated": True,
    },
    # Not on the page: what NemoClaw's later releases take on a DGX Spark (upstream-facts N28).
    "qwen3.6-35b-a3b-nvfp4": {
        "model": "nvidia/Qwen3.6-35B-A3B-NVFP4",
        "max_model_len": 262_144,
        "reasoning_parser": "qwen3",
        "tool_call_parser": "qwen3_coder",
        "flags": [
            *("--dtype", "auto", "--quantization", "modelopt", "--kv-cache-dtype", "fp8"),
            *("--attention-backend", "flashinfer", "--moe-backend", "marlin"),
            *("--max-num-seqs", "4", "--max-num-batched-tokens", "8192"),
            *("--enable-chunked-prefill", "--async-scheduling", "--enable-prefix-caching"),
        ],
        "gpu_memory_utilization": 0.4,
        "download_bytes": 23_500_000_000,
        "compute_capability": "12.1",
    },
}

# nvcr.io/nvidia/vllm by platform digest, with the tag that it had and its compressed size.
_GENERIC: dict[str, dict[str, Any]] = {
    "amd64": {
        "image": "nvcr.io/nvidia/vllm@sha256:7be6c2f676c36059a494fe17254e69ae5c677535ba6191044e5fc8e42a91c773",
        "version": "26.03.post1-py3",
        "download_bytes": 8_930_000_000,
    },
    "arm64": {
        "image": "nvcr.io/nvidia/vllm@sha256:447995cbb57e6c7cf792cab95e9852e5f62b5fb6d2f39e030fa4eda9a54eadb4",
        "version": "26.03.post1-py3",
        "download_bytes": 9_280_000_000,
    },
}
_DGX: dict[str, dict[str, Any]] = {
    "arm64": {
        "image": "nvcr.io/nvidia/vllm@sha256:9204569b17ee4c0eff75194b8e6e458479c8aee18953b5ab9cf359fcdac659e2",
        "version": "26.05.post1-py3",
        "download_bytes": 9_600_000_000,
    },
}

# By the profile that inference_facts finds. C(gpu_names): the part of a GPU's name that picks it where C(gpus) is C(auto); a
# Station has a second GPU for its screen (upstream-facts N27). None picks all.
PROFILES: dict[str, dict[str, Any]] = {
    "dgx-spark": {"model": "qwen3.6-27b", "images": _DGX, "gpu_names": None},
    "dgx-station": {"model": "qwen3.6-27b", "images": _DGX, "gpu_names": "GB300"},
    "linux-nvidia": {"model": "nemotron-3-nano-4b", "images": _GENERIC, "gpu_names": None},
}
