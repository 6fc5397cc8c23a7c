# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Models before they are on a host: which fits when none was named, and how much one weighs by its registry (upstream-facts N13)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..clock import Deadline
from ..failure import Failure, format_bytes
from ..profiles import LATER, PAGE, Profile
from ..transport.client import Client
from ..transport.url import parse_base_url
from ..untrusted import list_of, object_of, parse_json
from .names import DEFAULT_REGISTRY, ModelName

MIB = 1024 * 1024


class Starter(NamedTuple):
    """A model that is offered where none is installed.

    Attributes:
        name: Its tag in Ollama's registry.
        total_mib: GPU memory, all of it, below which it is not offered. 32 GiB is the page's rule ("hosts with at least 32
            GiB of detected GPU memory"); NemoClaw counts NVIDIA GPUs for it.
        available_mib: Free memory that it needs (upstream ollama-model-registry.ts, upstream-facts N12, June 2026).
        bytes: What it weighs, for where the registry does not tell (upstream-facts N12, fallback sizes).

    """

    name: str
    total_mib: int
    available_mib: int
    bytes: int


# Best first. One of the small ones is for every host, by nemoclaw_profile (upstream-facts N12).
_LARGE = (
    Starter("qwen3.6:35b", 32_768, 26_000, 24_000_000_000),
    Starter("nemotron-3-nano:30b", 32_768, 22_000, 19_000_000_000),
)
_SMALL = {
    PAGE.small_starter: Starter(PAGE.small_starter, 0, 0, 4_683_073_184),
    LATER.small_starter: Starter(LATER.small_starter, 0, 0, 6_600_000_000),
}
# All that are known by their size.
STARTERS = (*_LARGE, *_SMALL.values())
# NemoClaw takes this one where it is installed (upstream-facts N12).
_PREFERRED = "nemotron-3-nano:30b"


class Choice(NamedTuple):
    """A model and the reason for it, as part of a sentence."""

    name: str
    reason: str


def starters(profile: Profile) -> tuple[Starter, ...]:
    """Return what is offered, best first; the last one is for every host."""
    return (*_LARGE, _SMALL[profile.small_starter])


def choose(
    installed: Sequence[dict[str, Any]],
    loaded: Sequence[dict[str, Any]],
    gpus: dict[str, Any],
    require_tools: bool,
    profile: Profile = PAGE,
) -> Choice:
    """Return the model for a host.

    Args:
        installed: C({name, size, capabilities}) in Ollama's order.
        loaded: C({name, size, size_vram}): their memory is given back when another model is loaded, so it counts as available. Else
            a second run would find too little and choose another model.
        gpus: C(nemoclaw_host.gpus): C(memory_total_mib), C(memory_available_mib), on unified memory the host's own. And
            C(host_available_mib), in which models run where there is no GPU; None where nobody knows it.
        require_tools: Leave out installed models that declare that they cannot use tools.
        profile: Whose starter models.

    """
    total = gpus["memory_total_mib"] or 0
    free = gpus["memory_available_mib"]
    ours = sum(one["size_vram"] or 0 for one in loaded) // MIB
    available = min(total, free + ours) if free is not None else total
    offered = starters(profile)
    fitting = {one.name for one in offered if total >= one.total_mib and available >= one.available_mib}
    memory = f"{total} MiB of GPU memory, {available} MiB of it for a model" if total else "no GPU memory"
    known = {one.name for one in offered}
    room: int | None = available
    if not total:
        room = gpus.get("host_available_mib")
        room = room + sum(one["size"] or 0 for one in loaded) // MIB if room is not None else None
    usable = [
        one["name"]
        for one in installed
        if (one["name"] in fitting if one["name"] in known else _fits(one["size"], room))
        and _can(one["capabilities"], "completion")
        and (not require_tools or _can(one["capabilities"], "tools"))
    ]
    if _PREFERRED in usable:
        return Choice(_PREFERRED, f"it is installed and fits ({memory})")
    if usable:
        return Choice(usable[0], f"it is the first of the installed models that fit and can be used ({memory})")
    largest = next(one.name for one in offered if one.name in fitting)
    return Choice(largest, f"it is the largest starter model that fits this host ({memory})")


def _fits(size: int | None, room: int | None) -> bool:
    """Tell whether the files of a model, which is the least that it needs in memory, have room."""
    return size is None or room is None or size <= room * MIB


