# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How much a model weighs before it is downloaded, from its registry's manifest (upstream-facts N13), and in which store it lies then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ...clock import Deadline
from ...failure import Failure
from ...host.machine import Account, Machine, find_account
from ...host.sockets import find_listeners
from ...preconditions.disk import Need, check_space
from ...sizes import format_bytes
from ...transport.client import Client
from ...transport.url import parse_base_url
from ...untrusted import list_of, object_of, parse_json
from ..daemon import Address
from ..names import DEFAULT_REGISTRY, ModelName
from ..service import dropin, processes
from ..service.presence import UNIT
from ..service.systemd import Systemd
from .choice import STARTERS

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
        "(ollama signin, as the user of the daemon) and cannot give a password: use a registry that is open to this "
        "host, or a model that is public.",
        model=str(name),
    )


def _estimate(name: ModelName) -> Size:
    known = next((one.bytes for one in STARTERS if one.name == str(name)), None)
    return Size(known, "estimate" if known else "unknown")


_VARIABLE = "OLLAMA_MODELS"
_BELOW_HOME = ".ollama/models"
# Of the user that Ollama's own installer and ollama_install make.
_SYSTEM_STORE = "/usr/share/ollama/.ollama/models"
_BLOCK = 512  # st_blocks of stat(2)


def find_store(machine: Machine, address: Address, account: Account) -> str | None:
    """Return the folder of a daemon's models, None for a daemon that is not on this host.

    By what its process was given, as far as we may see it; else by what its unit gives it, and its user's home. Where no daemon is yet,
    it is where the service will have it.
    """
    if not address.is_loopback:
        return None
    listener = next(iter(find_listeners(machine, [address.port])), None)
    given = processes.environment_of(machine, listener["pid"]) if listener and listener["pid"] else None
    if given is not None:
        return _by(given, None)
    if Systemd.is_running(machine):
        unit = Systemd(machine).show(UNIT)
        if unit.known:
            files = dropin.in_files(machine, unit, _VARIABLE)
            own = {_VARIABLE: str(files[-1].value)} if files else unit.environment
            return _by(own, unit.user or "root")
        return _SYSTEM_STORE
    return _by({}, listener["user"] if listener else account.name)


def check_room(name: ModelName, size: Size, store: str, machine: Machine) -> None:
    """Check that what is still to come of a model has room where it will lie.

    Raises:
        Failure: C(disk_too_small).

    """
    if size.bytes is None:
        return
    place = machine.path(store)
    there = sum(min(_stored(place, digest), whole) for digest, whole in size.layers.items())
    rest = f" (what is still to come of {size})" if there else ""
    check_space(
        [Need(f"the model {name}{rest}", str(place), max(0, size.bytes - there))],
        remedy="Make room there, or have the daemon keep its models on a larger file system: OLLAMA_MODELS in its service "
        "(ollama_environment)",
    )


def _by(given: Mapping[str, str], user: str | None) -> str | None:
    if given.get(_VARIABLE):
        return given[_VARIABLE]
    home = given.get("HOME")
    if not home and user:
        try:
            home = find_account(user).home
        except Failure:
            return None
    return f"{home}/{_BELOW_HOME}" if home else None


def _stored(store: Path, digest: str) -> int:
    """Return the bytes of a blob that are on the disk, whole or in part; 0 where we may not look."""
    blob = store / "blobs" / digest.replace(":", "-")
    for path in (blob, Path(f"{blob}-partial")):
        try:
            facts = path.stat()
        except OSError:
            continue
        # A part has its full length from the beginning, with holes in it.
        return min(facts.st_size, facts.st_blocks * _BLOCK)
    return 0
