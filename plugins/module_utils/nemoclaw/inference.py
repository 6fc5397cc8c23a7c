# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""NemoClaw told of another model, provider or API, for a sandbox that it has: C(nemoclaw inference set).

It routes the gateway there, corrects the agent's settings in the sandbox, and its own records, so that its status and its repair of
the route at C(connect) mean the same as ours (upstream-facts N39). Onboarding once more would make the sandbox anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.capabilities import (
    API_SINCE,
    OLLAMA,
    VLLM,
    can_change_api,
    changes_api,
    checks_local_servers,
    dotted,
    has_own_proxy,
    too_old,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.gateway import keep_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.program import NemoClaw, last_words
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.registry import Recorded, find_recorded
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.wish import ENDPOINTS, NO_KEY
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import route as openshell_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.cli import OpenShell
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.credentials import quote

# It writes a file in the sandbox by OpenShell; a sandbox that hangs must not hold the play up.
_SILENCE_S = 120.0
# It ends with 0, with its record and the gateway changed and the agent's own settings not (upstream-facts N43).
_UNWRITTEN = re.compile(r"writing the in-sandbox config failed")
# OpenShell's name of an endpoint -> the variable of its key.
_KEYS = {name: key for _choice, name, key in ENDPOINTS.values()}
# What its words mean; the last pattern fits all.
FAILURE_CODES = {r"Cannot reach local provider": "nemoclaw_local_check", r"": "nemoclaw_set_failed"}
_REMEDIES = {
    "nemoclaw_set_failed": "Look whether the sandbox is up (nemoclaw {sandbox} status), correct what last_logs names, and run this again",
    "nemoclaw_local_check": "This release asks the server itself, without a key, before it takes {provider}. Take the provider "
    "compatible-endpoint for a server with a key or on another port",
}


@dataclass(frozen=True)
class Wish:
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

    """

    sandbox: str
    provider: str
    model: str
    timeout: int = 180
    shared: str = "refuse"
    base_url: str | None = None
    api: str | None = None
    credential: str = field(default="", repr=False)


def have(nemoclaw: NemoClaw, cli: OpenShell, wish: Wish, check_mode: bool) -> dict[str, Any]:
    """Make NemoClaw's record, the agent's settings and the gateway's route say the same.

    Raises:
        Failure: C(nemoclaw_sandbox_missing), C(nemoclaw_set_failed), C(nemoclaw_local_check), C(nemoclaw_config_unwritten),
            C(nemoclaw_too_old), C(nemoclaw_route_incomplete), C(nemoclaw_provider_refused), those of openshell_inference, or one of the
            CLI. The gateway's route is what it was before.

    """
    recorded = _find(nemoclaw, wish)
    wanted = openshell_route.Wish(wish.provider, wish.model, wish.timeout, sandbox=wish.sandbox, shared=wish.shared)
    seen = openshell_route.have(cli, wanted, check_mode=True)
    told = is_told(recorded, wish)
    # Foreseen in check mode too.
    command = None if told else _command(nemoclaw, wish, recorded)
    kept = keep_route(cli)
    try:
        if not check_mode and command:
            _tell(nemoclaw, wish, *command)
        if not check_mode and (seen.changed or not told):
            openshell_route.have(cli, wanted, check_mode=False)
    except Failure as failure:
        # First NemoClaw, whose own command routes the gateway too, and with another timeout.
        said = "" if told else _tell_again(nemoclaw, wish, recorded)
        raise Failure(failure.code, failure.message + said + kept.restore(), **failure.details) from failure
    before = {"provider": recorded.provider, "model": recorded.model, **({"api": recorded.api} if wish.api else {})}
    after = {"provider": wish.provider, "model": wish.model, **({"api": wish.api} if wish.api else {})}
    return {
        "changed": seen.changed or not told,
        "recorded": after,
        "previous": before,
        "diff": {"before": {}, "after": {}} if told else {"before": before, "after": after},
    }


def is_told(recorded: Recorded, wish: Wish) -> bool:
    """Tell whether NemoClaw has recorded what is wanted."""
    same = (recorded.provider, recorded.model) == (wish.provider, wish.model)
    return same and not changes_api(recorded, {"api": wish.api})


def _command(nemoclaw: NemoClaw, wish: Wish, recorded: Recorded) -> tuple[list[str], dict[str, str]]:
    """Return what NemoClaw is called with, by what its release can: words, and variables beside them."""
    # The gateway's own check asks from the host, where the sandbox's name for it means nothing (decision 0011).
    words = ["--provider", wish.provider, "--model", wish.model, "--sandbox", wish.sandbox, "--no-verify"]
    if wish.provider in _KEYS:
        new_api = changes_api(recorded, {"api": wish.api})
        if recorded.provider == wish.provider and not new_api:
            return words, {}
        if can_change_api(nemoclaw):
            return [*words, *_endpoint_words(nemoclaw, wish)], {_KEYS[wish.provider]: wish.credential or NO_KEY}
        if new_api:
            raise too_old(
                nemoclaw,
                API_SINCE,
                f"To change the API of the sandbox {wish.sandbox} from {recorded.api} to {wish.api}",
                "Or make the sandbox anew by nemoclaw_onboard with recreate: true. Nothing was changed.",
            )
        return words, {}
    if wish.provider not in (OLLAMA, VLLM) or not checks_local_servers(nemoclaw):
        return words, {}
    if wish.provider == OLLAMA and not has_own_proxy(nemoclaw):
        raise Failure(
            "nemoclaw_provider_refused",
            f"NemoClaw {dotted(nemoclaw.release())} would start an auth proxy of its own for {OLLAMA}, beside the one that is there. "
            f"Nothing was changed. Take the provider compatible-endpoint, by which NemoClaw onboarded {wish.sandbox}.",
        )
    port = urlsplit(wish.base_url or "").port
    return words, {"NEMOCLAW_VLLM_PORT": str(port)} if port and wish.provider == VLLM else {}


def _endpoint_words(nemoclaw: NemoClaw, wish: Wish) -> list[str]:
    if not wish.base_url or not wish.api:
        raise Failure(
            "nemoclaw_route_incomplete",
            f"NemoClaw {dotted(nemoclaw.release())} takes {wish.provider} for {wish.sandbox} only with the server's address and API. Give "
            "base_url, api and credential. Nothing was changed.",
        )
    return ["--endpoint-url", wish.base_url, "--credential-env", _KEYS[wish.provider], "--inference-api", wish.api]


def _tell_again(nemoclaw: NemoClaw, wish: Wish, recorded: Recorded) -> str:
    """Tell NemoClaw what it had recorded, where a command that failed has changed that; say so."""
    if recorded.provider is None or recorded.model is None or _find(nemoclaw, wish) == recorded:
        return ""
    before = f"{recorded.model} by {recorded.provider}"
    previous = replace(
        wish, provider=recorded.provider, model=recorded.model, api=recorded.api, base_url=recorded.url, credential=""
    )
    try:
        _tell(nemoclaw, previous, *_command(nemoclaw, previous, _find(nemoclaw, wish)))
    except Failure as failure:
        # What could not be written now could not be written before: the agent's settings are what they were.
        if failure.code != "nemoclaw_config_unwritten":
            return f" NemoClaw could not be told of {before} again: {failure.message}"
    return f" NemoClaw was told of {before} again."


def _find(nemoclaw: NemoClaw, wish: Wish) -> Recorded:
    recorded = find_recorded(nemoclaw.account.home, wish.sandbox)
    if recorded is None:
        raise Failure(
            "nemoclaw_sandbox_missing",
            f"NemoClaw has no sandbox {wish.sandbox}, so there is nothing to route elsewhere. nemoclaw list has their names; the "
            "module nemoclaw_onboard makes one.",
        )
    return recorded


def _tell(nemoclaw: NemoClaw, wish: Wish, words: list[str], own: dict[str, str]) -> None:
    unwritten: list[str] = []

    def hear(line: str) -> None:
        if _UNWRITTEN.search(line):
            unwritten.append(line)

    ended = nemoclaw.run(["inference", "set", *words], own, _SILENCE_S, hear)
    logs = [quote(line, wish.credential, 300) for line in ended.lines]
    if ended.code == 0 and unwritten:
        raise Failure(
            "nemoclaw_config_unwritten",
            f"Ran nemoclaw inference set for {wish.sandbox}, and it could not write the agent's settings in the sandbox: "
            f"{quote(unwritten[-1], wish.credential, 300)}. Look whether the sandbox is up (nemoclaw {wish.sandbox} status), and run this "
            f"again; nemoclaw {wish.sandbox} rebuild writes them too.",
            exit_code=0,
            last_logs=logs,
        )
    if ended.code == 0:
        return
    how = "did not end and was stopped" if ended.code is None else f"ended with exit status {ended.code}"
    said = " ".join(ended.lines)
    code = next(name for pattern, name in FAILURE_CODES.items() if re.search(pattern, said))
    remedy = _REMEDIES[code].format(sandbox=wish.sandbox, provider=wish.provider)
    raise Failure(
        code,
        f"Ran nemoclaw inference set for {wish.sandbox}, and it {how}: {last_words(ended, wish.credential)}. {remedy}.",
        exit_code=ended.code,
        last_logs=logs,
    )
