# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The managed vLLM of a host as it is wanted: the options, what follows from them and from the host, and its two containers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..containers import plan as plans
from ..containers import readiness
from ..containers.engine import Engine, Host
from ..containers.spec import NO_GPUS, Mount, Spec, web_proxies
from ..containers.work import check_options
from ..failure import Failure, clean_key
from ..host.machine import Account, Machine
from ..preconditions import Gpus, bounded_share, choose_gpus
from ..profiles import BY_NAME, PAGE
from ..registry.image import Access
from ..registry.reference import parse_reference
from ..untrusted import list_of, object_of
from .catalogue import (
    CONTAINER_PORT,
    Image,
    VllmModel,
    build_catalogue,
    default_model,
    find_image,
    find_model,
    gpu_names,
    names_share,
    serve_command,
)
from .weights import DEFAULT_FOLDER, Weights

KIND = "vllm"
DEFAULT_NAME = "nemoclaw-vllm"  # the page
DOWNLOAD = "-download"
# In the container. Not below /root, which a download that runs as the user may not enter; and the folder of the models alone, since
# the user's own token lies beside it.
_CACHE = "/huggingface/hub"

# In the order in which vLLM goes through them (upstream-facts N29; vLLM 0.10 to 0.32: v1/worker/gpu_model_runner.py,
# compilation/backends.py, v1/engine/core.py).
PHASES = (
    ("load", r"Starting to load model|Loading safetensors|Loading weights|Loading model|Model loading took"),
    (
        "compile",
        r"torch\.compile|Dynamo bytecode|Compiling a graph|Capturing CUDA graph|Graph capturing|KV cache size|GPU KV cache",
    ),
    ("serve", r"Starting vLLM API server|Started server process|Application startup complete|Uvicorn running on"),
)


def server_spec(
    name: str,
    image: str,
    found_image: dict[str, Any] | None,
    model: VllmModel,
    *,
    port: int,
    addresses: Sequence[str],
    gpus: str,
    cache_dir: str,
    extra_args: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    instead_of: str = "",
) -> Spec:
    """Return the container that serves: no token, no way to download, the weights read-only.

    C(found_image): what inspect says of the image, None where it is not here yet. Images whose entrypoint is vLLM itself
    (vllm/vllm-openai) get the arguments alone; NVIDIA's entrypoint sets up CUDA and then runs the command.
    """
    command = serve_command(model, extra_args)
    entrypoint = None
    own = list_of(object_of(object_of(found_image).get("Config")).get("Entrypoint"))
    if any("vllm" in str(word) for word in own):
        entrypoint, command = command[:1], command[1:]
    return Spec(
        name=name,
        kind=KIND,
        image=image,
        command=command,
        entrypoint=entrypoint,
        environment={
            "HF_HUB_CACHE": _CACHE,
            "HF_HUB_OFFLINE": "1",
            # Code that comes with a model is unpacked before it runs, and the cache is read-only.
            "HF_MODULES_CACHE": "/tmp/hf-modules",  # noqa: S108 - in the container
            "VLLM_NO_USAGE_STATS": "1",
            **model.environment,
            **(environment or {}),
        },
        mounts=(Mount(f"{cache_dir}/hub", _CACHE),),
        addresses=addresses,
        port=port,
        container_port=CONTAINER_PORT,
        gpus=gpus,
        ipc="host",
        model=model.model,
        instead_of=instead_of,
    )


