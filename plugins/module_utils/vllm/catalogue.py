# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Which model a managed vLLM serves, with which flags, out of which image (the page, "Override the Managed-vLLM Model").

Sources: the page's tables of profiles and slugs; flags, lengths, sizes and digests of upstream-facts N27 and N28. Where
upstream corrected itself later, its later value is here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..failure import Failure
from ..profiles import PAGE, Profile

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
    "dgx-spark": {"model": PAGE.spark_model, "images": _DGX, "gpu_names": None},
    "dgx-station": {"model": "qwen3.6-27b", "images": _DGX, "gpu_names": "GB300"},
    "linux-nvidia": {"model": "nemotron-3-nano-4b", "images": _GENERIC, "gpu_names": None},
}

MIB = 1024 * 1024
# Inside the container it is always this one (upstream-facts N29); the port variable changes the host's side only.
CONTAINER_PORT = 8000
# Room beside the weights for the key-value cache, activations and CUDA graphs, as a share of the weights: an estimate, since
# upstream states no memory needs. C(memory_mib) of a model overrides what it gives.
_ROOM_BESIDE_WEIGHTS = 1.2
_SHARE_ARGUMENT = "--gpu-memory-utilization"


@dataclass(frozen=True)
class VllmModel:
    """A model and how vLLM serves it.

    Attributes:
        slug: Its short name, lower case.
        model: Its Hugging Face id.
        max_model_len: Tokens of context (C(--max-model-len)).
        reasoning_parser: C(--reasoning-parser); None for a model that does not reason.
        tool_call_parser: C(--tool-call-parser); None switches tool calls off.
        flags: Further arguments of C(vllm serve).
        gpu_memory_utilization: Share of the GPU's memory that vLLM takes (upstream-facts N28: 0.7 for all).
        tensor_parallel_size: GPUs that share the model.
        trust_remote_code: Run code that comes with the model (upstream: for all).
        download_bytes: What its files weigh; None when nobody knows.
        compute_capability: The least that its number format needs, as C(8.9); None for any GPU.
        memory_mib: GPU memory that a host must have for it, in all; None for an estimate from C(download_bytes).
        gated: Whether Hugging Face wants a licence accepted and a token.
        revision: Commit in its repository; None for the newest.
        served_name: What C(/v1/models) calls it; None for C(model).
        environment: Variables for the server, no secrets.

    """

    slug: str
    model: str
    max_model_len: int
    reasoning_parser: str | None = None
    tool_call_parser: str | None = None
    flags: tuple[str, ...] = ()
    gpu_memory_utilization: float = 0.7
    tensor_parallel_size: int = 1
    trust_remote_code: bool = True
    download_bytes: int | None = None
    compute_capability: str | None = None
    memory_mib: int | None = None
    gated: bool = False
    revision: str | None = None
    served_name: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def served_as(self) -> str:
        """The model id that the server lists and that the route names."""
        return self.served_name or self.model

    @property
    def needed_memory_mib(self) -> int | None:
        """GPU memory that a host must have for it, None when nobody knows."""
        if self.memory_mib is not None or self.download_bytes is None:
            return self.memory_mib
        return int(self.download_bytes / MIB * _ROOM_BESIDE_WEIGHTS / self.gpu_memory_utilization)


class Image(NamedTuple):
    """An image to run.

    Attributes:
        reference: As Docker takes it, by digest where it is ours.
        version: The tag that the digest had; None for an image of the user's.
        download_bytes: Compressed size; None when nobody knows.

    """

    reference: str
    version: str | None
    download_bytes: int | None


# The types that a field takes in C(vllm_models), by its annotation.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "bool": (bool,),
    "tuple[str, ...]": (list, tuple),
    "dict[str, str]": (dict,),
}
_FIELDS = {one.name: str(one.type) for one in fields(VllmModel) if one.name != "slug"}


def build_catalogue(more: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, VllmModel]:
    """Return the models by slug: the page's, changed and added to by the role variable C(vllm_models).

    Args:
        more: By slug, in any case: fields that differ for a known model, or all that a new one needs (C(model) and
            C(max_model_len) at least).

    Raises:
        Failure: C(catalogue_invalid), naming the model, the field and what it takes.

    """
    merged: dict[str, dict[str, Any]] = {slug: dict(content) for slug, content in MODELS.items()}
    for name, content in (more or {}).items():
        slug = str(name).strip().lower()
        if not isinstance(content, Mapping):
            raise _invalid(slug, f"is {type(content).__name__}, not a dictionary of fields")
        merged[slug] = {**merged.get(slug, {}), **content}
    return {slug: _model(slug, content) for slug, content in merged.items()}


def find_model(name: str, catalogue: Mapping[str, VllmModel]) -> VllmModel:
    """Return the model that a slug or a full Hugging Face id names, in any case (the page).

    Raises:
        Failure: C(model_unknown), with the slugs.

    """
    wanted = name.strip().lower()
    for model in catalogue.values():
        if wanted in (model.slug, model.model.lower()):
            return model
    known = ", ".join(f"{model.slug} ({model.model})" for model in catalogue.values())
    raise Failure(
        "model_unknown",
        f"Looked for the vLLM model {name.strip()!r}: the catalogue has no such slug or Hugging Face id. Set "
        f"NEMOCLAW_VLLM_MODEL (vllm_model) to one of: {known}; or add it to vllm_models.",
        model=name.strip(),
        known_models=sorted(catalogue),
    )


