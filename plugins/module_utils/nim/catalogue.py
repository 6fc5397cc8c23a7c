# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which NIM a host runs: the models that fit its GPUs, the one that was asked for, or the largest (the page, "NVIDIA NIM").

Source: upstream-facts N30, its later values; C(memory_mib) is upstream's least. C(weights_bytes) is what the smallest format
that NVIDIA publishes for NIM weighs (parameters times bytes of that format: NVFP4 0.56, FP8 1). A model fits where both
say so, because upstream's least is below the weights themselves for two of the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ..failure import Failure
from ..preconditions import Gpus, check_memory, memory_of, of_one_kind

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

MIB = 1024 * 1024
# Room beside the weights for the key-value cache and activations, as a share of the weights: an estimate.
_ROOM_BESIDE_WEIGHTS = 1.2
# What a size may be: the largest of a file.
_MOST = 2**63 - 1


@dataclass(frozen=True)
class NimModel:
    """A model and its NIM.

    Attributes:
        name: Its name in NVIDIA's catalogue, for example C(meta/llama-3.1-8b-instruct).
        image: Path and tag or digest in the registry, or a full reference.
        memory_mib: GPU memory, all of it, that upstream asks for.
        weights_bytes: What its files weigh in the smallest format; 0 when nobody knows.
        served_name: What C(/v1/models) calls it; None for C(name).

    """

    name: str
    image: str
    memory_mib: int = 0
    weights_bytes: int = 0
    served_name: str | None = None

    @property
    def needed_memory_mib(self) -> int:
        """GPU memory that a host must have for it."""
        return max(self.memory_mib, int(self.weights_bytes * _ROOM_BESIDE_WEIGHTS / MIB))

    @property
    def served_as(self) -> str:
        """The model id that the server is expected to list."""
        return self.served_name or self.name

    def reference(self, registry: str | None = None) -> str:
        """Return the image's full name in a registry; a path alone lies in C(registry), or in NVIDIA's own."""
        first = self.image.partition("/")[0]
        if "." in first or ":" in first or first == "localhost":
            return self.image
        return f"{registry or REGISTRY}/{self.image}"


class Choice(NamedTuple):
    """A model for a host.

    Attributes:
        model: The model.
        reason: Why this one, as part of a sentence.
        fitting: Names of all that fit.
        gpus: What it gets of the GPUs that were offered; None for none.
        warning: What the user should know about it, None where all is well.
        smaller: What else would do, the larger first, where nobody asked for this one.

    """

    model: NimModel
    reason: str
    fitting: list[str]
    gpus: Gpus | None = None
    warning: str | None = None
    smaller: tuple[NimModel, ...] = ()


_FIELDS = {one.name: str(one.type) for one in fields(NimModel) if one.name != "name"}
_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "str | None": (str, type(None))}


def build_catalogue(more: Mapping[str, Mapping[str, Any]] | None = None) -> list[NimModel]:
    """Return the models, the largest first: upstream's, changed and added to by the role variable C(nim_models).

    Args:
        more: By name, in any case: fields that differ for a known model, or all that a new one needs (C(image) at least).

    Raises:
        Failure: C(catalogue_invalid), naming the model, the field and what it takes.

    """
    merged: dict[str, dict[str, Any]] = {name: dict(content) for name, content in MODELS.items()}
    for name, content in (more or {}).items():
        if not isinstance(content, Mapping):
            raise _invalid(name, f"is {type(content).__name__}, not a dictionary of fields")
        known = next((one for one in merged if one.lower() == name.lower()), name)
        merged[known] = {**merged.get(known, {}), **content}
    models = [_model(name, content) for name, content in merged.items()]
    return sorted(models, key=lambda model: -model.needed_memory_mib)


def look_up(name: str, catalogue: Sequence[NimModel]) -> NimModel | None:
    """Return the model that find_model would, None where it would raise."""
    wanted = name.strip().lower()
    named = (one for one in catalogue if wanted in (one.name.lower(), one.name.lower().rpartition("/")[2]))
    return next(named, None) if wanted else None


