# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The end proof: what the agent will do, done from where it will do it (upstream-facts P7; NemoClaw #3625).

The same probes as for the server itself, with the same questions and the same verdicts, over another path. The agent-shaped
request is left to the proof of the server: what lies between does not look at its length.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Deadline
from ..endpoint.apis.anthropic import (
    API_VERSION,
    AnthropicMessages,
)
from ..endpoint.apis.dialect import Dialect
from ..endpoint.conversation import Conversation
from ..endpoint.ladder import Demands, Ladder
from ..endpoint.report import Report
from ..endpoint.validate import DIALECTS
from ..failure import Failure
from ..transport.url import BaseUrl, parse_base_url
from .cli import OpenShell
from .inside import SandboxClient
from .provider import find_standing_route
from .releases import ROUTE
from .sandbox import READY
from .sandboxes import list_sandboxes

COMPLETION = ("completion",)
PROBES = (*COMPLETION, "tool_call", "tool_call_streamed", "second_turn")


@dataclass(frozen=True)
class Desired:
    """What is to be proved: timeout and settle in seconds; no sandbox means the first that is ready.

    base_url and credential_name are what the agent in the sandbox calls and the variable of its key, where OpenShell 0.1 has no route.
    """

    model: str
    api: str
    sandbox: str | None = None
    timeout: float = 180
    settle: float = 0
    require_tools: bool = True
    probes: tuple[str, ...] = PROBES
    base_url: str = ""
    credential_name: str = "OPENAI_API_KEY"


def choose_sandbox(cli: OpenShell, wanted: str | None) -> str | None:
    """Return the sandbox to ask from: the one that is named, else the first that is ready, else None.

    Raises:
        Failure: C(sandbox_not_ready) for the one that is named.

    """
    found = list_sandboxes(cli)
    ready = [sandbox.name for sandbox in found if sandbox.phase == READY]
    if wanted is None:
        return ready[0] if ready else None
    if wanted not in ready:
        phase = next((sandbox.phase for sandbox in found if sandbox.name == wanted), "not there")
        raise Failure(
            "sandbox_not_ready",
            f"The route is to be proved from the sandbox {wanted}, and the gateway lists it as {phase}. Make it with "
            "openshell_sandbox, or look why it is not ready (openshell sandbox get, openshell logs).",
            last_state=phase,
        )
    return wanted


def _client(cli: OpenShell, sandbox: str, desired: Desired, dialect: Dialect, deadline: Deadline) -> SandboxClient:
    if cli.way == ROUTE:
        base = BaseUrl("https", "inference.local", None, "" if dialect.path.startswith("/v1/") else "/v1")
        return SandboxClient(cli, sandbox, base, deadline)
    base = parse_base_url(desired.base_url, desired.api, for_sandbox=True)
    headers = [f"Authorization: Bearer ${desired.credential_name}"]
    if isinstance(dialect, AnthropicMessages):
        headers = [f"x-api-key: ${desired.credential_name}", f"anthropic-version: {API_VERSION}"]
    return SandboxClient(cli, sandbox, base, deadline, headers)


def prove(cli: OpenShell, sandbox: str, desired: Desired, report: Report) -> None:
    """Ask the model from inside the sandbox; the report shows how far it came.

    Raises:
        Failure: C(route_dangling), C(gateway_route_differs), C(gateway_route_missing), the codes of SandboxClient.open, and those of the
            probes, such as C(tool_calls_leaked).

    """
    route = find_standing_route(cli)
    if route is not None and route.model != desired.model:
        raise Failure(
            "gateway_route_differs",
            f"{desired.model} was to be proved from inside {sandbox}, and the gateway routes to {route.model} by {route.provider}. It "
            "answers "
            "whatever model is asked for, so an answer would prove nothing. Set the route (openshell_inference, or the playbook site).",
            sandbox=sandbox,
        )
    deadline = Deadline(desired.timeout + desired.settle)
    # A supervisor reads its route again every 5 s (upstream-facts O3): an answer before that may come from the old one.
    deadline.sleep(desired.settle)
    dialect = DIALECTS[desired.api]()
    client = _client(cli, sandbox, desired, dialect, deadline)
    conversation = Conversation(client, dialect)
    conversation.model = desired.model
    report.base_url = str(client.base)
    try:
        Ladder(conversation, Demands(require_tools=desired.require_tools), report, desired.probes).validate()
    except Failure as failure:
        failure.details.setdefault("sandbox", sandbox)
        raise
    finally:
        report.elapsed = deadline.elapsed
    if route is None and cli.way == ROUTE:
        raise Failure(
            "gateway_route_missing",
            f"The sandbox {sandbox} got its answer, and the gateway has no route: it came by the one that the sandbox read last, which is "
            "gone within 5 s. Set a route (openshell_inference, or the playbook site), and run this again.",
            sandbox=sandbox,
        )
