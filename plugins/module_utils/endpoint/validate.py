# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The whole validation of one endpoint, from its URL to the choice of the API."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Machine, find_account
from ..host.sockets import require_trusted_listener
from ..transport.client import Client
from ..transport.credentials import PLACEHOLDERS, clean_key
from ..transport.trouble import FINAL_CODES
from ..transport.url import parse_base_url
from .apis.anthropic import AnthropicMessages
from .apis.chat import ChatCompletions
from .apis.dialect import Dialect
from .apis.responses import Responses
from .conversation import Conversation
from .ladder import Demands, Ladder
from .report import Report

DIALECTS: dict[str, type[Dialect]] = {
    dialect.name: dialect for dialect in (ChatCompletions, Responses, AnthropicMessages)
}

# Page, Timeout Configuration: seconds.
DEFAULT_TIMEOUT = 180


@dataclass(frozen=True)
class Endpoint:
    """Where the server is and how to get in; see the options of C(endpoint_validate)."""

    base_url: str
    api: str = ChatCompletions.name
    api_key: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    ca_path: str | None = None
    validate_certs: bool = True
    trusted_users: tuple[str, ...] = ()


def start_clock(endpoint: Endpoint) -> Deadline:
    """Return the deadline for everything that is asked of the endpoint.

    Raises:
        Failure: C(timeout_invalid).

    """
    if endpoint.timeout <= 0:
        raise Failure(
            "timeout_invalid",
            f"A time limit of {endpoint.timeout:g} s leaves no time for a single request. Set "
            "nemoclaw_local_inference_timeout to the seconds that a cold model may take; "
            f"{DEFAULT_TIMEOUT} is the default.",
        )
    return Deadline(endpoint.timeout)


def open_conversation(endpoint: Endpoint, api: str, deadline: Deadline) -> Conversation:
    """Return a conversation with the server over one API.

    Raises:
        Failure: C(api_unsupported), C(key_invalid), C(listener_untrusted) or a URL code; nothing was sent then.

    """
    if api not in DIALECTS:
        raise Failure("api_unsupported", f"There is no API {api!r}. Use one of: {', '.join(DIALECTS)}.")
    key = clean_key(endpoint.api_key)
    dialect = DIALECTS[api](key)
    base = parse_base_url(endpoint.base_url, api)
    # A certificate that was checked says more of the server than who holds its port.
    if key and key not in PLACEHOLDERS and not (base.scheme == "https" and endpoint.validate_certs):
        require_trusted_listener(Machine(), base, find_account(), endpoint.trusted_users)
    return Conversation(
        Client(base, dialect.headers(), key, deadline, endpoint.ca_path, endpoint.validate_certs), dialect
    )


def validate(endpoint: Endpoint, demands: Demands, report: Report) -> None:
    """Prove the endpoint, or say why it cannot be proved.

    C(openai-responses) is an opt-in that holds only if everything an agent needs works over it, streaming events
    included; else chat completions are taken and C(report.fallback_reason) says why (page, Selecting the API Path).

    Raises:
        Failure: With the code of what stopped it; C(report) shows how far it came.

    """
    report.api_requested = endpoint.api
    deadline = start_clock(endpoint)
    try:
        if endpoint.api == Responses.name and _try_responses(endpoint, demands, report):
            return
        conversation = open_conversation(endpoint, report.api, deadline)
        report.base_url = str(conversation.client.base)
        Ladder(conversation, demands, report).validate()
    finally:
        report.elapsed = deadline.elapsed


def _try_responses(endpoint: Endpoint, demands: Demands, report: Report) -> bool:
    """Validate over the Responses API within half of the time, so that the way back has the other half."""
    conversation = open_conversation(endpoint, Responses.name, Deadline(endpoint.timeout / 2))
    report.base_url = str(conversation.client.base)
    report.api = Responses.name
    try:
        Ladder(conversation, demands, report).validate()
    except Failure as failure:
        if failure.code in FINAL_CODES:
            raise
        report.api = ChatCompletions.name
        report.fallback_reason = (
            f"openai-responses was asked for, but its probe {failure.details['probe']} failed, so chat completions are used: "
            f"{failure.message}"
        )
        return False
    return True
