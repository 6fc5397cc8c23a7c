# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder's verdict on a streamed tool call against what the client libraries of OpenAI and Anthropic make of the same bytes.

Nobody here wrote those libraries: a stream that they can use has to pass, and one that no client can use must not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import client_libraries
import misbehaviours
import pytest
import streamed_calls
from broken_server import running
from conftest import CHAT, MESSAGES, RESPONSES, prove

API = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
CASES = [(api, name) for api, streams in streamed_calls.STREAMS.items() for name in streams]

# What one way of reading can use and the other cannot: an agent with a merge of its own, or one with the library's.
DIVIDED = {
    ("chat", "index_missing"),
}


def instance(api: str, name: str) -> str:
    return f"streamed_{api}_{name}"


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    """Serve each stream of the table where tools are asked for with a stream; everything else is good."""
    for api, name in CASES:
        action = misbehaviours.streams_call(streamed_calls.STREAMS[api][name])
        misbehaviours.BEHAVIOURS[instance(api, name)] = misbehaviours.Behaviour(name, {api: action})
    with running() as root_url:
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
    base_url = f"{root}/{instance(api, name)}"
    outcome = prove(base_url if api == "messages" else f"{base_url}/v1", API[api])
    passed = outcome.code is None and outcome.result["api"] == API[api]
    usable = {way: not fault for way, fault in faults.items()}
    if (api, name) in DIVIDED:
        assert len(set(usable.values())) == 2, "the two ways of reading agree by now"
    elif usable["merged"]:
        assert passed, f"clients can use it, the ladder says: {outcome.message or outcome.result['fallback_reason']}"
    else:
        assert not passed, f"no client can use it: {faults}"
