# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Bring the managed vLLM of a host into the state that is wanted: checked, served, stopped, gone."""

from __future__ import annotations

import http.client
import urllib.request
from typing import TYPE_CHECKING, Any

from ..containers import managed, oneshot, readiness
from ..containers import plan as plans
from ..containers.engine import Engine, Host, pull
from ..containers.readiness import masked
from ..containers.spec import Spec, as_diff
from ..endpoint.models import choose, context_window
from ..failure import Failure, format_bytes
from ..host.machine import Account, Machine
from ..jobs.progress import Report, silent
from ..preconditions import (
    Need,
    check_capability,
    check_free,
    check_host_room,
    check_memory,
    check_space,
    find_holders,
    image_need,
)
from ..registry.image import check_architecture, check_local_architecture, download_bytes
from ..registry.reference import parse_reference
from ..transport.url import proxy_secrets
from . import context
from .catalogue import build_catalogue, check_token, find_model, memory_share
from .context import Desired
from .weights import DEFAULT_FOLDER, Weights

if TYPE_CHECKING:
    from .context import Vllm

HUB = "https://huggingface.co"
# Seconds: where a host reaches the hub by its containers alone, the question must not hold the play up.
LIMIT_S = 5.0


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: urllib would show the token there."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Return no further request."""


def check_access(endpoint: str, model: str, token: str) -> None:
    """Refuse a token that the hub refuses for this model. No answer, and any other one, is no reason to stop.

    The question is that of C(huggingface_hub.HfApi.auth_check); no file is asked for.

    Args:
        endpoint: The hub; empty for huggingface.co.
        model: Its id.
        token: The token.

    Raises:
        Failure: C(weights_unauthorized).

    """
    hub = (endpoint or HUB).rstrip("/")
    if not hub.startswith(("http://", "https://")):
        return
    url = f"{hub}/api/models/{urllib.parse.quote(model)}/auth-check"
    try:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - http(s) only
        with urllib.request.build_opener(_Stay).open(request, timeout=LIMIT_S):
            status = http.client.OK
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    except (OSError, ValueError, http.client.HTTPException):
        return
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise Failure(
            "weights_unauthorized",
            f"Asked {hub} whether the token may read {model}, but it answered with HTTP status {status}. Nothing was downloaded. Correct "
            f"HF_TOKEN (hf_token in the inventory, vault-encrypted), and accept the model's licence at {hub}/{model}.",
            model=model,
            status=status,
        )


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
    plans.require_port(vllm.host.machine, spec, plan.own, running)
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
    plans.require_gpu_runtime(vllm.engine, vllm.host.machine, spec.gpus)
    check_capability(vllm.gpus, vllm.model.model, vllm.model.compute_capability)
    check_memory(vllm.gpus, vllm.model.model, vllm.model.needed_memory_mib, vllm.model.tensor_parallel_size)
    share = memory_share(vllm.model, vllm.desired.extra_args)
    check_host_room(vllm.gpus, vllm.model.model, share, "gpu_memory_utilization of the model in vllm_models")
    if vllm.desired.share_gpus:
        return
    plans.require_gpus_free(spec, plan.own, running)
    # What our own container holds is given back before the new one starts.
    if not any(plans.status_of(one) == "running" and plans.shares_gpus(spec, one) for one in plan.own):
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
        f"This host lacks {' and '.join(missing)}. Nothing was downloaded, because vllm_allow_download (option "
        "allow_download) is false: set it to true, or bring them to the host (docker load, and a copy of the cache).",
        image_bytes=image_bytes if lacks_image else None,
        weights_bytes=vllm.model.download_bytes if lacks_weights else None,
    )


def _size(count: int | None) -> str:
    return format_bytes(count) if count else "of unknown size"


_MOVES = (
    "OpenShell's network (openshell-docker) does not exist yet, so {name} is published on the gateway of Docker's own bridge. Once "
    "OpenShell has created its network, sandboxes reach this host at another address: run this again then, which recreates the container, "
    "published there. With an auth proxy (vllm_gate_port) the container stays unchanged."
)


