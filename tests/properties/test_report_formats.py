# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host documents against their JSON Schema, and the page against the rules of HTML 5.

Run with the unit tests on the newest Python, which alone has jsonschema and html5lib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import html5lib
import jsonschema
import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import document
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import report_page
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils.report import fleet_of

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "unit" / "plugins" / "plugin_utils"))

import report_fleet

SCHEMA = json.loads((TOP / "docs" / "host-document.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return report_fleet.documents(40)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_documents_are_as_their_schema_has_them(documents: list[dict[str, Any]]) -> None:
    failed = document.build("a", report_fleet.NOW, "1", {"failed": True, "msg": "sudo: a password is required"})
    huge = report_fleet.plan_of(1)
    huge["steps"] = [{"id": "x" * 9999, "reason": "y" * 9999, "interrupts": "nothing", "download_bytes": 1}] * 999
    for one in (*documents, failed, document.build("b", report_fleet.NOW, "1", huge)):
        VALIDATOR.validate(one)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema"], 2),
        (["state"], "fine"),
        (["exit_code"], 3),
        (["collected"], "yesterday"),
        (["checks", 0, "latency"], "slow"),
        (["drift", "steps"], None),
        (["facts", "gpus", 0, "memory_total_mib"], "much"),
        (["route", "label"], {"nested": True}),
    ],
)
def test_the_schema_refuses_what_is_no_document(documents: list[dict[str, Any]], path: list[Any], value: Any) -> None:
    changed = json.loads(json.dumps(documents[0]))
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(changed)


def test_a_browser_has_nothing_to_repair(documents: list[dict[str, Any]]) -> None:
    html5lib.HTMLParser(strict=True).parse(report_page.as_html(fleet_of(documents, report_fleet.runs(documents))))
