# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of a pull, and what its errors mean. tests/real pulls from a real registry."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.containers.engine import (
    REMEDIES,
    PullProgress,
    meaning,
    pull,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

LINES: list[dict[str, Any]] = [
    {"status": "Pulling from lab/vllm", "id": "1"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "a"},
    {"status": "Already exists", "progressDetail": {}, "id": "b"},
    {"status": "Downloading", "progressDetail": {"current": 40, "total": 100}, "id": "a"},
    {"status": "Downloading", "progressDetail": {"current": 10, "total": 300}, "id": "c"},
    {"status": "Download complete", "progressDetail": {}, "id": "a"},
    {"status": "Extracting", "progressDetail": {"current": 3, "total": 100}, "id": "a"},
]


def test_bytes_are_those_that_came_over_the_network() -> None:
    progress = PullProgress("lab/vllm:1")
    assert progress.position[:3] == ("pull", None, None)
    for line in LINES:
        progress.take(line)
    assert progress.position[:3] == ("pull", 110, 400)
    assert progress.as_result() == {"phase": "pull", "percent": 27.5, "completed": 110, "total": 400}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("manifest for x:1 not found: manifest unknown: manifest unknown", "image_not_found"),
        ("pull access denied for x, repository does not exist or may require 'docker login'", "registry_unauthorized"),
        ("toomanyrequests: You have reached your pull rate limit.", "registry_rate_limited"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "image_architecture"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk_full"),
        ("Get https://x/v2/: dial tcp: lookup x: no such host", "registry_unreachable"),
        ("Something new.", None),
    ],
)
def test_errors(words: str, code: str | None) -> None:
    assert meaning(words) == code
    assert code is None or code in REMEDIES


class Pulling:
    """The calls that pull() makes; the lines are those of dockerd 20.10."""

    def __init__(self, lines: list[dict[str, Any]], failure: Failure | None = None) -> None:
        self.lines, self.failure = lines, failure

    def follower(self, silence_s: float) -> Pulling:
        return self

    def pull(self, reference: str, auth: Any) -> Any:
        yield from self.lines
        if self.failure:
            raise self.failure

    def image(self, reference: str) -> dict[str, Any] | None:
        return {"Id": "sha256:a"}


@pytest.mark.parametrize(
    ("last", "failure", "code"),
    [
        ([{"error": "toomanyrequests: slow down"}], None, "registry_rate_limited"),
        ([{"error": "unexpected EOF"}], None, "pull_interrupted"),
        ([{"error": "what is this"}], None, "pull_failed"),
        ([], Failure("docker_timeout", "No word."), "pull_stalled"),
        ([], Failure("docker_refused", "No.", server_message="manifest unknown"), "image_not_found"),
        ([], Failure("docker_unexpected_answer", "It broke."), "docker_unexpected_answer"),
    ],
)
def test_a_pull_that_stops_tells_where(last: Any, failure: Failure | None, code: str) -> None:
    engine: Any = Pulling([*LINES, *last], failure)
    with pytest.raises(Failure) as raised:
        pull(engine, "lab/vllm:1")
    assert raised.value.code == code
    assert raised.value.details["progress"]["completed"] == 110


def test_a_pull_that_ends_well() -> None:
    reports: list[Any] = []
    engine: Any = Pulling(LINES)
    assert pull(engine, "lab/vllm:1", reports.append) == {"Id": "sha256:a"}
    assert [report.completed for report in reports][-1] == 110