def _can(capabilities: Sequence[str] | None, what: str) -> bool:
    return capabilities is None or what in capabilities


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LIMIT_S = 3.0  # upstream-facts N13
_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class Size(NamedTuple):
    """What is to be downloaded.

    Attributes:
        bytes: None when nobody knows.
        source: C(registry), C(estimate) or C(unknown).
        layers: Bytes of each layer by its digest, as far as the registry told.

    """

    bytes: int | None
    source: str
    layers: Mapping[str, int] = MappingProxyType({})

    def __str__(self) -> str:
        if self.bytes is None:
            return "of unknown size"
        return f"{'about ' if self.source == 'estimate' else ''}{format_bytes(self.bytes)}"


def find_size(name: ModelName, insecure: bool) -> Size:
    """Return the size of a model by its manifest, else the known one of a starter model, else unknown.

    Raises:
        Failure: C(model_not_in_registry), C(registry_unauthorized) or C(registry_insecure), where the registry's answer to us holds for
            the daemon too. A registry that does not answer us is no reason to stop: the daemon may have another way to it.

    """
    scheme = "http" if insecure else "https"
    try:
        root = parse_base_url(f"{scheme}://{name.registry}", "openai-completions")
        client = Client(root, {"Accept": _MANIFESTS}, "", Deadline(_LIMIT_S))
        with client.open("GET", f"{root.root}/v2/{name.namespace}/{name.model}/manifests/{name.tag}") as reply:
            status, body, challenge = reply.status, reply.body(), reply.headers.get("WWW-Authenticate", "")
    except Failure:
        if not insecure and name.registry != DEFAULT_REGISTRY and _speaks_http(name.registry):
            raise insecure_registry(name) from None
        return _estimate(name)
    if status == 404 and name.is_public:
        raise not_in_registry(name)
    if status == 401 and challenge.lower().startswith("basic"):
        raise unauthorized(name)
    if status != 200:
        return _estimate(name)
    try:
        layers = list_of(object_of(parse_json(body)).get("layers"))
    except ValueError:
        return _estimate(name)
    rows = [(object_of(layer).get("digest"), object_of(layer).get("size")) for layer in layers]
    sizes = [size for _digest, size in rows if isinstance(size, int) and size >= 0]
    if not sizes or len(sizes) != len(layers):
        return _estimate(name)
    known = {
        digest: size
        for digest, size in rows
        if isinstance(size, int) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
    }
    return Size(sum(sizes), "registry", known)


def _speaks_http(registry: str) -> bool:
    """Tell whether a registry that gave no answer by TLS gives one without it."""
    try:
        root = parse_base_url(f"http://{registry}", "openai-completions")
        with Client(root, {}, "", Deadline(_LIMIT_S)).open("GET", f"{root.root}/v2/") as reply:
            return reply.status in (200, 401) and "docker-distribution-api-version" in map(str.lower, reply.headers)
    except Failure:
        return False


def insecure_registry(name: ModelName) -> Failure:
    """Return the failure for a registry that speaks plain HTTP without anybody's consent to that."""
    return Failure(
        "registry_insecure",
        f"Asked the registry {name.registry} for {name} over https, but it speaks plain HTTP. If it is yours and the network in between is "
        f"safe, set ollama_insecure_registry (option insecure_registry) to true; otherwise enable TLS on it. Nothing was downloaded.",
        model=str(name),
    )


def not_in_registry(name: ModelName) -> Failure:
    """Return the failure for a model or a tag that does not exist."""
    where = "ollama.com/library" if name.registry == "registry.ollama.ai" else name.registry
    return Failure(
        "model_not_in_registry",
        f"Asked the registry {name.registry} for {name}: it has no such model or tag. Check the name and the tag at {where}; nothing was "
        f"downloaded.",
        model=str(name),
    )


def unauthorized(name: ModelName) -> Failure:
    """Return the failure for a registry that wants a login."""
    return Failure(
        "registry_unauthorized",
        f"Asked the registry {name.registry} for {name}: it requires a login. Ollama signs in only to ollama.com, with its own key (ollama "
        f"signin, as the daemon's user), and cannot send a password: use a registry that is open to this host, or a public model.",
        model=str(name),
    )


def _estimate(name: ModelName) -> Size:
    known = next((one.bytes for one in STARTERS if one.name == str(name)), None)
    return Size(known, "estimate" if known else "unknown")
