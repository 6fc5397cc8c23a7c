# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Parameters that a server refuses: each falls away by itself, since agents can do without it.

OpenAI's reasoning models refuse C(max_tokens) and C(temperature), llama.cpp and TGI once refused C(tool_choice: required),
LiteLLM refuses for its backends, and older servers know no C(stream_options).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

# How often one question may be asked anew: each parameter can fall away once, tool_choice in two steps.
MOST_FORMS = 6


@dataclass(frozen=True)
class Form:
    """Which optional parameters a request has.

    C(tool_choice) is V(required) (where the question demands it), V(auto), or empty for none at all.
    C(budget_field) names the parameter with the token budget; C(other_budget_field) the one to use where it is refused.
    """

    budget_field: str
    other_budget_field: str = ""
    tool_choice: str = "required"
    temperature: bool = True
    stream_options: bool = True


def without_refused(form: Form, sent: dict[str, object], said: str, named: str = "") -> Form | None:
    """Return the form without the parameter that the server refuses, None when it names none that was sent.

    Args:
        form: The form of the request.
        sent: The request.
        said: What the server said.
        named: The parameter that its error names in a field of its own, more reliable than the sentence.

    """

    def refused(parameter: str) -> bool:
        if parameter not in sent:
            return False
        return named == parameter if named in sent else bool(re.search(rf"\b{parameter}\b", said))

    if refused("stream_options"):
        return replace(form, stream_options=False)
    if refused("temperature"):
        return replace(form, temperature=False)
    if refused("tool_choice"):
        return replace(form, tool_choice="auto" if form.tool_choice == "required" else "")
    if form.other_budget_field and (refused(form.budget_field) or form.other_budget_field in said):
        return replace(form, budget_field=form.other_budget_field, other_budget_field="")
    return None
