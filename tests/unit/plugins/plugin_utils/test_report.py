# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a fleet: order, history, page, JUnit, metrics, and the folder that it lies in."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import document
from ansible_collections.nemoclaw.local_inference.plugins.plugin_utils import report, report_files, report_page

sys.path.insert(0, str(Path(__file__).parent))

import report_fleet

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return report_fleet.documents(40)


@pytest.fixture(scope="module")
def fleet(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return report.fleet_of(documents, report_fleet.runs(documents))


class Page(HTMLParser):
    """What a browser makes of the page: its elements, whether each is closed, and its text."""

    VOID = ("meta", "br", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_worst_come_first_then_those_that_failed_last_then_names_in_their_order(fleet: dict[str, Any]) -> None:
    assert fleet["counts"] == {"down": 2, "unreachable": 1, "degraded": 5, "healthy": 32}
    assert fleet["exit_code"] == 2
    numbers = [
        int(one["host"].split("-")[1 if one["host"].startswith("linux") else 2].split(".")[0]) for one in fleet["hosts"]
    ]
    assert numbers[:8] == [3, 17, 26, 33, 5, 11, 22, 29]
    assert numbers[8:11] == [4, 8, 12]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["gpu-10", "gpu-2", "GPU-1"], ["GPU-1", "gpu-2", "gpu-10"]),
        (["b", "a1", "a"], ["a", "a1", "b"]),
        (["9", "a", "10"], ["a", "9", "10"]),
    ],
)
def test_names_are_sorted_as_people_count(names: list[str], expected: list[str]) -> None:
    made = [{"host": name, "state": "healthy", "exit_code": 0, "collected": report_fleet.NOW} for name in names]
    assert [one["host"] for one in report.fleet_of(made)["hosts"]] == expected


def test_the_page_is_whole_and_loads_nothing(fleet: dict[str, Any]) -> None:
    page = Page(report_page.as_html(fleet))
    assert page.open == []
    names = [tag for tag, _attributes in page.tags]
    assert not {"script", "link", "img", "iframe", "object", "form"} & {*names}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert names.count("h1") == 1
    ids = [attributes["id"] for _tag, attributes in page.tags if "id" in attributes]
    assert len(ids) == len({*ids}) == 40
    assert {attributes["href"] for tag, attributes in page.tags if tag == "a"} == {f"#{one}" for one in ids}
    assert report_page.as_html(fleet).count("url(") == 0


def test_the_page_says_what_a_person_needs(fleet: dict[str, Any]) -> None:
    text = " ".join(" ".join(Page(report_page.as_html(fleet)).texts).split())
    for said in (
        "40 hosts: 2 down, 1 unreachable, 5 degraded.",
        "Collected 2026-11-30 14:42 UTC",
        "nobody listens there. Start the server.",
        "into its text as <tool_call>",
        "2026-11-29 22:10 UTC",
        "NVIDIA GB10",
        "shares the memory of the host",
        "8 x 66 % of 140 GiB",
        "the model nvidia/nemotron-3-super-120b-a12b is not on this host (18.49 GiB)",
        "The route was last seen to work 2026-11-30 09:12 UTC",
        "24 runs",
    ):
        assert said in text


def test_a_failure_of_the_future_is_told_as_that_of_a_clock(fleet: dict[str, Any]) -> None:
    failed = next(one for one in fleet["hosts"] if one["last_failure"])
    assert "which is ahead" not in report_page.as_html(fleet)
    failed["last_failure"] = {**failed["last_failure"], "when": "2027-11-30T14:42:00Z"}
    assert "2027-11-30 14:42 UTC by its clock, which is ahead" in report_page.as_html(fleet)


