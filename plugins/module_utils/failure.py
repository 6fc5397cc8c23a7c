# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""How a module of this collection says that something went wrong."""

from __future__ import annotations

from typing import Any


class Failure(Exception):
    """What stopped the work: a stable code for playbooks, a sentence for people.

    Args:
        code: Stable lower_case name, listed in docs/failure-codes.md; playbooks branch on it.
        message: What was tried, on what, what came back and what to do next, in one or two sentences.
        details: Further facts under stable names (for example C(status), C(served_models)); never a secret.

    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_result(self) -> dict[str, Any]:
        """Return the C(failure) dictionary of a module result: code, message and the details."""
        return {"code": self.code, "message": self.message, **self.details}


class Ended(SystemExit):
    """A signal ends this process; whoever holds something lets go of it on the way out."""
