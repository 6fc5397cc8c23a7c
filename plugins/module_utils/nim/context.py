# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What is wanted of a NIM, which model that means, what its container should be, and how to tell how far it is (upstream-facts N33)."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..containers import plan as plans
from ..containers import readiness
from ..containers.engine import Engine, Host
from ..containers.spec import NO_GPUS, Mount, Spec
from ..failure import Failure
from ..host.machine import Account, acting_as
from ..preconditions import AUTO, Gpus, bounded_share, cache_not_writable, choose_gpus, nearest, of_one_kind, why_closed
from ..registry.image import Access, check_architecture, check_local_architecture
from ..registry.reference import parse_reference
from ..vllm.catalogue import gpu_names
from .catalogue import Choice, NimModel, build_catalogue, choose, find_model, look_up

KIND = "nim"
# The name that NemoClaw's onboarding gives it.
DEFAULT_NAME = "nemoclaw-nim-nemoclaw"
CONTAINER_PORT = 8000
# NIM reads the first; older ones and those based on NIM's hub tools read the second.
KEY_VARIABLES = ("NGC_API_KEY", "NIM_NGC_API_KEY")
# Where every NIM keeps what it downloads (NVIDIA's NIM documentation, NIM_CACHE_PATH).
CACHE_TARGET = "/opt/nim/.cache"
DEFAULT_CACHE = ".cache/nim"
SHM_BYTES = 16 * 1024**3

# In the order in which a NIM goes through them. It runs vLLM inside, whose lines these are from "load" on.
PHASES = (
    ("download", r"[Dd]ownload|Fetching|Preparing model workspace"),
    ("load", r"Starting to load model|Loading safetensors|Loading weights|Loading model|Model loading took"),
    ("compile", r"torch\.compile|Dynamo bytecode|Compiling a graph|Capturing CUDA graph|Graph capturing|KV cache"),
    ("serve", r"Starting vLLM API server|Started server process|Application startup complete|Uvicorn running on"),
)
# The first lists the models; the second is NIM's own word on whether it takes requests.
_PATHS = ("/v1/models", "/v1/health/ready")
# As the engine takes names.
# What vLLM, and so NIM, takes of each GPU unless it is told otherwise: the weights, and the rest for the key-value cache. NIM 1 has
# a variable for it, NIM 2 passes vLLM's argument on (NVIDIA's NIM documentation, configuration).
MEMORY_SHARE = 0.9
_SHARE_ARGUMENT = re.compile(r"--gpu-memory-utilization[\s=]+([\d.]+)")
# Of NIM 1 and of NIM 2; each leaves the other's alone.
_SHARE_VARIABLES = ("NIM_KVCACHE_PERCENT", "NIM_PASSTHROUGH_ARGS")
_SHARE = re.compile(r"[01]?\.?\d+")


def make_spec(
    name: str,
    image: str,
    model: str,
    *,
    port: int,
    addresses: Sequence[str],
    gpus: str,
    cache_dir: str,
    account: Account,
    key: str | None,
    environment: Mapping[str, str],
    proxies: Mapping[str, str] | None = None,
    rootless: bool = False,
    instead_of: str = "",
) -> Spec:
    """Return the container: the key by environment alone, its downloads in a folder of the user, who it also runs as.

    C(proxies): the web proxies of the host, as for the pull; one that C(environment) names is that one's. C(rootless): whether the
    engine runs without root, where the container's root is the user.
    """
    reached_by = {variable: value for variable, value in (proxies or {}).items() if variable not in environment}
    return Spec(
        name=name,
        kind=KIND,
        image=image,
        environment=dict(environment),
        secrets={**reached_by, **(dict.fromkeys(KEY_VARIABLES, key) if key else {})},
        mounts=(Mount(cache_dir, CACHE_TARGET, read_only=False),),
        addresses=addresses,
        port=port,
        container_port=CONTAINER_PORT,
        gpus=gpus,
        shm_bytes=SHM_BYTES,
        # Of the group root, as "docker run -u UID" makes it: the images give their folders to that group.
        user="0:0" if rootless else f"{account.uid}:0",
        model=model,
        instead_of=instead_of,
    )


def make_server(spec: Spec, served_model: str, stall_s: float) -> readiness.Server:
    """Return how to tell how far it is; an empty C(served_model) takes what it serves."""
    cache = Path(spec.mounts[0].source)
    return readiness.Server(spec.name, spec.port, PHASES, _PATHS, served_model, stall_s, lambda: last_growth(cache))


