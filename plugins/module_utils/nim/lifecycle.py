# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Bring a NIM into the state that is wanted: checked, pulled, started, waited for, stopped, gone.

Never a cloud in its place (decision 0021, D6).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..containers import managed, readiness
from ..containers import plan as plans
from ..containers.engine import Engine, Host, connect, pull
from ..containers.readiness import masked
from ..containers.spec import NO_GPUS, Spec, as_diff, gpus_of, web_proxies
from ..containers.work import check_options
from ..endpoint.models import context_window
from ..failure import Failure, clean_key, format_bytes
from ..host.machine import Account, Machine, acting_as
from ..jobs.progress import Position, Report, silent
from ..preconditions import (
    Gpus,
    Need,
    cache_not_writable,
    check_free,
    check_host_room,
    check_space,
    find_holders,
    image_need,
)
from ..registry.image import Access, download_bytes
from ..registry.reference import parse_reference
from ..transport.url import proxy_secrets
from . import context as nim
from .catalogue import Choice, NimModel
from .context import Context, Desired, choose_model, gpus_offered, image_of, require_architecture


def check(context: Context, plan: plans.Plan, choice: Choice) -> tuple[bool, int | None]:
    """Check all that can be checked before a pull; return whether the image is missing, and its size where it is known."""
    spec, desired, engine = plan.spec, context.desired, context.engine
    if not any(variable in spec.secrets for variable in nim.KEY_VARIABLES) and not desired.keyless:
        raise Failure(
            "ngc_key_missing",
            f"Looked for an NGC key for {spec.name}: there is none, and a NIM without it exits within seconds, since it downloads its "
            f"model with it (a docker login does not reach the container). Create one at https://org.ngc.nvidia.com/setup/api-key and set "
            f"NGC_API_KEY (ngc_api_key in the inventory, vault-encrypted). If the model is already in the cache, set nim_keyless (option "
            f"keyless). Nothing was pulled.",
        )
    containers = engine.containers()
    plans.require_port(context.host.machine, spec, plan.own, containers)
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
            "because nim_allow_download (option allow_download) is false: set it to true, or bring the image to the host (docker load).",
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
    plans.require_gpu_runtime(context.engine, context.host.machine, plan.spec.gpus)
    if model.needed_memory_mib:
        check_host_room(
            gpus, model.name, nim.memory_share(plan.spec.environment), "NIM_KVCACHE_PERCENT in nim_environment"
        )
    if context.desired.share_gpus:
        return
    plans.require_gpus_free(plan.spec, plan.own, containers)
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


def converge(
    machine: Machine, account: Account, desired: Desired, check_mode: bool, report: Report = silent
) -> dict[str, Any]:
    """Return the result of the module, as its RETURN block documents it, after doing what is wanted unless only checking.

    Args:
        machine: The host.
        account: Whose cache, whose logins.
        desired: What is wanted.
        check_mode: Stop before the first change; everything is looked at all the same.
        report: Gets where the work is.

    Raises:
        Failure: With the codes of docs/failure-codes.md, sections on containers.

    """
    check_options(desired.name, desired.instead_of, desired.port, desired.wait_timeout, desired.stall_timeout)
    engine = connect(machine, account, desired.docker_host)
    if desired.state != "started":
        return _taken_down(engine, desired, check_mode)
    plans.require_engine(engine)
    key = clean_key(desired.ngc_api_key) or None
    access = Access(engine.client, machine, account, key, desired.registry)
    context = Context(engine, Host(machine, account), desired, access)
    offered = gpus_offered(context)
    choice = choose_model(context, offered)
    spec = nim.make_spec(
        desired.name,
        image_of(desired, choice.model),
        choice.model.name,
        port=desired.port,
        addresses=plans.publish_addresses(engine, desired.publish),
        gpus=",".join(choice.gpus.ids) if choice.gpus else NO_GPUS,
        cache_dir=context.host.folder(desired.cache_dir, nim.DEFAULT_CACHE),
        account=account,
        key=key,
        environment=nim.bounded_environment(desired.environment, choice.gpus),
        proxies=web_proxies(machine.environ),
        rootless=bool(engine.facts["rootless"]),
        instead_of=desired.instead_of,
    )
    try:
        return _started(context, spec, choice, offered, check_mode, report)
    except Failure as failure:
        raise _masked(failure, [*secrets_of(machine, desired), *access.secrets()]) from None


def secrets_of(machine: Machine, desired: Desired) -> tuple[str, ...]:
    """Return what the container is given and must be shown nowhere: the key, and the passwords of web proxies."""
    return (desired.ngc_api_key.strip(), *proxy_secrets(machine.environ))


