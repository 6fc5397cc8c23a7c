# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The managed vLLM of a host as it is wanted: the options, and what follows from them and from the host."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers import (
    preflight,
    readiness,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import Engine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.host import Host
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.options import check_options
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.spec import NO_GPUS, Spec
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.accounts import Account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.preconditions.gpus import (
    Gpus,
    bounded_share,
    choose_gpus,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.access import Access
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import parse_reference
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import clean_key
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm import specs
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.catalogue import (
    Image,
    VllmModel,
    build_catalogue,
    default_model,
    find_image,
    find_model,
    gpu_names,
    names_share,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.vllm.weights import DEFAULT_FOLDER, Weights

_KEY_VARIABLE = "VLLM_API_KEY"


@dataclass(frozen=True)
class Wish:
    """What is wanted; the options of the module vllm_container, which documents them."""

    name: str = specs.DEFAULT_NAME
    state: str = "started"
    model: str = ""
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
        wish: What is wanted.

    Raises:
        Failure: C(docker_endpoint_unsupported), C(model_unknown), C(catalogue_invalid), C(server_key_refused), C(no_profile),
            C(no_image), C(image_name_invalid), C(gpu_missing), C(gpu_unknown), C(key_invalid).

    """

    def __init__(self, engine: Engine, machine: Machine, account: Account, wish: Wish) -> None:
        preflight.require_engine(engine)
        self.engine = engine
        self.wish = wish
        self.host = Host(machine, account)
        self._key = clean_key(wish.ngc_api_key) or None
        catalogue = build_catalogue(wish.models)
        self.model: VllmModel = (
            find_model(wish.model, catalogue) if wish.model else default_model(self.host.profile, catalogue)
        )
        _require_no_key([*self.model.flags, *wish.extra_args], {**self.model.environment, **wish.environment})
        self.image: Image = _named(wish.image) if wish.image else find_image(self.host.profile, self.host.architecture)
        # None for a server on the CPU.
        self.gpus: Gpus | None = None
        if wish.gpus != NO_GPUS:
            self.gpus = choose_gpus(wish.gpus, self.host.gpus, gpu_names(self.host.profile))
            if not names_share(self.model, wish.models):
                share = bounded_share(self.gpus, self.model.gpu_memory_utilization)
                # Where nothing can be left to take, what is wanted is refused with the numbers.
                self.model = dataclasses.replace(
                    self.model, gpu_memory_utilization=share or self.model.gpu_memory_utilization
                )
        cache_dir = self.host.folder(wish.cache_dir, DEFAULT_FOLDER)
        self.weights = Weights(cache_dir, self.model.model, self.model.revision)

    @functools.cached_property
    def access(self) -> Access:
        """The way to the registry of the image; the NGC key is for NVIDIA's."""
        return Access(self.engine.client, self.host.machine, self.host.account, self._key)

    @property
    def spec(self) -> Spec:
        """The container that serves; it depends on the image's entrypoint, so it may change once the image is here."""
        return specs.server_spec(
            self.wish.name,
            self.image.reference,
            self.engine.image(self.image.reference),
            self.model,
            port=self.wish.port,
            addresses=preflight.publish_addresses(self.engine, self.wish.publish),
            gpus=",".join(self.gpus.ids) if self.gpus else NO_GPUS,
            cache_dir=str(self.weights.cache_dir),
            extra_args=self.wish.extra_args,
            environment=self.wish.environment,
            instead_of=self.wish.instead_of,
        )

    @property
    def download_spec(self) -> Spec:
        """The container that downloads."""
        account = self.host.account
        # A rootless engine maps the container's root to the user.
        user = "0:0" if self.engine.facts["rootless"] else f"{account.uid}:{account.gid}"
        return specs.download_spec(
            self.wish.name,
            self.image.reference,
            self.model,
            cache_dir=str(self.weights.cache_dir),
            user=user,
            token=self.wish.hf_token.strip(),
            endpoint=self.wish.hf_endpoint,
            environ=self.host.machine.environ,
        )

    def server(self, spec: Spec) -> readiness.Server:
        """How to tell how far it is."""
        return specs.server(spec, self.model, self.wish.wait_timeout)


def check_wish(wish: Wish) -> None:
    """Refuse what is wrong on every host, before the engine is asked for anything.

    Raises:
        Failure: C(container_name_invalid), C(port_invalid), C(timeout_invalid).

    """
    check_options(wish.name, wish.instead_of, wish.port, wish.wait_timeout, wish.stall_timeout)


def _require_no_key(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse a key of vLLM's own: it leaves paths open (upstream-facts P6), and nobody here would ask the server with it."""
    # vLLM takes underscores for dashes in its arguments.
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    given = "--api-key among the arguments" if "--api-key" in names else "VLLM_API_KEY in the environment"
    if "--api-key" in names or _KEY_VARIABLE in environment:
        raise Failure(
            "server_key_refused",
            f"Read the settings of the server: there is {given}. vLLM's own key leaves paths such as /tokenize and /invocations open, "
            "and a server that wants one cannot be waited for. Take it out, and put the token gate before vLLM (vllm_gate_port in the "
            "role vllm), which lets nothing else through.",
        )


def _named(reference: str) -> Image:
    """Return the user's image; a name that cannot be read is refused before the engine is asked."""
    parse_reference(reference)
    return Image(reference, None, None)
