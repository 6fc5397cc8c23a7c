# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The end proof: what the agent will do, done from where it will do it (upstream-facts P7; NemoClaw #3625).

The gateway gives the command to C(/bin/bash -lc) in the sandbox, as the agent's user and with the agent's environment: its
web proxy, which is the sandbox's supervisor, and its certificates (openshell-sandbox, ssh.rs and child_env.rs). An argument
may have no line break (openshell-server, validation.rs), so the request's body travels on standard input.

The same probes as for the server itself, with the same questions and the same verdicts, over another path. The agent-shaped
request is left to the proof of the server: what lies between does not look at its length.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..clock import Deadline
from ..endpoint.apis import API_VERSION, AnthropicMessages
from ..endpoint.conversation import Conversation
from ..endpoint.dialect import Dialect
from ..endpoint.report import Report
from ..endpoint.validate import DIALECTS, Demands, Ladder
from ..failure import Failure, quote
from ..transport import trouble
from ..transport.url import BaseUrl, parse_base_url
from . import text
from .cli import ROUTE, OpenShell
from .look import READY, find_standing_route, list_sandboxes

# What a login shell says before the command runs is not the answer, nor is what stands after it.
_BEGIN, _END = "nemoclaw-answer-begins", "nemoclaw-answer-ends"
_ANSWER = re.compile(rf"{_BEGIN}\n(.*)\n{_END} (\d{{3}})", re.DOTALL)
_SCRIPT = f'echo {_BEGIN}; exec curl {{headers}}"$@"'
# Exit statuses: of a shell whose command is not there or may not be run, and of the gateway's own limit (sandbox.rs).
_NO_COMMAND = (126, 127)
_LIMIT_REACHED = (28, 124)
# curl's, where TLS cannot be agreed on.
_NO_TLS = 35
# Seconds for the gateway to reach the sandbox and for the command line to end, beyond the request's own.
_OVERHEAD_S = 15.0

# What the supervisor answers by itself, and what that means (openshell-sandbox, proxy.rs: the same words in all releases).
_OWN_WORDS = {
    "inference is not configured": "sandbox_route_refused",
    "no inference route configured": "sandbox_route_refused",
    "no compatible inference route": "sandbox_route_refused",
    "connection not allowed by policy": "sandbox_route_refused",
    "not permitted by policy": "sandbox_route_refused",
    "policy_denied": "sandbox_route_refused",
    "credential_endpoint_mismatch": "sandbox_route_refused",
    "inference service unavailable": "sandbox_upstream_down",
    "inference service error": "sandbox_upstream_down",
}


class SandboxReply:
    """What curl brought back, whole."""

    headers: Any

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self.headers = {}
        self._content = content

    def __enter__(self) -> SandboxReply:
        return self

    def __exit__(self, *_error: Any) -> None:
        return

    def body(self) -> bytes:
        """Return the body."""
        return self._content

    def chunks(self) -> Iterator[bytes]:
        """Yield the body."""
        yield self._content