def settled(vllm: Vllm) -> dict[str, Any] | None:
    """Return the result where everything is as wanted and answers; None where something is to be done. Changes nothing.

    Raises:
        Failure: What stands against it, before anything is pulled or stopped.

    """
    spec = vllm.spec
    plan = plans.make_plan(vllm.engine, spec)
    has_leftover = plan.fallback is not None and not vllm.desired.keep_previous
    if plan.step == "none" and plan.current and not plans.is_unproved(plan.current) and not has_leftover:
        seen = readiness.look(vllm.engine, vllm.server(spec))
        return _result(vllm, spec, plan, seen, [], changed=False) if seen.ready else None
    check_before(vllm, spec, plan)
    return None


def predicted(vllm: Vllm) -> dict[str, Any]:
    """Return the result that start() would have, for check mode."""
    done = settled(vllm)
    if done:
        return done
    spec = vllm.spec
    plan = plans.make_plan(vllm.engine, spec)
    actions = [*_downloads(vllm, plan), *plan.actions(), *plan.kept(vllm.desired.keep_previous)]
    # One that is as wanted and loads, after a reboot perhaps, is waited for, which changes nothing.
    return _result(vllm, spec, plan, None, actions, changed=bool(actions))


def start(vllm: Vllm, report: Report = silent) -> dict[str, Any]:
    """Pull and download what is missing, make or replace the container, wait until it answers; return the result.

    Raises:
        Failure: With C(last_logs) and C(restored) where a container was started.

    """
    try:
        return _start(vllm, report)
    except Failure as failure:
        raise _masked(failure, vllm) from None


def _start(vllm: Vllm, report: Report) -> dict[str, Any]:
    plan = plans.make_plan(vllm.engine, vllm.spec)
    actions = _downloads(vllm, plan)
    if plan.needs_container:
        if vllm.engine.image(vllm.image.reference) is None:
            _pull(vllm, report)
        _download(vllm, report)
    spec = vllm.spec
    plan = plans.make_plan(vllm.engine, spec)
    server = vllm.server(spec)
    actions += plan.actions()
    managed.apply(vllm.engine, plan, server, report)
    seen, kept = managed.follow(vllm.engine, spec, server, report, keep_previous=vllm.desired.keep_previous)
    return _result(vllm, spec, plan, seen, [*actions, *kept], changed=bool(actions or kept))


