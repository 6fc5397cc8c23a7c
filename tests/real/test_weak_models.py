# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ladder on real weights of models that are too small for an agent: what it says, and what it costs to find out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import weak_models
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.endpoint import conversation, questions
from conftest import prove
from llama_server import Server, serving

# They write 5 to 60 tokens a second with the one thread that they get here, by what else the machine does.
TIMEOUT = 600
# A quarter of the ladder's own, which are for models that are worth the wait.
BUDGETS = tuple(budget // 4 for budget in questions.BUDGETS)


def installed() -> list[str]:
    """Return the models that are there: the smallest in the ordinary stages, all of them with `bin/test --engines`."""
    return [name for name in weak_models.MODELS if "WEAK_MODELS_HOME" in os.environ and weak_models.find(name).exists()]


@pytest.fixture(scope="module", params=installed())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(model=weak_models.find(request.param), alias=request.param) as running:
        yield running


def test_a_model_that_cannot_call_is_no_server_that_does_not_parse_calls(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "BUDGETS", BUDGETS)
    outcome = prove(server.base_url, model=server.model, api_key=None, timeout=TIMEOUT)
    assert (outcome.code, outcome.result["tool_calling"]) == ("tool_calls_absent", "absent"), outcome.message
    assert outcome.outcomes["streaming"] == "passed"
    assert [name for name, found in outcome.outcomes.items() if found == "failed"] == ["tool_call"]
    assert "larger one" in outcome.message
    assert "--tool-call-parser" not in outcome.message
    # What it costs at most: a greeting, and one answer for each probe until the first that fails, that one with a second budget. Tokens,
    # for seconds say more of the machine than of the ladder.
    assert server.generated() <= questions.WARM_UP_BUDGET + 3 * BUDGETS[0] + BUDGETS[1]
