# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure of ollama_install tells who has never seen the module."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.archive import VARIABLES, name_variables

ROOT = Path(__file__).resolve().parents[5]


@pytest.mark.parametrize("code", sorted(VARIABLES))
def test_the_variables_are_the_roles(code: str) -> None:
    text = (ROOT / "roles/ollama/meta/argument_specs.yml").read_text(encoding="utf-8")
    specs = yaml.load(text, Loader=yaml.CSafeLoader)
    assert set(VARIABLES[code]) <= set(specs["argument_specs"]["main"]["options"])
    assert f"| `{code}` |" in (ROOT / "docs/failure-codes.md").read_text(encoding="utf-8")


def test_the_sentence_names_them() -> None:
    failure = name_variables(Failure("archive_not_found", "The server has no such file. Check the url.", status=404))
    assert failure.message.endswith("Check the url. Variables of the role: ollama_version, ollama_install_url.")
    assert failure.details == {"status": 404}
    other = Failure("daemon_not_ours", "It is a container's.")
    assert name_variables(other) is other
