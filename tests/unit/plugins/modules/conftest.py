# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module as Ansible runs it, arguments in and JSON out, in this process."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any, Callable

import pytest
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args

RunModule = Callable[[ModuleType, "dict[str, Any]"], "tuple[int, dict[str, Any]]"]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Return a function C(run_module(module, args)) that calls the module's main() and returns (exit code, result).

    Check mode is the argument C(_ansible_check_mode), diff mode C(_ansible_diff). A module that ends without
    exit_json or fail_json, or prints anything else, fails the test.
    """

    # A test of the controller's side, in the same process, has warnings printed and not returned.
    monkeypatch.setattr(_internal, "is_controller", False)

    def run(module: ModuleType, args: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        # A module has a process of its own; here the warnings of another would be in its result.
        warnings._global_warnings.clear()
        warnings._global_deprecations.clear()
        with patch_module_args(args), pytest.raises(SystemExit) as ended:
            module.main()
        output = capsys.readouterr()
        assert output.err == ""
        code = ended.value.code
        assert isinstance(code, int)
        return code, json.loads(output.out)

    return run
