# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""How much the model can read, against what an agent makes it read.

A server that cuts a long prompt without a word (Ollama's log: "truncating input prompt") lets a model answer that never saw its
tools: then neither a right call nor a missing one says anything about the model.
"""

from __future__ import annotations

import re
from typing import Any

from ..failure import Failure
from . import models
from .answer import Answer
from .apis.dialect import Question
from .report import Report

# upstream-facts P2: OpenClaw's floor; below it the agent's own prompt leaves no room for work.
CONTEXT_FLOOR = 16384

# How servers say that a prompt is longer than their context: vLLM, llama.cpp, Ollama and routers.
_REFUSED = re.compile(
    r"context (?:length|size|window)|maximum context|exceeds? the (?:available )?context|prompt is too long", re.I
)

# English prose and JSON have 3.5 to 5 characters a token in the vocabularies of current models. A window that does not hold
# the prompt at 5 is too small for certain; a server that counted a token for 8 has not read all of it.
_MOST_CHARACTERS_PER_TOKEN = 5
_CUT_CHARACTERS_PER_TOKEN = 8

# Some servers count the part of a prompt alone that was not in their cache. A prompt that was cut keeps more than this.
_LEAST_CUT_TOKENS = 512

# What to set, by the owner that a server's list of models names; else all of them.
_SETTINGS = {
    "library": "ollama_context_length (OLLAMA_CONTEXT_LENGTH of Ollama; on Windows a variable of its user)",
    "llamacpp": "llama.cpp's --ctx-size",
    "vllm": "vLLM's --max-model-len",
}
_ALL_SETTINGS = "vLLM --max-model-len, llama.cpp --ctx-size, Ollama OLLAMA_CONTEXT_LENGTH (ollama_context_length)"


def is_refusal(said: str) -> bool:
    """Tell whether a server refused a request because it is too long."""
    return bool(_REFUSED.search(said))


class Context:
    """What is known of the context of one model; the report names the model in messages."""

    def __init__(self, report: Report) -> None:
        self.window: int | None = None
        self._report = report
        self._setting = _ALL_SETTINGS

    def learn(self, entry: dict[str, Any], elsewhere: int | None) -> None:
        """Take the window from the model's entry in the list, or from where else the server tells it."""
        self.window = models.context_window(entry) or elsewhere
        self._setting = _SETTINGS.get(str(entry.get("owned_by")), _ALL_SETTINGS)

    def too_small_for(self, question: Question) -> Failure | None:
        """Return the failure for a prompt that certainly does not fit into the window."""
        least = question.characters // _MOST_CHARACTERS_PER_TOKEN
        if self.window is None or self.window >= least:
            return None
        return self.failure(f"its context holds {self.window} tokens, and an agent's first request has {least} or more")

    def cut(self, question: Question, answer: Answer) -> Failure | None:
        """Return the failure for a prompt of which the server counted far fewer tokens than it has."""
        read, most = answer.prompt_tokens, question.characters // _CUT_CHARACTERS_PER_TOKEN
        if read is None or not _LEAST_CUT_TOKENS <= read < most:
            return None
        return self.failure(
            f"the server read {read} tokens of a request that has {most} or more, so it cut the request"
        )

    def below_floor(self) -> str | None:
        """Return the warning for a window that works, but is small for an agent."""
        if self.window is None or self.window >= CONTEXT_FLOOR:
            return None
        return f"The context holds {self.window} tokens; agents want {CONTEXT_FLOOR} or more. Raise {self._setting}."

    def failure(self, what: str) -> Failure:
        """Return the failure for a context that is too small."""
        return Failure(
            "context_too_small",
            f"Model {self._report.model} at {self._report.base_url} has too little context for an agent: {what}. Raise "
            f"{self._setting}, to {CONTEXT_FLOOR} or more where memory allows, or choose another model.",
            reason=what,
        )