def require_writable(spec: Spec, account: Account) -> None:
    """Refuse a cache that the container could not write to, before anything is pulled or stopped.

    A cache may be root's: the engine makes a folder that C(docker run -v) names, and a NIM that ran as root leaves folders in it.

    Raises:
        Failure: C(cache_not_writable).

    """
    cache = Path(spec.mounts[0].source)
    if "\0" in str(cache):
        raise cache_not_writable(
            f"the downloads of {spec.name}", cache, cache, account.uid, "no folder can be called so"
        )
    with acting_as(account):
        place = nearest(cache)
        why = why_closed(place) or (_closed_to_container(place, account) if place == cache else None)
        for pattern in ("*", "*/*"):
            # Folders that cannot be entered are found before what is in them is looked at.
            why = why or next(
                filter(None, (why_closed(one) for one in sorted(cache.glob(pattern)) if one.is_dir())), None
            )
    if why:
        raise cache_not_writable(f"the downloads of {spec.name}", cache, cache, account.uid, why)


def _closed_to_container(folder: Path, account: Account) -> str | None:
    """Return why a folder that the user can write to is closed to the container, which is in none of the user's groups."""
    status = folder.stat()
    may = status.st_mode & stat.S_IWOTH or status.st_uid == account.uid or status.st_gid == 0
    if may or account.uid == 0 or status.st_gid not in account.groups:
        return None
    return f"{folder} can be written to by its group, which the container is not in, and belongs to another user"


def memory_share(environment: Mapping[str, str]) -> float:
    """Return the part of each GPU's memory that the NIM takes, which is far more than its weights."""
    arguments = _SHARE_ARGUMENT.findall(environment.get("NIM_PASSTHROUGH_ARGS", ""))
    for text in (*arguments[-1:], environment.get("NIM_KVCACHE_PERCENT", "")):
        if _SHARE.fullmatch(text.strip()) and 0 < float(text) <= 1:
            return float(text)
    return MEMORY_SHARE


def bounded_environment(environment: Mapping[str, str], gpus: Gpus | None) -> dict[str, str]:
    """Return the variables of the server, with the part of the memory that it may take where the GPU's is the host's as well.

    Only where nobody has said how much it takes, and what it takes by itself would leave too little.
    """
    share = bounded_share(gpus, MEMORY_SHARE) if gpus else MEMORY_SHARE
    if share in (MEMORY_SHARE, 0) or any(variable in environment for variable in _SHARE_VARIABLES):
        return dict(environment)
    kvcache, passthrough = _SHARE_VARIABLES
    return {**environment, kvcache: f"{share:g}", passthrough: f"--gpu-memory-utilization {share:g}"}


