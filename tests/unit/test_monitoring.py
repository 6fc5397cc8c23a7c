# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, their tests, the dashboard and the page of docs/monitoring name metrics that are there. What rules do is for promtool to tell."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status.metrics import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
NAMES = {f"nemoclaw_inference_{name}" for name in METRICS}


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["alerts.yml", "alerts.test.yml", "dashboard.json", "README.md"])
def test_every_metric_that_is_named_is_there(name: str) -> None:
    named = {*re.findall(r"nemoclaw_inference_\w+", text_of(name))}
    assert named
    assert named <= NAMES


def test_the_page_says_of_each_metric_what_prometheus_is_told() -> None:
    rows = dict(re.findall(r"^\| `nemoclaw_inference_(\w+)` \| (.+) \|$", text_of("README.md"), re.MULTILINE))
    assert rows == METRICS


def test_every_alert_is_tested_for_when_it_calls() -> None:
    rules: list[dict[str, Any]] = yaml.safe_load(text_of("alerts.yml"))["groups"][0]["rules"]
    tests = yaml.safe_load(text_of("alerts.test.yml"))["tests"]
    called = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")}
    assert {rule["alert"] for rule in rules} == called
    assert all(rule["labels"]["severity"] in ("critical", "warning") for rule in rules)
    assert all(set(rule["annotations"]) == {"summary", "description"} for rule in rules)


def test_the_dashboard_asks_the_data_source_that_its_user_chooses() -> None:
    dashboard = json.loads(text_of("dashboard.json"))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) > 5
    for panel in dashboard["panels"]:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in sources)
        assert all('host=~"$host"' in target["expr"] for target in panel["targets"])
    right = [panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in dashboard["panels"]]
    assert max(right) <= 24
