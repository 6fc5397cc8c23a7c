# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder on real weights of models that are too small for an agent: what it says, and what it costs to find out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import weak_models
from conftest import prove
from llama_server import Server, serving

# Both write 7 to 20 tokens a second with the one thread that they get here, by what else the machine does.
TIMEOUT = 300


@pytest.fixture(scope="module", params=weak_models.MODELS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if "WEAK_MODELS_HOME" not in os.environ:
        pytest.skip("WEAK_MODELS_HOME names no folder made by weak_models.py --install")
    with serving(model=weak_models.find(None, request.param), alias=request.param) as running:
        yield running


def test_a_model_that_cannot_call_tools_is_told_from_a_server_that_does_not_parse_them(server: Server) -> None:
    outcome = prove(server.base_url, model=server.model, api_key=None, timeout=TIMEOUT)
    assert (outcome.code, outcome.result["tool_calling"]) == ("tool_calls_absent", "absent"), outcome.message
    assert outcome.outcomes["streaming"] == "passed"
    assert outcome.outcomes["tool_call"] == "failed"
    assert "larger one" in outcome.message
    assert "--tool-call-parser" not in outcome.message
    # What it costs is counted, for seconds say more of the machine than of the ladder.
    assert server.generated() < 800
