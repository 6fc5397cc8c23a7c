# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The NIM models as data, in the shape that the role variable C(nim_models) has too.

Source: upstream-facts N30, its later values; C(memory_mib) is upstream's least. C(weights_bytes) is what the smallest format
that NVIDIA publishes for NIM weighs (parameters times bytes of that format: NVFP4 0.56, FP8 1). A model fits where both
say so, because upstream's least is below the weights themselves for two of the models.
"""

from __future__ import annotations

from typing import Any

# Where C(image) lies without a registry of its own (the page).
REGISTRY = "nvcr.io"

# The largest first, as upstream offers them.
MODELS: dict[str, dict[str, Any]] = {
    "nvidia/nemotron-3-super-120b-a12b": {
        "image": "nim/nvidia/nemotron-3-super-120b-a12b:latest",
        "memory_mib": 127_386,
        "weights_bytes": 67_500_000_000,
    },
    "nvidia/llama-3.1-nemotron-70b-instruct": {
        "image": "nim/nvidia/llama-3.1-nemotron-70b-instruct:latest",
        "memory_mib": 81_920,
        "weights_bytes": 70_000_000_000,
    },
    "nvidia/llama-3.3-nemotron-super-49b-v1": {
        "image": "nim/nvidia/llama-3.3-nemotron-super-49b-v1:latest",
        "memory_mib": 24_576,
        "weights_bytes": 49_000_000_000,
    },
    "nvidia/nemotron-3-nano-30b-a3b": {
        "image": "nim/nvidia/nemotron-3-nano:latest",
        "memory_mib": 8_192,
        "weights_bytes": 19_000_000_000,
        "served_name": "nvidia/nemotron-3-nano",
    },
    "meta/llama-3.1-8b-instruct": {
        "image": "nim/meta/llama-3.1-8b-instruct:latest",
        "memory_mib": 16_384,
        "weights_bytes": 8_000_000_000,
    },
}