def default_model(profile: str, catalogue: Mapping[str, VllmModel], of: Profile = PAGE) -> VllmModel:
    """Return the model of a host's profile (the page, "Managed vLLM uses these profiles").

    Args:
        profile: C(nemoclaw_host.profile).
        catalogue: The models by slug.
        of: What C(nemoclaw_profile) says; it makes a difference on a DGX Spark.

    Raises:
        Failure: C(no_profile) for a host that has none.

    """
    slug = _profile(profile)["model"]
    return catalogue[of.spark_model if profile == "dgx-spark" else slug]


def find_image(profile: str, architecture: str, override: str | None = None) -> Image:
    """Return the image for a host.

    Args:
        profile: C(nemoclaw_host.profile).
        architecture: C(nemoclaw_host.architecture), as C(amd64).
        override: The user's image, taken as it is.

    Raises:
        Failure: C(no_profile), or C(no_image) where NVIDIA publishes none for the CPU.

    """
    if override:
        return Image(override, None, None)
    images = _profile(profile)["images"]
    found = images.get(architecture)
    if found is None:
        raise Failure(
            "no_image",
            f"Looked for the vLLM image of the profile {profile}: there is one for {' and '.join(sorted(images))}, and this "
            f"host's CPU is {architecture}. Set vllm_image to an image for it.",
            architecture=architecture,
        )
    return Image(found["image"], found["version"], found["download_bytes"])


def gpu_names(profile: str) -> str | None:
    """Return the part of a GPU's name that the profile picks GPUs by, None for all of them."""
    name: str | None = PROFILES.get(profile, {}).get("gpu_names")
    return name


def names_share(model: VllmModel, more: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether C(vllm_models) itself says how much of the GPU's memory the model takes."""
    return any(
        str(name).strip().lower() == model.slug and "gpu_memory_utilization" in content
        for name, content in more.items()
    )


def memory_share(model: VllmModel, more: Sequence[str] = ()) -> float:
    """Return the part of each GPU's memory that the server takes: vLLM takes the last argument that says it."""
    share = model.gpu_memory_utilization
    arguments = [*model.flags, *more]
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == _SHARE_ARGUMENT:
            value = value if equals else next(iter(arguments[number + 1 : number + 2]), "")
            with contextlib.suppress(ValueError):
                share = float(value)
    return share


def serve_command(model: VllmModel, more: Sequence[str] = ()) -> list[str]:
    """Return the command of the server container: C(vllm serve MODEL ...), the user's arguments last, so that they win."""
    command = ["vllm", "serve", model.model]
    command += ["--gpu-memory-utilization", f"{model.gpu_memory_utilization:g}"]
    command += ["--tensor-parallel-size", str(model.tensor_parallel_size)]
    command += ["--pipeline-parallel-size", "1", "--data-parallel-size", "1"]
    command += ["--port", str(CONTAINER_PORT)]
    command += ["--trust-remote-code"] if model.trust_remote_code else []
    command += ["--max-model-len", str(model.max_model_len)]
    command += ["--revision", model.revision] if model.revision else []
    command += ["--served-model-name", model.served_name] if model.served_name else []
    command += ["--reasoning-parser", model.reasoning_parser] if model.reasoning_parser else []
    if model.tool_call_parser:
        command += ["--enable-auto-tool-choice", "--tool-call-parser", model.tool_call_parser]
    return [*command, *model.flags, *more]


def check_token(model: VllmModel, token: str | None) -> None:
    """Refuse a gated model without a token, before anything is downloaded.

    Raises:
        Failure: C(gated_without_token).

    """
    if model.gated and not (token or "").strip():
        raise Failure(
            "gated_without_token",
            f"The model {model.model} is gated: Hugging Face requires its licence to be accepted, and no token is set. Accept it at "
            f"https://huggingface.co/{model.model} and set HF_TOKEN (hf_token in the inventory, vault-encrypted). Nothing was downloaded.",
            model=model.model,
        )


def _profile(profile: str) -> dict[str, Any]:
    if profile not in PROFILES:
        raise Failure(
            "no_profile",
            f"Looked for a managed vLLM profile: the host's profile is {profile!r}, and there are profiles for DGX Spark, DGX "
            "Station and Linux with an NVIDIA GPU only. Use another provider on this host, or fix its NVIDIA driver if it has such a GPU "
            "(the fact gpus.problem says what is wrong).",
            profile=profile,
        )
    return PROFILES[profile]


def _model(slug: str, content: Mapping[str, Any]) -> VllmModel:
    for name, value in content.items():
        if name not in _FIELDS:
            raise _invalid(slug, f"has a field {name!r}; the fields are {', '.join(sorted(_FIELDS))}")
        allowed = _TYPES[_FIELDS[name]]
        # True is an int to Python, and no number to us.
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise _invalid(slug, f"has {value!r} for {name}, which takes {_FIELDS[name]}")
    missing = [name for name in ("model", "max_model_len") if not content.get(name)]
    if missing:
        raise _invalid(slug, f"lacks {' and '.join(missing)}, which a model that is not on the page has to give")
    values = dict(content)
    values["flags"] = tuple(str(flag) for flag in content.get("flags", ()))
    values["environment"] = {str(key): str(value) for key, value in content.get("environment", {}).items()}
    model = VllmModel(slug=slug, **values)
    if not 0 < model.gpu_memory_utilization <= 1 or model.tensor_parallel_size < 1 or model.max_model_len < 1:
        raise _invalid(
            slug,
            f"has gpu_memory_utilization {model.gpu_memory_utilization}, tensor_parallel_size {model.tensor_parallel_size} "
            f"and max_model_len {model.max_model_len}; the first lies between 0 and 1, the others are 1 or more",
        )
    return model


def _invalid(slug: str, what: str) -> Failure:
    return Failure("catalogue_invalid", f"Read the model {slug!r} of vllm_models: it {what}. Correct it.", model=slug)