def test_a_hostile_host_paints_nothing_into_any_output() -> None:
    """Its name, its model and its messages are text, wherever they stand."""
    found = report_fleet.plan_of(3)
    found["recorded"] = dict.fromkeys(found["recorded"], EVIL)
    found["choice"] = {"provider": EVIL, "model": EVIL}
    for check in found["asked"]:
        check.update(name=EVIL, detail=EVIL, code=EVIL, url="javascript:alert(3)")
    found["host"]["last_failure"] = dict.fromkeys(("when", "code", "message"), EVIL)
    found["steps"] = [{"id": EVIL, "reason": EVIL, "interrupts": EVIL, "download_bytes": 1}]
    found["host"]["gpus"]["devices"][0]["name"] = EVIL
    found["host"]["kernel"] = EVIL
    made = [
        document.build(f"{EVIL}]]>\x00\ufffe\nnemoclaw_inference_up 1", report_fleet.NOW, "1", found),
        document.unreachable("b", report_fleet.NOW, "1", EVIL),
    ]
    runs = [{"schema": 1, "when": report_fleet.NOW, "exit_code": 2, "counts": {EVIL: 3}, "hosts": {"b": EVIL}}] * 2
    fleet = report.fleet_of(made, [{**one, "hosts": {"b": "down"}} for one in runs])
    page = Page(report_page.as_html(fleet))
    assert page.open == []
    assert not {"script", "img"} & {tag for tag, _attributes in page.tags}
    assert not any(name.startswith("on") for _tag, attributes in page.tags for name in attributes)
    assert EVIL in "".join(page.texts)
    root = ElementTree.fromstring(report.as_junit(fleet))
    assert EVIL in root.find("testsuite/testcase/failure").get("message")
    metrics = report.as_metrics(fleet)
    assert all(line.startswith(("#", "nemoclaw_inference_")) for line in metrics.splitlines())


def test_an_empty_folder_gives_an_empty_report(tmp_path: Path) -> None:
    fleet, problems = report_files.read_fleet(tmp_path)
    assert (fleet["hosts"], fleet["exit_code"], problems) == ([], 0, [])
    assert "No host document was found." in report_page.as_html(fleet)
    assert ElementTree.fromstring(report.as_junit(fleet)).get("tests") == "0"
    assert report.as_metrics(fleet) == ""
    assert report.lines_of(fleet) == ["no hosts"]


def test_junit_counts_what_it_holds(fleet: dict[str, Any]) -> None:
    root = ElementTree.fromstring(report.as_junit(fleet))
    assert len(root) == 40
    for name, path in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        assert int(root.get(name)) == len(root.findall(f"testsuite/{path}"))
        assert all(int(suite.get(name)) == len(suite.findall(path)) for suite in root)
    assert root.get("errors") == "1", "the host that did not answer"
    assert root.find("testsuite/testcase/skipped") is not None


# What Jenkins' schema of JUnit (junit-4.xsd) allows in each element: attributes, of which the required ones first, and children in order.
_JUNIT: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "disabled", "errors"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests"},
        {"failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name"},
        {"assertions", "time", "classname", "status"},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "failure": (set(), {"type", "message"}, []),
    "error": (set(), {"type", "message"}, []),
    "skipped": (set(), set(), []),
}


def test_junit_is_as_its_schema_has_it(fleet: dict[str, Any]) -> None:
    for element in ElementTree.fromstring(report.as_junit(fleet)).iter():
        required, optional, children = _JUNIT[element.tag]
        assert required <= {*element.keys()} <= required | optional, element.tag
        order = [children.index(child.tag) for child in element]
        assert order == sorted(order)


def test_metrics_of_a_fleet(fleet: dict[str, Any]) -> None:
    lines = report.as_metrics(fleet).splitlines()
    silent, stale = report_fleet.host_name(26), report_fleet.host_name(22)
    assert f'nemoclaw_inference_reachable{{host="{silent}"}} 0' in lines
    assert f'nemoclaw_inference_up{{host="{silent}"}} 0' in lines
    assert f'nemoclaw_inference_last_success_timestamp_seconds{{host="{silent}"}} 1796029920' in lines
    assert f'nemoclaw_inference_refusals{{host="{stale}"}} 1' in lines
    assert f'nemoclaw_inference_drift_steps{{host="{report_fleet.host_name(5)}"}} 2' in lines
    assert sum(line.startswith("nemoclaw_inference_up{") for line in lines) == 40


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gpu-1", "gpu-1.json"),
        ("../../etc/x", "%2E.%2F..%2Fetc%2Fx.json"),
        ("..", "%2E..json"),
        ("a b/é", "a%20b%2F%C3%A9.json"),
    ],
)
def test_no_name_leaves_the_folder(host: str, expected: str) -> None:
    assert report_files.file_name(host) == expected


def test_names_that_no_file_can_have_get_files_of_their_own(tmp_path: Path) -> None:
    names = [f"{'実' * 100}-{number}" for number in range(2)]
    report_files.keep(
        tmp_path, [document.unreachable(one, report_fleet.NOW, "1", "") for one in names], report_fleet.NOW
    )
    assert [one["host"] for one in report_files.read_fleet(tmp_path)[0]["hosts"]] == names


