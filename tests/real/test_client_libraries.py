# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder's verdict on a streamed tool call against what the client libraries of OpenAI and Anthropic make of the same bytes.

Nobody here wrote those libraries: a stream that they can use has to pass, and one that no client can use must not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import broken_server
import client_libraries
import pytest
import streamed_calls
from conftest import CHAT, MESSAGES, RESPONSES, prove
from misbehaviours import Action, Behaviour, good

API = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
CASES = [(api, name) for api, streams in streamed_calls.STREAMS.items() for name in streams]

# What one way of reading can use and the other cannot: an agent with a merge of its own, or one with the library's. The ladder may do
# either; what agents cope with it had better let pass.
DIVIDED = {
    ("chat", "index_missing"): True,
    ("chat", "index_null"): True,
    ("chat", "index_from_1"): True,
    ("chat", "id_null_later"): True,
    ("chat", "type_missing"): False,
    ("chat", "type_null"): False,
    ("chat", "type_empty"): False,
    ("chat", "name_again"): True,
    ("chat", "name_split"): False,
    ("chat", "function_null_later"): True,
    ("chat", "delta_null_last"): True,
    ("chat", "choices_null_last"): True,
    ("messages", "index_from_1"): False,
    ("messages", "no_message_start"): True,
    ("messages", "no_usage"): True,
    ("responses", "no_added"): False,
    ("responses", "no_created"): True,
    ("responses", "no_item_done"): True,
    ("responses", "completed_alone"): False,
    ("responses", "completed_empty"): False,
    ("responses", "index_moves"): False,
}


def instance(api: str, name: str) -> str:
    return f"streamed_{api}_{name}"


def streaming(events: list[bytes]) -> Action:
    """Send these events where a call is asked for with a stream; everything else is good."""
    return lambda exchange: exchange.stream(events) if exchange.wants_call and exchange.streams else good(exchange)


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    behaviours = {
        instance(api, name): Behaviour(name, {api: streaming(streamed_calls.STREAMS[api][name])}) for api, name in CASES
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broken_server, "BEHAVIOURS", {**broken_server.BEHAVIOURS, **behaviours})
        with broken_server.running() as root_url:
            yield root_url


@pytest.fixture(scope="module")
def said(root: str) -> dict[tuple[str, str], client_libraries.Verdict]:
    """Return what the libraries say of each stream, all asked at once."""
    if "CLIENT_LIBRARIES_HOME" not in os.environ:
        pytest.skip("CLIENT_LIBRARIES_HOME names no environment made by client_libraries.py --install")
    questions = [(api, f"{root}/{instance(api, name)}") for api, name in CASES]
    return dict(zip(CASES, client_libraries.ask_all(questions)))


@pytest.mark.parametrize(("api", "name"), CASES)
def test_the_ladder_says_what_a_client_would(
    root: str, said: dict[tuple[str, str], client_libraries.Verdict], api: str, name: str
) -> None:
    faults = said[api, name]
    usable = [not fault for fault in faults.values()]
    expected = DIVIDED.get((api, name), all(usable))
    assert ((api, name) in DIVIDED) == (len(set(usable)) == 2), f"clients have come to agree or to differ: {faults}"
    base_url = f"{root}/{instance(api, name)}"
    outcome = prove(base_url if api == "messages" else f"{base_url}/v1", API[api])
    refused = outcome.message or outcome.result["fallback_reason"] or ""
    assert (not refused) == expected, f"clients: {faults}, ladder: {refused or 'passed'}"
    assert "larger one" not in refused or name in ("nothing_instead", "function_call"), "another model would not help"
