# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules for Ollama that cannot be meant: nothing of the host is asked or changed for them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.modules import (
    ollama_info,
    ollama_install,
    ollama_service,
)

RunModule = Any
ARCHIVE = {"mode": "user", "version": "0.9.3", "url": "/nowhere/ollama.tgz", "checksum": "sha256:" + "0" * 64}


@pytest.mark.parametrize(
    ("module", "args", "code"),
    [
        (ollama_info, {"host": "https://somewhere"}, "ollama_host_invalid"),
        (ollama_info, {"user": "nobody-of-that-name"}, "user_unknown"),
        (ollama_service, {"port": 0}, "port_invalid"),
        (ollama_service, {"user": "nobody-of-that-name"}, "user_unknown"),
        (ollama_service, {"port": 1, "environment": {"OLLAMA_HOST": "0.0.0.0"}}, "environment_invalid"),
        (ollama_install, {"port": 0}, "port_invalid"),
        (ollama_install, {**ARCHIVE, "user": "nobody-of-that-name"}, "user_unknown"),
    ],
)
def test_options_that_cannot_be_meant(
    run_module: RunModule, module: ModuleType, args: dict[str, Any], code: str
) -> None:
    status, result = run_module(module, {**args, "_ansible_check_mode": True})
    assert (status, result["failed"], result["failure"]["code"]) == (1, True, code)
    assert result["failure"]["message"] == result["msg"]
    assert result["msg"].endswith(".")