def cached_bytes(cache: Path, names: Iterable[str]) -> int:
    """Return how much of a model lies in the cache.

    NIM keeps each model in a folder of its own, as huggingface_hub does: C(models--nim--meta--llama-3.1-8b-instruct). Its name is
    written in several ways, of which only letters and digits are the same.

    Args:
        cache: The cache, with other models in it.
        names: What the model may be called there: its name, the path of its image.

    """
    wanted = {_plain(name.rpartition("/")[2]) for name in names}
    mine = [
        Path(parent, name)
        for parent, folders, _names in os.walk(cache)
        for name in folders
        if name.startswith("models--") and _plain(name.rpartition("--")[2]) in wanted
    ]
    return sum(status.st_size for folder in mine for status in files_below(folder))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def files_below(folder: Path) -> Iterator[os.stat_result]:
    """Yield what is known of each file in a cache, links not followed; nothing where it cannot be read."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield Path(parent, name).lstat()


def last_growth(folder: Path) -> float:
    """Return when a file in the cache was written last, seconds since 1970; 0 for an empty one."""
    return max((status.st_mtime for status in files_below(folder)), default=0.0)


@dataclass(frozen=True)
class Desired:
    """What is wanted; the options of the module, with its defaults.

    Attributes:
        name: The container.
        state: C(started), C(stopped), C(restored) or C(absent).
        model: A name of the catalogue; empty for the largest that fits.
        image: Another image than the catalogue's; empty for that one.
        registry: Where the catalogue's images lie, and what the key opens.
        models: Changes and additions to the catalogue.
        served_model: The id that the server must list; empty takes what it serves.
        port: On the host.
        publish: Addresses of the host, to publish on; empty for loopback and the gateway of the sandboxes' bridge.
        gpus: C(auto), C(all), C(none), or indices, UUIDs and parts of names with commas between.
        share_gpus: Let another engine have the same GPUs.
        cache_dir: Where downloads are kept; empty for C(~/.cache/nim).
        keyless: Start without a key.
        environment: Further variables of the server, no secrets.
        allow_download: Whether an image that is not here may be pulled.
        instead_of: Another container of ours that makes way for this one.
        keep_previous: Whether the container that it replaces is kept once it is ready.
        docker_host: Which engine; empty for that of a C(docker) command.
        wait_timeout: Seconds without a sign of life after which a server that starts is given up.
        stall_timeout: Seconds without progress after which a pull is given up.
        ngc_api_key: The NGC key.

    """

    name: str = DEFAULT_NAME
    state: str = "started"
    model: str = ""
    image: str = ""
    registry: str = "nvcr.io"
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    served_model: str = ""
    port: int = 8000
    publish: Sequence[str] = ()
    gpus: str = AUTO
    share_gpus: bool = False
    cache_dir: str = ""
    keyless: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    allow_download: bool = True
    instead_of: str = ""
    keep_previous: bool = False
    docker_host: str = ""
    wait_timeout: float = 900
    stall_timeout: float = 300
    ngc_api_key: str = field(default="", repr=False)


class Context(NamedTuple):
    """What a run works with."""

    engine: Engine
    host: Host
    desired: Desired
    access: Access


def gpus_offered(context: Context) -> Gpus | None:
    """Return the GPUs that the container may get, None where it shall have none; choose_model says which it gets.

    Raises:
        Failure: C(gpu_missing), C(gpu_unknown).

    """
    wanted = context.desired.gpus.strip()
    return None if wanted == NO_GPUS else choose_gpus(wanted, context.host.gpus)


def choose_model(context: Context, gpus: Gpus | None) -> Choice:
    """Return the model and its GPUs: the one asked for, that of an image of the user's, or the largest that fits and has an image."""
    choice = _choose(context, gpus)
    # GPUs that were named are those that it gets; of all that there are, it gets those of one kind.
    return choice if context.desired.gpus.strip() in ("", AUTO) else choice._replace(gpus=gpus)


def _choose(context: Context, gpus: Gpus | None) -> Choice:
    desired, catalogue = context.desired, build_catalogue(context.desired.models)
    preferred = gpu_names(context.host.profile) if gpus else None
    if desired.image and look_up(desired.model, catalogue) is None:
        # The user's own: nobody knows what it needs.
        name = desired.model.strip() or parse_reference(desired.image).repository
        offered = of_one_kind(gpus, preferred) if gpus else None
        return Choice(NimModel(name, desired.image), "it is the image that was asked for", [], offered)
    if gpus is None:
        if not desired.model.strip():
            raise Failure(
                "model_missing",
                "Looked for the NIM to run without a GPU: no model can be chosen without one. Name one with model (nim_model), or give it "
                "GPUs.",
            )
        return Choice(find_model(desired.model, catalogue), "it was asked for", [])
    choice = choose(catalogue, gpus, desired.model, preferred)
    if choice.smaller and context.host.architecture != "amd64":
        return _largest_for_this_cpu(context, choice)
    return choice


def _largest_for_this_cpu(context: Context, choice: Choice) -> Choice:
    """Return the largest that has an image for a CPU that some have none for (upstream-facts N31)."""
    candidates = (choice.model, *choice.smaller)
    current = context.engine.container(context.desired.name)
    running = plans.model_of(current) if current else ""
    for model in candidates:
        # It was found so by an earlier run. To look again would need the registry each time.
        if model.name == running:
            return choice._replace(model=model, reason=f"it is here already and fits ({choice.reason})")
    for position, model in enumerate(candidates):
        try:
            require_architecture(context, image_of(context.desired, model))
        except Failure as failure:
            if failure.code != "image_architecture" or model is candidates[-1]:
                raise
            continue
        skipped = ", ".join(one.name for one in candidates[:position])
        more = f"; {skipped} is not made for {context.host.architecture}" if skipped else ""
        return choice._replace(model=model, reason=choice.reason + more)
    return choice


def image_of(desired: Desired, model: NimModel) -> str:
    return str(parse_reference(desired.image or model.reference(desired.registry)))


def require_architecture(context: Context, image: str) -> None:
    """Refuse an image that this CPU cannot run, whether it is here or in its registry."""
    found, reference = context.engine.image(image), parse_reference(image)
    if found is None:
        check_architecture(reference, context.access.inspect(reference), context.host.architecture)
    else:
        check_local_architecture(reference, found, context.host.architecture)
