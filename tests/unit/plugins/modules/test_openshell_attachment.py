# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible takes and shows of the module's arguments. What it does is in tests/real/test_openshell_attachment.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.modules import openshell_attachment

RunModule = Callable[..., tuple[int, dict[str, Any]]]
ARGS = {
    "sandbox": "first",
    "provider": "lab",
    "base_url": "http://host.openshell.internal:1/v1",
    "credential": "canary-1",
}


@pytest.mark.parametrize("missing", ["base_url", "credential"])
def test_what_an_attachment_cannot_do_without(run_module: RunModule, missing: str) -> None:
    code, result = run_module(openshell_attachment, {name: value for name, value in ARGS.items() if name != missing})
    assert code == 1
    assert missing in result["msg"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_release_with_a_route_is_refused_before_anything_is_asked(
    run_module: RunModule, tmp_path: Path, state: str
) -> None:
    program = tmp_path / "openshell"
    body = 'case "$*" in *--version) echo openshell 0.0.111;; *--help) echo "  inference: x";; *) echo "$@" >>"$0.asked";; esac'
    program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    code, result = run_module(openshell_attachment, {**ARGS, "state": state, "executable": str(program)})
    assert (code, result["failure"]["code"]) == (1, "openshell_too_old")
    assert "0.0.111" in result["msg"]
    assert "canary" not in json.dumps(result)
    assert not Path(f"{program}.asked").exists()