def _masked(failure: Failure, secrets: list[str]) -> Failure:
    """Return the failure without what a server that fails may have printed of its environment."""
    logs = failure.details.get("last_logs")
    details = {**failure.details, **({"last_logs": masked(logs, secrets)} if isinstance(logs, list) else {})}
    return Failure(failure.code, masked([failure.message], secrets)[0], **details)


def _started(
    context: Context, spec: Spec, choice: Choice, offered: Gpus | None, check_mode: bool, report: Report
) -> dict[str, Any]:
    engine = context.engine
    server = nim.make_server(spec, context.desired.served_model, context.desired.wait_timeout)
    plan = plans.make_plan(engine, spec)
    actions = plan.actions()
    size = seen = None
    if plan.step != "none":
        missing, size = check(context, plan, choice)
        if missing:
            actions.insert(0, f"pull {spec.image}")
    elif plans.is_unproved(plan.current or {}):
        # Left by a run that was killed. What is wrong with it is for follow() to see, which restores the previous one.
        actions.append(f"wait for {spec.name}")
    else:
        seen = readiness.look(engine, server)
    if plan.step == "none" and plan.fallback and not context.desired.keep_previous:
        actions.append(f"remove {spec.name + plans.PREVIOUS}")
    if not check_mode:
        if plan.needs_container:
            _make_ready(context, spec, report)
        managed.apply(engine, plan, server, report)
        seen, _kept = managed.follow(engine, spec, server, report, keep_previous=context.desired.keep_previous)
    served = [str(entry["id"]) for entry in seen.models] if seen else []
    model, warnings = _served_model(choice.model, served)
    previous = plans.previous_of(engine, spec) if seen else None
    entry = next((entry for entry in seen.models if entry["id"] == model), {}) if seen else {}
    return {
        "changed": bool(actions),
        "actions": actions,
        "container": spec.as_running(),
        "previous": previous,
        "provisional": managed.is_provisional(actions, previous, spec.instead_of),
        "model": model,
        "base_url": f"http://127.0.0.1:{spec.port}/v1",
        "served_models": served,
        "context_window": context_window(entry),
        "phase": seen.phase if seen else "planned",
        "progress": None,
        "image_bytes": size,
        "choice_reason": choice.reason,
        "fitting_models": choice.fitting,
        "gpu_summary": offered.summary if offered else "no GPU asked for",
        "last_logs": [],
        "warnings": [one for one in (choice.warning, *warnings) if one],
        "diff": plan.diff() if actions else {"before": "", "after": ""},
    }


def _taken_down(engine: Engine, desired: Desired, check_mode: bool) -> dict[str, Any]:
    before = plans.status_of(engine.container(desired.name))
    if desired.state == "stopped":
        actions = managed.stop(engine, desired.name, nim.KIND, check_mode)
    elif desired.state == "restored":
        actions = managed.restore(engine, desired.name, nim.KIND, check_mode, desired.instead_of)
    else:
        actions = managed.remove(engine, desired.name, nim.KIND, check_mode)
    after = "absent" if desired.state == "absent" or before == "absent" else "exited" if actions else before
    after = "running" if f"start {desired.name}" in actions else after
    return {
        "changed": bool(actions),
        "actions": actions,
        "container": {"name": desired.name, "status": after} if after != "absent" else None,
        "previous": None,
        "outcome": managed.outcome_of(desired.name, actions) if desired.state == "restored" else None,
        "model": None,
        "base_url": None,
        "phase": after,
        "progress": None,
        "last_logs": [],
        "warnings": [],
        "diff": as_diff([], desired.name, before, after) if actions else {"before": "", "after": ""},
    }


def _make_ready(context: Context, spec: Spec, report: Report) -> None:
    """Have the image and the folder for downloads."""
    if context.engine.image(spec.image) is None:
        reference = parse_reference(spec.image)
        credential = context.access.credential(reference.registry)
        auth = credential.as_auth_config(reference.registry) if credential else None
        report(Position("pull", message=f"Pulling {spec.image}"))
        pull(context.engine, spec.image, report, context.desired.stall_timeout, auth)
    folder = Path(spec.mounts[0].source)
    try:
        with acting_as(context.host.account):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        uid, why = context.host.account.uid, str(error.strerror)
        raise cache_not_writable(f"the downloads of {spec.name}", folder, folder, uid, why) from error


def _served_model(model: NimModel, served: list[str]) -> tuple[str, list[str]]:
    """Return the id that a route names, and a warning where the server calls its model otherwise than the catalogue."""
    if not served or model.served_as in served:
        return model.served_as, []
    if model.name in served:
        return model.name, []
    warning = (
        f"The NIM serves {', '.join(served)}, and the catalogue calls its model {model.served_as}: the route names what is served. "
        "To be sure that it is what you want, set served_model."
    )
    return served[0], [warning]
