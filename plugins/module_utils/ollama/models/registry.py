# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How much a model weighs before it is downloaded, from its registry's manifest (upstream-facts N13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.clock import Deadline
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.models.choice import STARTERS
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.models.names import (
    DEFAULT_REGISTRY,
    ModelName,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sizes import format_bytes
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.client import Client
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.url import parse_base_url
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.untrusted import list_of, object_of, parse_json

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
        f"Asked the registry {name.registry} for {name} by https, and it speaks plain HTTP. If it is yours and the network between is "
        "safe, set ollama_insecure_registry (option insecure_registry) to true; else have it speak TLS. Nothing was downloaded.",
        model=str(name),
    )


def not_in_registry(name: ModelName) -> Failure:
    """Return the failure for a model or a tag that does not exist."""
    where = "ollama.com/library" if name.registry == "registry.ollama.ai" else name.registry
    return Failure(
        "model_not_in_registry",
        f"Asked the registry {name.registry} for {name}: it has no such model or tag. Check the spelling and the tag at "
        f"{where}; nothing was downloaded.",
        model=str(name),
    )


def unauthorized(name: ModelName) -> Failure:
    """Return the failure for a registry that wants a login."""
    return Failure(
        "registry_unauthorized",
        f"Asked the registry {name.registry} for {name}: it wants a login. Ollama signs in to ollama.com by its own key only "
        "(ollama signin, as the user of the daemon) and has no way to give a password: use a registry that is open to this "
        "host, or a model that is public.",
        model=str(name),
    )


def _estimate(name: ModelName) -> Size:
    known = next((one.bytes for one in STARTERS if one.name == str(name)), None)
    return Size(known, "estimate" if known else "unknown")