class SandboxClient:
    """Talks to a server from inside one sandbox; a Way for Conversation.

    Args:
        cli: The command line of the sandbox's gateway.
        sandbox: Its name.
        base: What the agent there calls: C(https://inference.local), or with OpenShell 0.1 the server itself.
        deadline: No exchange lasts beyond it.
        headers: More headers; a variable of the sandbox in one is filled in there, as the agent sends the placeholder of its key.

    """

    # The agent has none: the supervisor puts the provider's in.
    key = ""

    def __init__(
        self, cli: OpenShell, sandbox: str, base: BaseUrl, deadline: Deadline, headers: Sequence[str] = ()
    ) -> None:
        self.base = base
        self._script = _SCRIPT.format(headers="".join(f'--header "{header}" ' for header in headers))
        self.deadline = deadline
        self._cli = cli
        self._sandbox = sandbox

    def with_headers(self, _headers: dict[str, str]) -> SandboxClient:
        """Return the client itself: which header carries the key is the supervisor's choice."""
        return self

    def open(self, method: str, url: str, body: Any = None, limit: float | None = None) -> SandboxReply:
        """Send one request and return the reply.

        Raises:
            Failure: C(sandbox_command_missing), C(sandbox_route_refused), C(sandbox_key_refused), C(sandbox_upstream_down),
                C(sandbox_inference_off), C(timeout), or one of the CLI.

        """
        seconds = max(1, math.ceil(min(limit or self.deadline.remaining, self.deadline.remaining)))
        words = ["sandbox", "exec", "--name", self._sandbox, "--no-tty", "--timeout", str(seconds + 5), "--"]
        words += ["sh", "-c", self._script, "sh", *_curl_words(method, url, seconds)]
        # The gateway sends both streams in any order, so a word of the login shell can stand inside the answer where they are one.
        answer = self._cli.attempt(
            *words, limit_s=seconds + _OVERHEAD_S, stdin=json.dumps(body or {}), errors_apart=True
        )
        code, said = answer.code or 0, f"{answer.output}\n{answer.errors}"
        found = _ANSWER.search(answer.output)
        if code in _NO_COMMAND and (found is None or found[2] == "000"):
            raise Failure(
                "sandbox_command_missing",
                f"The sandbox {self._sandbox} was to ask {self.base.root} itself, and its image has no curl that runs "
                f"({self._said(said)}). Use an image with curl, or leave this proof out (sandbox_proof: false).",
            )
        if code in _LIMIT_REACHED:
            raise Failure(
                "timeout",
                f"The sandbox {self._sandbox} asked {url}, and the answer was not complete within {seconds} s. If the model is "
                "large or still loading, raise nemoclaw_local_inference_timeout; if it is not, look at the server's log and load.",
            )
        if found is None:
            raise self._cli.trouble(("sandbox", "exec"), said, answer.code)
        status = int(found[2])
        if code == _NO_TLS:
            raise Failure(
                "sandbox_inference_off",
                f"The sandbox {self._sandbox} asked {self.base.root}, and its supervisor does not take the connection (curl ended with "
                "35). It was started while the gateway's route had a provider that was gone, and has inference switched off for "
                "as long as it runs. With the route in place stop and start it (openshell_sandbox with state: restarted). That takes "
                f"OpenShell 0.0.106 or later; this is {self._cli.release}. With an older one it has to be deleted and made anew.",
            )
        if not status:
            raise self._refused(f"curl ended with {code} ({self._said(answer.errors)})")
        content = found[1].encode()
        self._check(status, url, content)
        return SandboxReply(status, content)

    def _check(self, status: int, url: str, content: bytes) -> None:
        """Raise what a refusal means here; other statuses mean what they mean from a host."""
        if 200 <= status < 300:
            return
        said = trouble.error_text(content, "")
        details = {"status": status, "server_message": said}
        code = next((code for words, code in _OWN_WORDS.items() if words in said), "")
        answered = f"The sandbox {self._sandbox} asked {url}, and the answer is HTTP {status}: {said.rstrip('.') or 'nothing'}."
        if code == "sandbox_route_refused":
            raise self._refused(f"HTTP {status}: {said}", **details)
        if status in (401, 403):
            raise Failure(
                "sandbox_key_refused",
                f"{answered} The server refuses the key of the gateway's provider. Give the right one and run this again, "
                "which brings it to the gateway (after a rotation of the proxy's token: the playbook site).",
                **details,
            )
        if code == "sandbox_upstream_down" or status == 502:
            raise Failure(
                "sandbox_upstream_down",
                f"{answered} The route is there, and its server does not answer the sandbox. Start the server and the proxy "
                "before it, look at the provider's address, and at the firewall between the sandboxes' network and this host.",
                **details,
            )

    def _refused(self, what: str, **details: Any) -> Failure:
        return Failure(
            "sandbox_route_refused",
            f"The sandbox {self._sandbox} asked {self.base.root}, and its supervisor lets nothing through: {what}. Look at "
            f"{self._where()} and "
            f"at the sandbox's log (openshell logs {self._sandbox}).",
            **details,
        )

    def _where(self) -> str:
        if self._cli.way == ROUTE:
            return "the route (openshell inference get)"
        return f"what is attached (openshell sandbox provider list {self._sandbox}), at its profile's endpoint and binaries"

    @staticmethod
    def _said(output: str) -> str:
        return quote(text.plain(output).replace(_BEGIN, ""), "", 200) or "it says nothing"


def _curl_words(method: str, url: str, seconds: int) -> list[str]:
    """Return curl's arguments: no file of settings, no header that waits for a go-ahead, nothing printed but the answer."""
    words = ["--disable", "--silent", "--show-error", "--max-time", str(seconds), "--request", method]
    for header in ("Content-Type: application/json", "Accept: application/json", "Expect:"):
        words += ["--header", header]
    return [*words, "--data-binary", "@-", "--write-out", f"\\n{_END} %{{http_code}}\\n", url]


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
