# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""NemoClaw told of another model, provider or API, for a sandbox that it has: C(nemoclaw inference set).

It routes the gateway there, corrects the agent's settings in the sandbox, and its own records, so that its status and its repair of
the route at C(connect) mean the same as ours (upstream-facts N39). Onboarding once more would make the sandbox anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ..failure import Failure, quote
from ..openshell import changes
from ..openshell import route as openshell_route
from ..openshell.cli import OpenShell
from .desired import NO_KEY, keep_route
from .records import ENDPOINTS, OLLAMA, VLLM, NemoClaw, Recorded, changes_api, checks_local_servers, find_recorded
from .run import (
    API_SINCE,
    UNKNOWN_TO_IT,
    can_change_api,
    dotted,
    has_own_proxy,
    last_words,
    run_nemoclaw,
    too_old,
    unknown_to,
)

# It writes a file in the sandbox by OpenShell; a sandbox that hangs must not hold the play up.
_SILENCE_S = 120.0
# It ends with 0, with its record and the gateway changed and the agent's own settings not (upstream-facts N43).
_UNWRITTEN = re.compile(r"writing the in-sandbox config failed")
# OpenShell's name of an endpoint -> the variable of its key.
_KEYS = {name: key for _choice, name, key in ENDPOINTS.values()}
# What its words mean; the last pattern fits all.
FAILURE_CODES = {
    r"Cannot reach local provider": "nemoclaw_local_check",
    UNKNOWN_TO_IT: "nemoclaw_too_old",
    r"": "nemoclaw_set_failed",
}
_REMEDIES = {
    "nemoclaw_set_failed": "Check whether the sandbox is up (nemoclaw {sandbox} status), correct what last_logs names, and run this again",
    "nemoclaw_local_check": "This release asks the server itself, without a key, before it takes {provider}. Take the provider "
    "compatible-endpoint for a server with a key or on another port",
}


@dataclass(frozen=True)
class Desired:
    """Where the sandbox is to be routed.

    Attributes:
        sandbox: Its name.
        provider: OpenShell's name of one that the gateway has.
        model: The model.
        timeout: Seconds, which NemoClaw's own command would lose.
        shared: As of openshell_inference.
        base_url: The server as the sandbox reaches it. A switch to an endpoint takes it from NemoClaw 0.0.69 on.
        api: The API of the route; None for what NemoClaw has recorded.
        credential: The server's key, which reaches NemoClaw with the base URL.
        restores: Whether it is what NemoClaw had before, so that an empty credential means one that nobody here knows.

    """

    sandbox: str
    provider: str
    model: str
    timeout: int = 180
    shared: str = "refuse"
    base_url: str | None = None
    api: str | None = None
    credential: str = field(default="", repr=False)
    restores: bool = False


