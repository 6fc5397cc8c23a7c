# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The two containers of managed vLLM: the one that downloads and alone sees the token, and the one that serves, offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..containers import readiness
from ..containers.proxies import web_proxies
from ..containers.spec import Mount, Spec
from ..untrusted import list_of, object_of
from .catalogue import (
    CONTAINER_PORT,
    VllmModel,
    serve_command,
)

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
