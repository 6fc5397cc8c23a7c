# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The options that several modules have, each with its doc fragment."""

from __future__ import annotations

from typing import Any

# The options of the doc fragment endpoint.
ENDPOINT_OPTIONS: dict[str, dict[str, Any]] = {
    "api_key": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "trusted_users": {"type": "list", "elements": "str", "default": []},
}

# The options of the doc fragment wait.
WAIT_OPTIONS: dict[str, dict[str, Any]] = {
    "wait": {"type": "int"},
    "jobs_path": {"type": "path"},
}

# The options of the doc fragment openshell.
OPENSHELL_OPTIONS: dict[str, dict[str, Any]] = {
    "gateway": {"type": "str"},
    "gateway_endpoint": {"type": "str"},
    "executable": {"type": "path"},
    "user": {"type": "str"},
}

# The options of the doc fragment managed_container.
CONTAINER_OPTIONS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["started", "stopped", "restored", "absent"], "default": "started"},
    "image": {"type": "str"},
    "port": {"type": "int", "default": 8000},
    "publish": {"type": "list", "elements": "str", "default": []},
    "gpus": {"type": "str", "default": "auto"},
    "share_gpus": {"type": "bool", "default": False},
    "instead_of": {"type": "str"},
    "keep_previous": {"type": "bool", "default": False},
    "environment": {"type": "dict", "default": {}},
    "allow_download": {"type": "bool", "default": True},
    "docker_host": {"type": "str"},
    "wait_timeout": {"type": "int", "default": 900},
    "stall_timeout": {"type": "int", "default": 300},
}