def take_down(engine: Engine, machine: Machine, account: Account, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Bring the server into one of the states in which this container does not serve, and return the result.

    Raises:
        Failure: What the engine refused; C(container_foreign), C(cache_not_writable).

    """
    if desired.state == "stopped":
        return _stop(engine, desired, check_mode)
    if desired.state == "restored":
        return _restore(engine, desired, check_mode)
    return _remove(engine, machine, account, desired, check_mode)


def _stop(engine: Engine, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Stop the server and return the result; container, image and weights stay."""
    before = plans.status_of(engine.container(desired.name))
    actions = managed.stop(engine, desired.name, context.KIND, check_mode)
    actions += managed.remove(engine, desired.name + context.DOWNLOAD, context.KIND, check_mode)
    return _ended(desired, before, before if before in ("absent", "exited", "created") else "exited", actions)


def _restore(engine: Engine, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Have what was replaced serve again, and return the result."""
    before = plans.status_of(engine.container(desired.name))
    actions = managed.restore(engine, desired.name, context.KIND, check_mode, desired.instead_of)
    after = "running" if f"start {desired.name}" in actions else "exited" if actions else before
    return _ended(desired, before, after, actions)


def _remove(engine: Engine, machine: Machine, account: Account, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Remove the server and return the result; the weights only when that is asked for, the image never."""
    found = engine.container(desired.name)
    before = plans.status_of(found)
    download = desired.name + context.DOWNLOAD
    actions = managed.remove(engine, desired.name, context.KIND, check_mode, more=[download])
    model = desired.model or (plans.model_of(found) if found else "")
    if desired.remove_weights and model:
        weights = Weights(Host(machine, account).folder(desired.cache_dir, DEFAULT_FOLDER), _full_id(model, desired))
        if weights.folder.exists():
            actions.append(f"remove {weights.folder}")
            if not check_mode:
                weights.remove()
    return _ended(desired, before, "absent", actions)


def _full_id(model: str, desired: Desired) -> str:
    """Return the id that a slug stands for; a model that left the catalogue may be removed by its id."""
    try:
        return find_model(model, build_catalogue(desired.models)).model
    except Failure as failure:
        if failure.code != "model_unknown" or "/" not in model:
            raise
        return model


def _downloads(vllm: Vllm, plan: plans.Plan) -> list[str]:
    """Return what has to be fetched first, for people."""
    actions = []
    if plan.needs_container and vllm.engine.image(vllm.image.reference) is None:
        actions.append(f"pull {vllm.image.reference}")
    if plan.needs_container and not vllm.weights.complete:
        actions.append(f"download {vllm.model.model}")
    return actions


def _pull(vllm: Vllm, report: Report) -> None:
    registry = parse_reference(vllm.image.reference).registry
    credential = vllm.access.credential(registry)
    auth = credential.as_auth_config(registry) if credential else None
    pull(vllm.engine, vllm.image.reference, report, vllm.desired.stall_timeout, auth)


def _download(vllm: Vllm, report: Report) -> None:
    if vllm.weights.complete:
        return
    total = vllm.model.download_bytes
    vllm.weights.prepare()
    try:
        oneshot.run(
            vllm.engine,
            vllm.download_spec,
            lambda: vllm.weights.measure(total),
            vllm.desired.stall_timeout,
            f"Downloading {vllm.model.model}",
            report,
        )
    except Failure:
        # What came is kept for the next run; where nothing did, nothing is left behind.
        if not vllm.weights.bytes:
            vllm.weights.remove()
        raise
    vllm.weights.finish()
    if not vllm.weights.complete:
        raise Failure(
            "weights_incomplete",
            f"The download of {vllm.model.model} succeeded, but {vllm.weights.folder} does not contain a complete model. Remove that "
            f"folder and run this again; if the model has no weights in a format that vLLM knows, choose another.",
            path=str(vllm.weights.folder),
        )


def _result(
    vllm: Vllm, spec: Spec, plan: plans.Plan, seen: readiness.Look | None, actions: list[str], changed: bool
) -> dict[str, Any]:
    """Return the result of state C(started); nothing of the container's environment is in it."""
    url = f"http://127.0.0.1:{spec.port}/v1"
    entry = choose(vllm.model.served_as, seen.models, url, "") if seen else {}
    previous = plans.previous_of(vllm.engine, spec) if seen else None
    return {
        "changed": changed,
        "container": spec.as_running(),
        "previous": previous,
        "provisional": managed.is_provisional(actions, previous, spec.instead_of),
        "model": vllm.model.served_as,
        "base_url": url,
        "context_window": context_window(entry) or vllm.model.max_model_len,
        "weights": {
            "path": str(vllm.weights.folder),
            "bytes": vllm.weights.bytes,
            "complete": vllm.weights.complete,
        },
        "phase": "ready" if seen else "planned",
        "progress": None,
        "last_logs": [],
        "actions": actions,
        "warnings": [_MOVES.format(name=spec.name)] if plan.needs_container and _may_move(vllm) else [],
        "diff": plan.diff() if changed else {"before": "", "after": ""},
    }


def _may_move(vllm: Vllm) -> bool:
    """Tell whether a later run will have to publish it elsewhere."""
    return not vllm.desired.publish and plans.lacks_network(vllm.engine)


def _ended(desired: Desired, before: str, after: str, actions: list[str]) -> dict[str, Any]:
    return {
        "changed": bool(actions),
        "container": {"name": desired.name, "status": after} if after != "absent" else None,
        "previous": None,
        "outcome": managed.outcome_of(desired.name, actions) if desired.state == "restored" else None,
        "model": None,
        "base_url": None,
        "context_window": None,
        "weights": None,
        "phase": after,
        "progress": None,
        "last_logs": [],
        "actions": actions,
        "diff": as_diff([], desired.name, before, after) if actions else {"before": "", "after": ""},
    }


def secrets_of(machine: Machine, desired: Desired) -> tuple[str, ...]:
    """Return what a container is given and must be shown nowhere: token, key, and the passwords of web proxies."""
    return (desired.hf_token.strip(), desired.ngc_api_key.strip(), *proxy_secrets(machine.environ))


def _masked(failure: Failure, vllm: Vllm) -> Failure:
    """Return the failure without the secrets: a download may print what it was given."""
    secret = [*secrets_of(vllm.host.machine, vllm.desired), *vllm.access.secrets()]
    details = {
        name: masked(value, secret) if isinstance(value, list) and name == "last_logs" else value
        for name, value in failure.details.items()
    }
    return Failure(failure.code, masked([failure.message], secret)[0], **details)
