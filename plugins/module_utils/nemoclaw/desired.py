# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What NemoClaw is told: a proved route in the words of its wizard, and the gateway whose route comes back where a run fails.

Whatever serves, NemoClaw is told of an endpoint: the URL, the key and the model that were proved. Its own choices for Ollama, vLLM
and NIM would set the server up once more: restart Ollama's service, start a proxy on the port that our auth proxy holds (and end where it
cannot), take the first model that a vLLM lists, without a key (NemoClaw src/lib/onboard.ts; decision 0015).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..failure import Failure
from ..host.machine import Account, Machine
from ..openshell.cli import OpenShell, find_openshell
from ..openshell.look import check_sandbox_name, find_route
from ..openshell.text import RouteSeen
from .records import ENDPOINTS, recorded_names

# NemoClaw's own name for a first sandbox.
DEFAULT_SANDBOX = "my-assistant"
ONBOARD = ("onboard", "--non-interactive")
# NemoClaw wants a key also where the server wants none (page, OpenAI-Compatible Server).
NO_KEY = "dummy"

TRUSTED_HOSTS = "NEMOCLAW_TRUSTED_PRIVATE_HOSTS"
# RFC 1918, 6598 and 4193: what that setting admits.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)

_FIELDS = ("provider_name", "provider_type", "base_url_host", "base_url_sandbox", "model", "api")
# NemoClaw src/lib/validation.ts, by upstream-facts N12.
_MODEL = re.compile(r"[A-Za-z0-9._:/-]+")


@dataclass(frozen=True)
class Desired:
    """The sandbox that is wanted, and where it is to be routed.

    Attributes:
        name: Of the sandbox.
        route: As decision 0002 has it.
        credential: The server's key, empty where it wants none.
        ready_timeout: Seconds that NemoClaw waits for the sandbox.
        stall_timeout: Seconds without a word, beside that, after which NemoClaw is stopped.
        accepted: Whether the user accepts the third-party software.
        shared: As of openshell_inference.
        recreate: Whether a sandbox may be made anew where its release of NemoClaw changes the API in no other way.

    """

    name: str
    route: Mapping[str, Any]
    credential: str = field(default="", repr=False)
    ready_timeout: int = 180
    stall_timeout: int = 300
    accepted: bool = False
    shared: str = "refuse"
    recreate: bool = False

    @property
    def endpoint(self) -> str:
        """What OpenShell calls the provider that NemoClaw makes of it."""
        return ENDPOINTS[self.route["provider_type"]][1]


def check(desired: Desired) -> None:
    """Stop where NemoClaw would, before anything is changed.

    Raises:
        Failure: C(sandbox_name_invalid), C(nemoclaw_route_incomplete), C(nemoclaw_model_invalid), C(timeout_invalid).

    """
    # NemoClaw takes 63 characters (commands.mdx, --name), and its sandboxes are OpenShell's.
    check_sandbox_name(desired.name)
    missing = [name for name in _FIELDS if not isinstance(desired.route.get(name), str) or not desired.route[name]]
    if missing or desired.route["provider_type"] not in ENDPOINTS:
        raise Failure(
            "nemoclaw_route_incomplete",
            f"The route for NemoClaw lacks {', '.join(missing) or 'a provider_type of openai or anthropic'}. Give what "
            "inference_route returns as route.",
        )
    if not _MODEL.fullmatch(desired.route["model"]):
        raise Failure(
            "nemoclaw_model_invalid",
            f"The model is {desired.route['model']!r}. NemoClaw takes letters, digits and . _ : / - only: give it another name in the "
            f"server.",
        )
    if desired.ready_timeout < 1 or desired.stall_timeout < 1:
        raise Failure(
            "timeout_invalid",
            f"NemoClaw is to wait {desired.ready_timeout} s for the sandbox {desired.name}, and may be silent for {desired.stall_timeout} "
            "s. Give at least one second for each, for example 180 and 300.",
        )


