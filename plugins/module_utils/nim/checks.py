# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""All that can be known before a NIM is pulled: a key, a port, GPUs, an image for this CPU, room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..containers import plan as plans
from ..containers import preflight
from ..containers.compare import gpus_of
from ..containers.spec import NO_GPUS
from ..failure import Failure
from ..nim import container as nim
from ..preconditions.disk import (
    Need,
    check_space,
    image_need,
)
from ..preconditions.gpus import (
    Gpus,
    check_free,
    check_host_room,
    find_holders,
)
from ..registry.reference import parse_reference
from ..registry.size import download_bytes
from ..sizes import format_bytes
from .catalogue import Choice, NimModel
from .context import Context, require_architecture


def check(context: Context, plan: plans.Plan, choice: Choice) -> tuple[bool, int | None]:
    """Check all that can be checked before a pull; return whether the image is missing, and its size where it is known."""
    spec, desired, engine = plan.spec, context.desired, context.engine
    if not any(variable in spec.secrets for variable in nim.KEY_VARIABLES) and not desired.keyless:
        raise Failure(
            "ngc_key_missing",
            f"Looked for an NGC key for {spec.name}: there is none, and a NIM without it ends within seconds, since it downloads "
            "its model with it (a docker login alone does not reach the container). Make one at "
            "https://org.ngc.nvidia.com/setup/api-key and set NGC_API_KEY (ngc_api_key in the inventory, vault-encrypted). Where "
            "the model lies in the cache already, set keyless. Nothing was pulled.",
        )
    containers = engine.containers()
    preflight.require_port(context.host.machine, spec, plan.own, containers)
    if choice.gpus:
        _check_gpus(context, plan, choice.model, choice.gpus, containers)
    nim.require_writable(spec, context.host.account)
    if not plan.needs_container:
        return False, None
    found = engine.image(spec.image)
    reference = parse_reference(spec.image)
    size = None
    require_architecture(context, spec.image)
    if found is None:
        size = download_bytes(reference, context.host.architecture, context.access.credential(reference.registry))
    else:
        _check_key(context, reference.registry)
    if found is None and not desired.allow_download:
        raise Failure(
            "download_not_allowed",
            f"This host lacks the image {spec.image} ({format_bytes(size) if size else 'of unknown size'}). Nothing was downloaded, "
            "because allow_download is false: set it to true, or bring the image to the host (docker load).",
            image_bytes=size,
        )
    _check_space(context, plan, choice.model, size)
    return found is None, size


def _check_key(context: Context, registry: str) -> None:
    """Refuse a key that the registry refuses, before a server that works makes room for one that cannot start with it."""
    try:
        context.access.login(registry)
    except Failure as failure:
        # The image is here, so a host without a way to the registry is fine.
        if failure.code == "registry_unauthorized":
            raise


def _check_gpus(
    context: Context, plan: plans.Plan, model: NimModel, gpus: Gpus, containers: list[dict[str, Any]]
) -> None:
    preflight.require_gpu_runtime(context.engine, context.host.machine, plan.spec.gpus)
    if model.needed_memory_mib:
        check_host_room(
            gpus, model.name, nim.memory_share(plan.spec.environment), "NIM_KVCACHE_PERCENT in nim_environment"
        )
    if context.desired.share_gpus:
        return
    preflight.require_gpus_free(plan.spec, plan.own, containers)
    ours = any(gpus_of(one) != NO_GPUS and plans.status_of(one) == "running" for one in plan.own)
    # Of an image of the user's nobody knows what it takes.
    if not ours and model.needed_memory_mib:
        check_free(gpus, nim.memory_share(plan.spec.environment), find_holders(context.host.machine))


def _check_space(context: Context, plan: plans.Plan, model: NimModel, size: int | None) -> None:
    spec, cache = plan.spec, Path(plan.spec.mounts[0].source)
    needs = []
    if not context.desired.keyless and not _has_weights(plan):
        cached = nim.cached_bytes(cache, (model.name, parse_reference(spec.image).repository))
        needs.append(Need(f"the weights of {model.name}", str(cache), max(model.weights_bytes - cached, 0)))
    root = str(context.engine.info().get("DockerRootDir") or "")
    # An engine in a machine of its own has no folder here.
    if size and root and context.host.machine.exists(root):
        needs.append(image_need(spec.image, size, root))
    check_space([need for need in needs if need.bytes])


def _has_weights(plan: plans.Plan) -> bool:
    """Tell whether the container that is replaced has been ready with the same model, image and cache."""
    current = plan.current
    if current is None or plans.is_unproved(current) or plans.model_of(current) != plan.spec.model:
        return False
    return not {"image", "mounts"} & {change.name for change in plan.changes}
