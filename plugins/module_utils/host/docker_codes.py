# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What an engine that cannot be used is called; apart from the look at it, whose HTTP client the controller would compile for that."""

from __future__ import annotations

# Why an engine cannot be used, as docker_engine.find_engine() has it in C(code) -> failure code.
FAILURE_CODES = {
    "absent": "docker_absent",
    "daemon_stopped": "docker_stopped",
    "permission_denied": "docker_permission_denied",
    "timeout": "docker_timeout",
    "unsupported_endpoint": "docker_endpoint_unsupported",
    "unexpected_answer": "docker_unexpected_answer",
}
