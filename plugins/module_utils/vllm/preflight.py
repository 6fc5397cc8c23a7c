# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What has to hold before an image is pulled or a server stopped: token, consent, port, GPUs, room, the registry's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..containers import plan as plans
from ..containers import preflight
from ..containers.spec import Spec
from ..failure import Failure
from ..preconditions.disk import (
    Need,
    check_space,
    image_need,
)
from ..preconditions.gpus import (
    check_capability,
    check_free,
    check_host_room,
    check_memory,
    find_holders,
)
from ..registry.image import (
    check_architecture,
    check_local_architecture,
)
from ..registry.reference import parse_reference
from ..registry.size import download_bytes
from ..sizes import format_bytes
from .catalogue import check_token, memory_share
from .hub import check_access

if TYPE_CHECKING:
    from .context import Vllm


def check_before(vllm: Vllm, spec: Spec, plan: plans.Plan) -> None:
    """Raise what stands against the plan; the cheapest questions first, the registry last. Changes nothing.

    Raises:
        Failure: With the code of what does not hold.

    """
    if plan.step in ("none", "rename", "update"):
        return
    found = vllm.engine.image(vllm.image.reference)
    lacks_image = found is None
    if found and plan.needs_container:
        check_local_architecture(parse_reference(vllm.image.reference), found, vllm.host.architecture)
    lacks_weights = plan.needs_container and not vllm.weights.complete
    token = vllm.desired.hf_token.strip()
    if lacks_weights:
        check_token(vllm.model, token)
        vllm.weights.require_writable()
    running = vllm.engine.containers()
    preflight.require_port(vllm.host.machine, spec, plan.own, running)
    _check_gpus(vllm, spec, plan, running)
    if not plan.needs_container:
        return
    if lacks_weights and token and vllm.desired.allow_download:
        check_access(vllm.desired.hf_endpoint, vllm.model.model, token)
    size = _check_registry(vllm) if lacks_image else None
    if (lacks_image or lacks_weights) and not vllm.desired.allow_download:
        raise _no_consent(vllm, lacks_image, lacks_weights, size)
    check_space(_needs(vllm, lacks_weights, size))


def _check_gpus(vllm: Vllm, spec: Spec, plan: plans.Plan, running: list[dict[str, Any]]) -> None:
    if vllm.gpus is None:
        return
    preflight.require_gpu_runtime(vllm.engine, vllm.host.machine, spec.gpus)
    check_capability(vllm.gpus, vllm.model.model, vllm.model.compute_capability)
    check_memory(vllm.gpus, vllm.model.model, vllm.model.needed_memory_mib, vllm.model.tensor_parallel_size)
    share = memory_share(vllm.model, vllm.desired.extra_args)
    check_host_room(vllm.gpus, vllm.model.model, share, "gpu_memory_utilization of the model in vllm_models")
    if vllm.desired.share_gpus:
        return
    preflight.require_gpus_free(spec, plan.own, running)
    # What our own container holds is given back before the new one starts.
    if not any(plans.status_of(one) == "running" and preflight.shares_gpus(spec, one) for one in plan.own):
        check_free(vllm.gpus, share, find_holders(vllm.host.machine))


def _check_registry(vllm: Vllm) -> int | None:
    """Ask the registry for the manifest, which costs no bandwidth, and return what a pull would download."""
    reference = parse_reference(vllm.image.reference)
    check_architecture(reference, vllm.access.inspect(reference), vllm.host.architecture)
    credential = vllm.access.credential(reference.registry)
    return vllm.image.download_bytes or download_bytes(reference, vllm.host.architecture, credential)


def _needs(vllm: Vllm, lacks_weights: bool, image_bytes: int | None) -> list[Need]:
    needs = []
    root = str(vllm.engine.info().get("DockerRootDir") or "")
    # An engine in a virtual machine has its folder there.
    if image_bytes and root and vllm.host.machine.exists(root):
        needs.append(image_need(vllm.image.reference, image_bytes, root))
    if lacks_weights and vllm.model.download_bytes:
        missing = max(vllm.model.download_bytes - vllm.weights.bytes, 0)
        needs.append(Need(f"the weights of {vllm.model.model}", str(vllm.weights.folder), missing))
    return needs


def _no_consent(vllm: Vllm, lacks_image: bool, lacks_weights: bool, image_bytes: int | None) -> Failure:
    missing = []
    if lacks_image:
        missing.append(f"the image {vllm.image.reference} ({_size(image_bytes)})")
    if lacks_weights:
        missing.append(f"the weights of {vllm.model.model} ({_size(vllm.model.download_bytes)})")
    return Failure(
        "download_not_allowed",
        f"This host lacks {' and '.join(missing)}. Nothing was downloaded, because allow_download is false: set it to true, or bring "
        "them to the host (docker load, and a copy of the cache).",
        image_bytes=image_bytes if lacks_image else None,
        weights_bytes=vllm.model.download_bytes if lacks_weights else None,
    )


def _size(count: int | None) -> str:
    return format_bytes(count) if count else "of unknown size"
