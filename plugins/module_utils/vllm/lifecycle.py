# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Bring the managed vLLM of a host into the state that is wanted: served, stopped, gone."""

from __future__ import annotations

from typing import Any

from ..containers import (
    images,
    managed,
    oneshot,
    preflight,
    readiness,
)
from ..containers import (
    plan as plans,
)
from ..containers.compare import as_diff
from ..containers.diagnosis import masked
from ..containers.engine import Engine
from ..containers.host import Host
from ..containers.proxies import (
    proxy_secrets,
    web_proxies,
)
from ..containers.spec import Spec
from ..endpoint.models import choose, context_window
from ..failure import Failure
from ..host.machine import Account, Machine
from ..jobs.progress import Report, silent
from ..registry.reference import parse_reference
from ..vllm import specs
from .catalogue import (
    build_catalogue,
    find_model,
)
from .context import Desired, Vllm
from .preflight import check_before
from .weights import DEFAULT_FOLDER, Weights

_MOVES = (
    "OpenShell's network (openshell-docker) is not there yet, so {name} is published on the gateway of Docker's own bridge. Once OpenShell "
    "has made its network, sandboxes reach this host by another address: run this again then, which makes the container anew, published "
    "there. With a gate (vllm_gate_port) the container stays as it is."
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
    actions = managed.stop(engine, desired.name, specs.KIND, check_mode)
    actions += managed.remove(engine, desired.name + specs.DOWNLOAD, specs.KIND, check_mode)
    return _ended(desired, before, before if before in ("absent", "exited", "created") else "exited", actions)


def _restore(engine: Engine, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Have what was replaced serve again, and return the result."""
    before = plans.status_of(engine.container(desired.name))
    actions = managed.restore(engine, desired.name, specs.KIND, check_mode, desired.instead_of)
    after = "running" if f"start {desired.name}" in actions else "exited" if actions else before
    return _ended(desired, before, after, actions)


def _remove(engine: Engine, machine: Machine, account: Account, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Remove the server and return the result; the weights only when that is asked for, the image never."""
    found = engine.container(desired.name)
    before = plans.status_of(found)
    download = desired.name + specs.DOWNLOAD
    actions = managed.remove(engine, desired.name, specs.KIND, check_mode, more=[download])
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
    images.pull(vllm.engine, vllm.image.reference, report, vllm.desired.stall_timeout, auth)


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
            f"The download of {vllm.model.model} ended well, but {vllm.weights.folder} does not hold a whole model. Remove that folder "
            "and run this again; where the model has no weights in a format that vLLM knows, choose another.",
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
        "container": {
            "name": spec.name,
            "image": spec.image,
            "status": "running",
            "published": [f"{address}:{spec.port}" for address in spec.addresses],
            "gpus": spec.gpus,
            "restart_policy": spec.restart_policy,
        },
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
    return not vllm.desired.publish and preflight.lacks_network(vllm.engine)


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
    return (desired.hf_token.strip(), desired.ngc_api_key.strip(), *proxy_secrets(web_proxies(machine.environ)))


def _masked(failure: Failure, vllm: Vllm) -> Failure:
    """Return the failure without the secrets: a download may print what it was given."""
    secret = [*secrets_of(vllm.host.machine, vllm.desired), *vllm.access.secrets()]
    details = {
        name: masked(value, secret) if isinstance(value, list) and name == "last_logs" else value
        for name, value in failure.details.items()
    }
    return Failure(failure.code, masked([failure.message], secret)[0], **details)
