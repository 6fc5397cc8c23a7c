# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey for AWX: that it is current, asks for no secret, and changes nothing where nobody answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan import settings

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "tools"))

import render_survey

SPEC = json.loads((REPO / render_survey.TARGET).read_text(encoding="utf-8"))["spec"]


def test_it_is_what_the_roles_have() -> None:
    assert render_survey.main(["--check"]) == 0


def test_a_stale_one_is_noticed_and_written_anew(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "roles").symlink_to(REPO / "roles")
    assert render_survey.main(["--check"], tmp_path) == 1
    assert render_survey.main([], tmp_path) == 0
    assert render_survey.main(["--check"], tmp_path) == 0


def test_it_asks_for_every_setting_of_the_wizard_but_secrets() -> None:
    asked = [one["variable"] for one in SPEC]
    assert sorted(asked) == sorted(name for name, one in settings.WIZARD.items() if not one.secret)


def test_nobody_has_to_answer_and_nothing_is_handed_on_by_itself() -> None:
    """AWX makes an extra variable of each default, an empty one too, and it would win over what each host has of its own."""
    assert not any(one["required"] or "default" in one for one in SPEC)


def test_each_answer_that_it_offers_is_one_that_the_roles_take() -> None:
    offered = [(one["variable"], choice) for one in SPEC for choice in one.get("choices", [])]
    offered += [(one["variable"], one["min"]) for one in SPEC if one["type"] == "integer" and one["min"]]
    for name, value in offered:
        settings.clean(settings.WIZARD[name], value)
    assert len(offered) > 15


def test_the_page_names_every_secret_that_a_credential_has_to_set() -> None:
    page = (REPO / "docs" / "history.md").read_text(encoding="utf-8")
    assert [one.name for one in settings.WIZARD.values() if one.secret and f"`{one.environment[0]}`" not in page] == []