def find_model(name: str, catalogue: list[NimModel]) -> NimModel:
    """Return the model of that name, in any case; its last part alone will do.

    Raises:
        Failure: C(model_unknown), with the names.

    """
    found = look_up(name, catalogue)
    if found:
        return found
    raise Failure(
        "model_unknown",
        f"Looked for the NIM model {name.strip()!r}: the catalogue has {', '.join(model.name for model in catalogue)}. Set "
        "NEMOCLAW_MODEL (nim_model) to one of them, or add it to nim_models.",
        model=name.strip(),
        known_models=[model.name for model in catalogue],
    )


def choose(
    catalogue: list[NimModel], gpus: Gpus, wanted: str | None = None, preferred_gpus: str | None = None
) -> Choice:
    """Return the model for a host, and the GPUs for the model.

    NIM spreads a model over GPUs of one kind only (NVIDIA's support matrix: "multiple, homogeneous NVIDIA GPUs"). So one kind
    decides about the default and is what the model gets, while one that was asked for may use the sum that the page counts, with
    a warning.

    Args:
        catalogue: Of build_catalogue.
        gpus: Those that the container may get.
        wanted: The model that was asked for; None or empty for the largest that fits.
        preferred_gpus: Part of the name of the kind that counts, as for of_one_kind.

    Raises:
        Failure: C(model_unknown), C(gpu_too_small) for one that does not fit, or where none does.

    """
    counted = of_one_kind(gpus, preferred_gpus)
    kind, has, is_mixed = counted.devices[0]["name"], memory_of(counted.devices), counted is not gpus
    fitting = [model.name for model in catalogue if model.needed_memory_mib <= memory_of(gpus.devices)]
    if (wanted or "").strip():
        model = find_model(str(wanted), catalogue)
        check_memory(gpus, model.name, model.needed_memory_mib)
        if model.needed_memory_mib <= has:
            return Choice(model, "it was asked for", fitting, counted)
        warning = (
            f"{model.name} needs {model.needed_memory_mib} MiB, which these GPUs have only together ({gpus.summary}). NIM "
            f"spreads a model over GPUs of one kind, and the {kind} have {has} MiB: it may not start."
        )
        return Choice(model, "it was asked for", fitting, gpus, warning)
    candidates = [model for model in catalogue if model.needed_memory_mib <= has]
    if candidates:
        where = f"{gpus.summary}; the {kind} count" if is_mixed else gpus.summary
        reason = f"it is the largest that fits ({where})"
        return Choice(candidates[0], reason, fitting, counted, None, tuple(candidates[1:]))
    smallest = catalogue[-1]
    raise Failure(
        "gpu_too_small",
        f"Compared the GPU memory with what the NIM models need: the smallest, {smallest.name}, needs "
        f"{smallest.needed_memory_mib} MiB, and this host has {gpus.summary}. Use Ollama or managed vLLM here; no cloud is used instead, "
        f"and nothing was downloaded.",
        needed_mib=smallest.needed_memory_mib,
        memory_mib=has,
    )


def _model(name: str, content: Mapping[str, Any]) -> NimModel:
    if not name.strip():
        raise _invalid(name, "has no name")
    for key, value in content.items():
        if key not in _FIELDS:
            raise _invalid(name, f"has a field {key!r}; the fields are {', '.join(sorted(_FIELDS))}")
        if not isinstance(value, _TYPES[_FIELDS[key]]) or isinstance(value, bool):
            raise _invalid(name, f"has {value!r} for {key}, which takes {_FIELDS[key]}")
        if isinstance(value, int) and not 0 <= value <= _MOST:
            raise _invalid(name, f"has {value} for {key}, which takes a number from 0 to {_MOST}")
    if not content.get("image"):
        raise _invalid(name, "lacks an image, which a model that upstream does not list has to give")
    return NimModel(name=name, **content)


def _invalid(name: str, what: str) -> Failure:
    return Failure("catalogue_invalid", f"Read the model {name!r} of nim_models: it {what}. Correct it.", model=name)