def test_the_folder_is_the_users_own_and_the_same_documents_give_the_same_report(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    report_files.keep(folder, report_fleet.documents(4), report_fleet.NOW)
    fleet, problems = report_files.read_fleet(folder)
    assert problems == []
    assert report_files.write_report(folder, fleet, check_mode=True)
    assert not (folder / "report.html").exists()
    assert report_files.write_report(folder, fleet, check_mode=False)
    assert not report_files.write_report(folder, report_files.read_fleet(folder)[0], check_mode=False)
    found = {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert {mode for path, mode in found.items() if (folder / path).is_file()} == {0o600}
    assert {mode for path, mode in found.items() if (folder / path).is_dir()} == {0o700}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {"report.json", "report.html", "junit.xml", "metrics.prom", "runs/2026-11-30T144200Z.json"} < {*found}
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == fleet


def test_a_host_that_stops_answering_keeps_its_last_success(tmp_path: Path) -> None:
    report_files.keep(tmp_path, [document.build("a", report_fleet.NOW, "1", report_fleet.plan_of(1))], report_fleet.NOW)
    later = "2026-12-01T00:00:00Z"
    silent = document.unreachable("a", later, "1", "no route to host")
    assert (
        report_files.merge(report_files.read_fleet(tmp_path)[0]["hosts"], [silent])[0]["last_success"]
        == report_fleet.NOW
    )
    report_files.keep(tmp_path, [silent], later)
    fleet = report_files.read_fleet(tmp_path)[0]
    assert [one["state"] for one in fleet["hosts"]] == ["unreachable"]
    assert fleet["hosts"][0]["last_success"] == report_fleet.NOW
    assert [run["hosts"] for run in fleet["runs"]] == [{"a": "healthy"}, {"a": "unreachable"}]


def test_what_cannot_be_shown_is_passed_over_and_named(tmp_path: Path) -> None:
    report_files.keep(tmp_path, report_fleet.documents(2), report_fleet.NOW)
    good = json.loads(next((tmp_path / "documents").glob("*.json")).read_text(encoding="utf-8"))
    bad = [
        "{",
        "[" * 100_000,
        "[]",
        *(
            json.dumps({**good, **more})
            for more in (
                {"schema": 2},
                {"state": "?"},
                {"state": []},
                {"checks": None},
                {"checks": [1]},
                {"checks": [{**good["checks"][0], "latency": "slow"}]},
                {"checks": [{**good["checks"][0], "latency": float("nan")}]},
                {"checks": [{"name": "backend"}]},
                {"collected": "x"},
                {"drift": {"steps": [], "refusals": []}},
                {"drift": {"differs": True, "steps": [None], "refusals": []}},
                {"facts": {**good["facts"], "gpus": None}},
                {"facts": {**good["facts"], "gpus": [{**good["facts"]["gpus"][0], "memory_total_mib": "much"}]}},
                {"last_failure": {"code": "timeout"}},
                {"reason": "\ud800"},
            )
        ),
    ]
    for number, text in enumerate(bad):
        (tmp_path / "documents" / f"bad-{number}.json").write_text(text, encoding="utf-8")
    run = json.loads(next((tmp_path / "runs").glob("*.json")).read_text(encoding="utf-8"))
    for number, one in enumerate(({"schema": 1}, {**run, "counts": {"down": "x"}})):
        (tmp_path / "runs" / f"{number}.json").write_text(json.dumps(one), encoding="utf-8")
    fleet, problems = report_files.read_fleet(tmp_path)
    assert (len(fleet["hosts"]), len(problems)) == (2, len(bad) + 2)
    assert all("is passed over: " in one for one in problems)


def test_old_runs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_files, "_RUNS_KEPT", 2)
    for day in (1, 3, 2):
        report_files.keep(tmp_path, [], f"2026-12-0{day}T00:00:00Z")
    assert [one["when"][9] for one in report_files.read_fleet(tmp_path)[0]["runs"]] == ["2", "3"]


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Failure) as caught:
        report_files.keep(tmp_path / "file", [], report_fleet.NOW)
    assert caught.value.code == "report_unwritable"
    assert "collect_path" in caught.value.message