def have(nemoclaw: NemoClaw, cli: OpenShell, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Make NemoClaw's record, the agent's settings and the gateway's route say the same.

    Raises:
        Failure: C(nemoclaw_sandbox_missing), C(nemoclaw_set_failed), C(nemoclaw_local_check), C(nemoclaw_config_unwritten),
            C(nemoclaw_too_old), C(nemoclaw_key_unknown), C(nemoclaw_route_incomplete), C(nemoclaw_provider_refused), those of
            openshell_inference, or one of the CLI. The gateway's route is what it was before.

    """
    recorded = _find(nemoclaw, desired)
    wanted = openshell_route.DesiredRoute(
        desired.provider, desired.model, desired.timeout, sandbox=desired.sandbox, shared=desired.shared
    )
    seen = changes.ensure_route(cli, wanted, check_mode=True)
    told = is_told(recorded, desired)
    # Foreseen in check mode too.
    command = None if told else _command(nemoclaw, desired, recorded)
    kept = keep_route(cli)
    try:
        if not check_mode and command:
            _tell(nemoclaw, desired, *command)
        if not check_mode and (seen.changed or not told):
            changes.ensure_route(cli, wanted, check_mode=False)
    except Failure as failure:
        # First NemoClaw, whose own command routes the gateway too, and with another timeout.
        said = "" if told else _tell_again(nemoclaw, desired, recorded)
        raise Failure(failure.code, failure.message + said + kept.restore(), **failure.details) from failure
    before = {"provider": recorded.provider, "model": recorded.model, **({"api": recorded.api} if desired.api else {})}
    after = {"provider": desired.provider, "model": desired.model, **({"api": desired.api} if desired.api else {})}
    return {
        "changed": seen.changed or not told,
        "recorded": after,
        "previous": before,
        "diff": {"before": {}, "after": {}} if told else {"before": before, "after": after},
    }


def is_told(recorded: Recorded, desired: Desired) -> bool:
    """Tell whether NemoClaw has recorded what is wanted."""
    same = (recorded.provider, recorded.model) == (desired.provider, desired.model)
    return same and not changes_api(recorded, {"api": desired.api})


def _command(nemoclaw: NemoClaw, desired: Desired, recorded: Recorded) -> tuple[list[str], dict[str, str]]:
    """Return what NemoClaw is called with, by what its release can: words, and variables beside them."""
    # The gateway's own check asks from the host, where the sandbox's name for it means nothing (decision 0011).
    words = ["--provider", desired.provider, "--model", desired.model, "--sandbox", desired.sandbox, "--no-verify"]
    if desired.provider in _KEYS:
        new_api = changes_api(recorded, {"api": desired.api})
        if recorded.provider == desired.provider and not new_api:
            return words, {}
        if can_change_api(nemoclaw):
            if desired.restores and not desired.credential:
                raise Failure(
                    "nemoclaw_key_unknown",
                    f"NemoClaw {dotted(nemoclaw.release())} takes {desired.provider} only with the server's key, and nobody here knows the "
                    f"one that it had. Until then NemoClaw's record and the agent of {desired.sandbox} name another model: run this with "
                    "the previous settings and the previous key.",
                )
            return [*words, *_endpoint_words(nemoclaw, desired)], {
                _KEYS[desired.provider]: desired.credential or NO_KEY
            }
        if new_api:
            raise too_old(
                nemoclaw,
                API_SINCE,
                f"To change the API of the sandbox {desired.sandbox} from {recorded.api} to {desired.api}",
                "Or make the sandbox anew by nemoclaw_onboard with recreate: true. Nothing was changed.",
            )
        return words, {}
    if desired.provider not in (OLLAMA, VLLM) or not checks_local_servers(nemoclaw):
        return words, {}
    if desired.provider == OLLAMA and not has_own_proxy(nemoclaw):
        raise Failure(
            "nemoclaw_provider_refused",
            f"NemoClaw {dotted(nemoclaw.release())} would start an auth proxy of its own for {OLLAMA}, beside the one that is there. "
            f"Nothing was changed. Take the provider compatible-endpoint, by which NemoClaw onboarded {desired.sandbox}.",
        )
    port = urlsplit(desired.base_url or "").port
    return words, {"NEMOCLAW_VLLM_PORT": str(port)} if port and desired.provider == VLLM else {}


def _endpoint_words(nemoclaw: NemoClaw, desired: Desired) -> list[str]:
    if not desired.base_url or not desired.api:
        raise Failure(
            "nemoclaw_route_incomplete",
            f"NemoClaw {dotted(nemoclaw.release())} takes {desired.provider} for {desired.sandbox} only with the server's address and "
            "API. Give "
            "base_url, api and credential. Nothing was changed.",
        )
    return [
        "--endpoint-url",
        desired.base_url,
        "--credential-env",
        _KEYS[desired.provider],
        "--inference-api",
        desired.api,
    ]


def _tell_again(nemoclaw: NemoClaw, desired: Desired, recorded: Recorded) -> str:
    """Tell NemoClaw what it had recorded, where a command that failed has changed that; say so."""
    if recorded.provider is None or recorded.model is None or _find(nemoclaw, desired) == recorded:
        return ""
    before = f"{recorded.model} by {recorded.provider}"
    previous = replace(
        desired,
        provider=recorded.provider,
        model=recorded.model,
        api=recorded.api,
        base_url=recorded.url,
        credential="",
        restores=True,
    )
    try:
        _tell(nemoclaw, previous, *_command(nemoclaw, previous, _find(nemoclaw, desired)))
    except Failure as failure:
        # What could not be written now could not be written before: the agent's settings are what they were.
        if failure.code != "nemoclaw_config_unwritten":
            return f" NemoClaw could not be told of {before} again: {failure.message}"
    return f" NemoClaw was told of {before} again."


def _find(nemoclaw: NemoClaw, desired: Desired) -> Recorded:
    recorded = find_recorded(nemoclaw.account.home, desired.sandbox)
    if recorded is None:
        raise Failure(
            "nemoclaw_sandbox_missing",
            f"NemoClaw has no sandbox {desired.sandbox}, so there is nothing to route elsewhere. nemoclaw list has their names; the module "
            f"nemoclaw_onboard creates one.",
        )
    return recorded


def _tell(nemoclaw: NemoClaw, desired: Desired, words: list[str], own: dict[str, str]) -> None:
    unwritten: list[str] = []

    def hear(line: str) -> None:
        if _UNWRITTEN.search(line):
            unwritten.append(line)

    ended = run_nemoclaw(nemoclaw, ["inference", "set", *words], own, _SILENCE_S, hear)
    logs = [quote(line, desired.credential, 300) for line in ended.lines]
    if ended.code == 0 and unwritten:
        raise Failure(
            "nemoclaw_config_unwritten",
            f"Ran nemoclaw inference set for {desired.sandbox}, and it could not write the agent's settings in the sandbox: "
            f"{quote(unwritten[-1], desired.credential, 300)}. Look whether the sandbox is up (nemoclaw {desired.sandbox} status), and "
            "run this "
            f"again; nemoclaw {desired.sandbox} rebuild writes them too.",
            exit_code=0,
            last_logs=logs,
        )
    if ended.code == 0:
        return
    how = "did not end and was stopped" if ended.code is None else f"ended with exit status {ended.code}"
    said = " ".join(ended.lines)
    code = next(name for pattern, name in FAILURE_CODES.items() if re.search(pattern, said))
    ran = f"Ran nemoclaw inference set for {desired.sandbox}, and it {how}: {last_words(ended, desired.credential)}."
    if code not in _REMEDIES:
        raise unknown_to(nemoclaw, ran)
    remedy = _REMEDIES[code].format(sandbox=desired.sandbox, provider=desired.provider)
    raise Failure(
        code,
        f"{ran} {remedy}.",
        exit_code=ended.code,
        last_logs=logs,
    )
