# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What a NIM container should be, and how to tell how far it is (nemoclaw-facts 11.2, and what it lacks there: a cache)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import readiness
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import Mount, Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account

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
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,100}")


def check_name(name: str) -> None:
    """Refuse what cannot be a container's name.

    Raises:
        Failure: C(container_name_invalid).

    """
    if not _NAME.fullmatch(name):
        raise Failure(
            "container_name_invalid",
            f"Read the container name {name!r}: a name has letters, digits, dots, dashes and underscores, and begins with a "
            "letter or digit. Correct it.",
        )


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
    instead_of: str = "",
) -> Spec:
    """Return the container: the key by environment alone, its downloads in a folder of the user, who it also runs as."""
    return Spec(
        name=name,
        kind=KIND,
        image=image,
        environment=dict(environment),
        secrets=dict.fromkeys(KEY_VARIABLES, key) if key else {},
        mounts=(Mount(cache_dir, CACHE_TARGET, read_only=False),),
        addresses=addresses,
        port=port,
        container_port=CONTAINER_PORT,
        gpus=gpus,
        shm_bytes=SHM_BYTES,
        # Of the group root, as "docker run -u UID" makes it: the images give their folders to that group.
        user=f"{account.uid}:0",
        model=model,
        instead_of=instead_of,
    )


def make_server(spec: Spec, served_model: str, stall_s: float) -> readiness.Server:
    """Return how to tell how far it is; an empty C(served_model) takes what it serves."""
    cache = Path(spec.mounts[0].source)
    return readiness.Server(spec.name, spec.port, PHASES, _PATHS, served_model, stall_s, lambda: last_growth(cache))


def files_below(folder: Path) -> Iterator[os.stat_result]:
    """Yield what is known of each file in a cache, links not followed; nothing where it cannot be read."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield Path(parent, name).lstat()


def last_growth(folder: Path) -> float:
    """Return when a file in the cache was written last, seconds since 1970; 0 for an empty one."""
    return max((status.st_mtime for status in files_below(folder)), default=0.0)