def download_spec(
    name: str,
    image: str,
    model: VllmModel,
    *,
    cache_dir: str,
    user: str,
    token: str,
    endpoint: str,
    environ: Mapping[str, str],
) -> Spec:
    """Return the container that downloads: it alone has the token, and writes as the user whose cache it is.

    Args:
        name: Of the server; this one is called C(NAME-download).
        image: Of the server, which has the program C(hf).
        model: What to download.
        cache_dir: Where to.
        user: C(UID:GID) that owns the cache.
        token: May be empty.
        endpoint: Another hub than huggingface.co; may be empty.
        environ: Of this process, for the web proxies.

    """
    # Of the module's own environment: the engine gives a container none, and a lab may have no other way out.
    secrets = web_proxies(environ)
    if token:
        secrets["HF_TOKEN"] = token
    plain = {
        "HF_HUB_CACHE": _CACHE,
        "HOME": "/tmp",  # noqa: S108 - in the container
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if endpoint:
        plain["HF_ENDPOINT"] = endpoint
    return Spec(
        name=name + DOWNLOAD,
        kind=KIND,
        image=image,
        entrypoint=("hf",),
        command=("download", model.model, *(("--revision", model.revision) if model.revision else ())),
        environment=plain,
        secrets=secrets,
        mounts=(Mount(f"{cache_dir}/hub", _CACHE, read_only=False),),
        user=user,
        restart=False,
        model=model.model,
    )


def server(spec: Spec, model: VllmModel, stall_s: float) -> readiness.Server:
    """Return how to tell how far the server is."""
    return readiness.Server(spec.name, spec.port, PHASES, model=model.served_as, stall_s=stall_s)


_KEY_VARIABLE = "VLLM_API_KEY"


@dataclass(frozen=True)
class Desired:
    """What is wanted; the options of the module vllm_container, which documents them."""

    name: str = DEFAULT_NAME
    state: str = "started"
    model: str = ""
    nemoclaw_profile: str = PAGE.name
    models: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    port: int = 8000
    gpus: str = "auto"
    share_gpus: bool = False
    cache_dir: str = ""
    hf_token: str = field(default="", repr=False)
    hf_endpoint: str = ""
    ngc_api_key: str = field(default="", repr=False)
    extra_args: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    publish: Sequence[str] = ()
    allow_download: bool = True
    wait_timeout: float = 900
    stall_timeout: float = 300
    remove_weights: bool = False
    instead_of: str = ""
    keep_previous: bool = False
    docker_host: str = ""


class Vllm:
    """The managed vLLM of a host as it is wanted, before anything is done about it.

    Args:
        engine: Who runs it.
        machine: The host.
        account: Whose cache.
        desired: What is wanted.

    Raises:
        Failure: C(docker_endpoint_unsupported), C(model_unknown), C(catalogue_invalid), C(server_key_refused), C(no_profile),
            C(no_image), C(image_name_invalid), C(gpu_missing), C(gpu_unknown), C(key_invalid).

    """

    def __init__(self, engine: Engine, machine: Machine, account: Account, desired: Desired) -> None:
        plans.require_engine(engine)
        self.engine = engine
        self.desired = desired
        self.host = Host(machine, account)
        self._key = clean_key(desired.ngc_api_key) or None
        catalogue = build_catalogue(desired.models)
        self.model: VllmModel = (
            find_model(desired.model, catalogue)
            if desired.model
            else default_model(self.host.profile, catalogue, BY_NAME[desired.nemoclaw_profile])
        )
        _require_no_key([*self.model.flags, *desired.extra_args], {**self.model.environment, **desired.environment})
        self.image: Image = (
            _named(desired.image) if desired.image else find_image(self.host.profile, self.host.architecture)
        )
        # None for a server on the CPU.
        self.gpus: Gpus | None = None
        if desired.gpus != NO_GPUS:
            self.gpus = choose_gpus(desired.gpus, self.host.gpus, gpu_names(self.host.profile))
            if not names_share(self.model, desired.models):
                share = bounded_share(self.gpus, self.model.gpu_memory_utilization)
                # Where nothing can be left to take, what is wanted is refused with the numbers.
                self.model = dataclasses.replace(
                    self.model, gpu_memory_utilization=share or self.model.gpu_memory_utilization
                )
        cache_dir = self.host.folder(desired.cache_dir, DEFAULT_FOLDER)
        self.weights = Weights(cache_dir, self.model.model, self.model.revision)

    @functools.cached_property
    def access(self) -> Access:
        """The way to the registry of the image; the NGC key is for NVIDIA's."""
        return Access(self.engine.client, self.host.machine, self.host.account, self._key)

    @property
    def spec(self) -> Spec:
        """The container that serves; it depends on the image's entrypoint, so it may change once the image is here."""
        return server_spec(
            self.desired.name,
            self.image.reference,
            self.engine.image(self.image.reference),
            self.model,
            port=self.desired.port,
            addresses=plans.publish_addresses(self.engine, self.desired.publish),
            gpus=",".join(self.gpus.ids) if self.gpus else NO_GPUS,
            cache_dir=str(self.weights.cache_dir),
            extra_args=self.desired.extra_args,
            environment=self.desired.environment,
            instead_of=self.desired.instead_of,
        )

    @property
    def download_spec(self) -> Spec:
        """The container that downloads."""
        account = self.host.account
        # A rootless engine maps the container's root to the user.
        user = "0:0" if self.engine.facts["rootless"] else f"{account.uid}:{account.gid}"
        return download_spec(
            self.desired.name,
            self.image.reference,
            self.model,
            cache_dir=str(self.weights.cache_dir),
            user=user,
            token=self.desired.hf_token.strip(),
            endpoint=self.desired.hf_endpoint,
            environ=self.host.machine.environ,
        )

    def server(self, spec: Spec) -> readiness.Server:
        """How to tell how far it is."""
        return server(spec, self.model, self.desired.wait_timeout)


def check_desired(desired: Desired) -> None:
    """Refuse what is wrong on every host, before the engine is asked for anything.

    Raises:
        Failure: C(container_name_invalid), C(port_invalid), C(timeout_invalid).

    """
    check_options(desired.name, desired.instead_of, desired.port, desired.wait_timeout, desired.stall_timeout)


def _require_no_key(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse a key of vLLM's own: it leaves paths open (upstream-facts P6), and nobody here would ask the server with it."""
    # vLLM takes underscores for dashes in its arguments.
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    given = "--api-key among the arguments" if "--api-key" in names else "VLLM_API_KEY in the environment"
    if "--api-key" in names or _KEY_VARIABLE in environment:
        raise Failure(
            "server_key_refused",
            f"Read the settings of the server: there is {given}. vLLM's own key leaves paths such as /tokenize and /invocations open, "
            "and the readiness check cannot use a key. Remove it, and put the auth proxy in front of vLLM (vllm_gate_port in the "
            "role vllm), which lets nothing else through.",
        )


def _named(reference: str) -> Image:
    """Return the user's image; a name that cannot be read is refused before the engine is asked."""
    parse_reference(reference)
    return Image(reference, None, None)