def environment(desired: Desired) -> dict[str, str]:
    """Return the variables of C(nemoclaw onboard --non-interactive), the key among them.

    C(NEMOCLAW_YES) is not one of them: no model has to be downloaded any more, and it would waive checks (upstream-facts N16).
    """
    route = desired.route
    provider, _name, key = ENDPOINTS[route["provider_type"]]
    # NemoClaw registers the URL as it is, so a loopback one would be the sandbox itself (NemoClaw #5744). It asks nothing of a
    # URL that only the sandbox resolves, but for Anthropic's API: that is asked from the host, and corrected by us afterwards.
    url = route["base_url_sandbox"] if provider == "custom" else route["base_url_host"]
    found = {
        "NEMOCLAW_NON_INTERACTIVE": "1",
        "NEMOCLAW_ACCEPT_THIRD_PARTY_SOFTWARE": "1",
        "NEMOCLAW_PROVIDER": provider,
        "NEMOCLAW_MODEL": route["model"],
        "NEMOCLAW_ENDPOINT_URL": url,
        "NEMOCLAW_SANDBOX_NAME": desired.name,
        "NEMOCLAW_LOCAL_INFERENCE_TIMEOUT": str(route.get("timeout") or 180),
        "NEMOCLAW_SANDBOX_READY_TIMEOUT": str(desired.ready_timeout),
        key: desired.credential or NO_KEY,
    }
    if route["provider_type"] == "openai":
        found["NEMOCLAW_PREFERRED_API"] = route["api"]
    if route.get("context_window"):
        found["NEMOCLAW_CONTEXT_WINDOW"] = str(route["context_window"])
    if desired.recreate:
        found["NEMOCLAW_RECREATE_SANDBOX"] = "1"
    return found


def trust(url: str, addresses: Sequence[str], named: str = "") -> dict[str, str]:
    """Return the setting by which NemoClaw takes a server at a private address, empty where it needs none (upstream-facts N40).

    The server was named by the user and is proved by now, so its own host is added to those that the user names; a name only where
    every address of it is private. Loopback and link-local ones, a cloud's metadata service among them, are never added.

    Args:
        url: What NemoClaw is told.
        addresses: What its host resolves to, empty where it does not.
        named: What the user has set.

    """
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    parsed = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    if parsed and all(any(address in network for network in _PRIVATE) for address in parsed):
        hosts.append(str(urlsplit(url).hostname))
    return {TRUSTED_HOSTS: ",".join(dict.fromkeys(hosts))} if hosts else {}


# What NemoClaw makes itself on a host that it has no sandbox on: OpenShell, the gateway's registration, the gateway
# (upstream-facts N36).
_STILL_TO_COME = ("openshell_missing", "openshell_gateway_unset", "openshell_gateway_down")


def find_gateway(machine: Machine, account: Account, gateway: str, secret: str = "") -> OpenShell | None:
    """Return the CLI on the gateway, None where there is no gateway yet; no sentence shows C(secret).

    Raises:
        Failure: C(nemoclaw_gateway_down), C(nemoclaw_registry_unreadable), or one of find_openshell, for a gateway that is there and
            cannot be used.

    """
    try:
        return find_openshell(machine, account, gateway=gateway, secret=secret)
    except Failure as failure:
        if failure.code not in _STILL_TO_COME:
            raise
        sandboxes = recorded_names(account.home)
        if not sandboxes:
            return None
        # Onboarding would make them anew, or route all of them elsewhere without anybody having been asked.
        raise Failure(
            "nemoclaw_gateway_down",
            f"NemoClaw has sandboxes on this host, {', '.join(sandboxes)}, and their gateway {gateway} cannot be asked: {failure.message} "
            f"Nothing was changed, and NemoClaw was not run. Have it brought back (nemoclaw {sandboxes[0]} recover), and run this again.",
            sandboxes=sandboxes,
        ) from failure


@dataclass(frozen=True)
class Kept:
    """The gateway's route as it was."""

    cli: OpenShell | None
    route: RouteSeen | None

    def restore(self) -> str:
        """Restore the gateway's route where a run that failed has changed it, and return the sentence that says so."""
        if self.cli is None or self.route is None:
            return ""
        before = self.route
        shown = f"{before.model} by {before.provider}"
        try:
            if _same(find_route(self.cli), before):
                return f" The gateway still routes to {shown}."
            words = ["--provider", before.provider, "--model", before.model, "--timeout", str(before.timeout)]
            self.cli.call("inference", "set", *words, "--no-verify")
        except Failure as failure:
            return f" The gateway could not be routed back to {shown}: {failure.message}"
        return f" The gateway routes to {shown} again."


def keep_route(cli: OpenShell | None) -> Kept:
    """Return what the gateway's route is now."""
    return Kept(cli, find_route(cli) if cli else None)


def _same(one: RouteSeen | None, other: RouteSeen) -> bool:
    return one is not None and (one.provider, one.model, one.timeout) == (other.provider, other.model, other.timeout)
