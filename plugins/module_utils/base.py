# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What the modules share where they touch Ansible: how one is made and fails, and the options that several have."""

from __future__ import annotations

import re
import signal
from types import FrameType
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .failure import PLACEHOLDERS, Ended, Failure, mask

# Where an archive is. The query may be the signature of a presigned URL, so Ansible may not write the
# option to the host's log, which it does before the module can say anything; create_module() gives the rest of it free.
LINK_OPTION: dict[str, Any] = {"type": "str", "no_log": True}
# The same holds for the base URL of a server, of which people paste the query with the key in it.
_LINKS = ("url", "jetpack_url", "base_url", "base_url_sandbox", "hf_endpoint")
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


def create_module(argument_spec: dict[str, dict[str, Any]], **kwargs: Any) -> AnsibleModule:
    """Return a module that supports check mode, does not take a placeholder for a secret, and cleans up when it is ended."""
    _end_in_order()
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **kwargs)
    # A key from a file ends with a line end, and is sent and quoted without it.
    module.no_log_values |= {value.strip() for value in module.no_log_values if value.strip()}
    # A user who follows the page gives "dummy" to an open server. Masked everywhere, it would spoil URLs and names.
    module.no_log_values -= set(PLACEHOLDERS)
    for name in _LINKS:
        url = module.params.get(name)
        if url and url in module.no_log_values:
            # Masked as a whole, it would be missing in every message.
            module.no_log_values.discard(url)
            module.no_log_values.discard(url.strip())
            module.no_log_values |= {f"?{query}" for query in url.split("?", 1)[1:] if query}
    # Ansible would add owner, mode and size of the file that a result calls `path`, over our own results of these names.
    module.add_path_info = lambda result: result
    return module


def _end_in_order() -> None:
    """Have a host that goes down, or a terminal that closes, end the module as Ctrl-C does: what it began is cleaned up.

    A download container shows the user's token for as long as it is there. Who ignores a signal, such as nohup, goes on ignoring it.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    # A second one would break the cleaning up off.
    signal.signal(number, signal.SIG_IGN)
    raise Ended(128 + number)


def fail(module: AnsibleModule, failure: Failure, **result: Any) -> None:
    """End the module with the failure: its sentence as C(msg), its code and details under C(failure)."""
    key = (module.params.get("api_key") or "").strip()
    if failure.code in ("url_credentials", "url_invalid"):
        # A password or a query may hold a secret, and Ansible shows the arguments of a task that failed.
        urls = (module.params.get(option) or "" for option in ("base_url", "base_url_sandbox", "url", "jetpack_url"))
        module.no_log_values |= {url for url in urls if re.search("[@?#]", url)}
    content = failure.as_result()
    content = {name: mask(value, key) if isinstance(value, str) else value for name, value in content.items()}
    module.fail_json(msg=content["message"], failure=content, **result)
