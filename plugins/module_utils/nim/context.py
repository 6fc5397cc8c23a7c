# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""What is wanted of a NIM, what a run works with, and which model that means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..containers import plan as plans
from ..containers.engine import Engine
from ..containers.host import Host
from ..containers.spec import NO_GPUS
from ..failure import Failure
from ..nim import container as nim
from ..preconditions.gpus import (
    AUTO,
    Gpus,
    choose_gpus,
    of_one_kind,
)
from ..registry.access import Access
from ..registry.image import (
    check_architecture,
    check_local_architecture,
)
from ..registry.reference import parse_reference
from ..vllm.catalogue import gpu_names
from .catalogue import (
    Choice,
    NimModel,
    build_catalogue,
    choose,
    find_model,
    look_up,
)


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

    name: str = nim.DEFAULT_NAME
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


def gpus_of(context: Context) -> Gpus | None:
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
                "Looked for the NIM to run without a GPU: no model fits none, so none can be chosen. Name one by model "
                "(nim_model), or give it GPUs.",
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
