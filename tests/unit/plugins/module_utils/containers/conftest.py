# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine in memory: a double, because the unit tests run where no engine is. tests/real and the integration targets use a real one.

It does what the calls of Engine promise and no more: a name that is taken or missing is refused, as the real engine does.
"""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure

STARTED = "2026-11-22T10:00:00.000000000Z"
NOW = datetime.datetime(2026, 11, 22, 10, 0, 10, tzinfo=datetime.timezone.utc)


class FakeEngine:
    """Containers by name; `calls` is what was asked to change, in order."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {
            "kind": "native",
            "rootless": False,
            "endpoint": "unix:///x",
            "nvidia_runtime": False,
        }
        self.there: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.log = ""
        self.refuses_start: set[str] = set()
        self._made = 0

    def now(self) -> datetime.datetime:
        return NOW

    def container(self, name: str) -> dict[str, Any] | None:
        return copy.deepcopy(self.there.get(name))

    def image(self, reference: str) -> dict[str, Any] | None:
        return self.images.get(reference)

    def network(self, name: str) -> dict[str, Any] | None:
        return self.networks.get(name)

    def logs(self, name: str, tail: int) -> str:
        return self.log if name in self.there else ""

    def create(self, name: str, body: dict[str, Any]) -> str:
        self._require(name not in self.there, f"the name {name} is taken")
        self.calls.append(f"create {name}")
        self._made += 1
        host = body["HostConfig"]
        self.there[name] = {
            "Id": f"id{self._made}",
            "Name": f"/{name}",
            "Created": STARTED,
            "Image": self.images.get(body["Image"], {}).get("Id", "sha256:none"),
            "RestartCount": 0,
            "Config": {
                "Cmd": None,
                "Entrypoint": None,
                "User": "",
                **{key: body[key] for key in body if key != "HostConfig"},
            },
            "HostConfig": {"ShmSize": 67108864, "IpcMode": "private", **copy.deepcopy(host)},
            "NetworkSettings": {"Ports": host["PortBindings"]},
            "State": {"Status": "created", "Running": False, "StartedAt": "0001-01-01T00:00:00Z", "ExitCode": 0},
        }
        return f"id{self._made}"

    def start(self, name: str) -> None:
        self.calls.append(f"start {name}")
        self._require(name in self.there, f"{name} is not there")
        self._require(self.there[name]["Id"] not in self.refuses_start, "it cannot be started")
        self.state(name, Status="running", Running=True, StartedAt=STARTED)

    def stop(self, name: str) -> None:
        self.calls.append(f"stop {name}")
        self.state(name, Status="exited", Running=False)

    def rename(self, name: str, new: str) -> None:
        self.calls.append(f"rename {name} {new}")
        self._require(new not in self.there, f"the name {new} is taken")
        self.there[new] = self.there.pop(name)
        self.there[new]["Name"] = f"/{new}"

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        self.there.pop(name, None)

    def set_restart_policy(self, name: str, policy: str, retries: int = 0) -> None:
        self.calls.append(f"policy {name} {policy}")
        self.there[name]["HostConfig"]["RestartPolicy"] = {"Name": policy, "MaximumRetryCount": retries}

    def state(self, name: str, **changes: Any) -> None:
        self.there[name]["State"].update(changes)

    @staticmethod
    def _require(condition: bool, why: str) -> None:
        if not condition:
            raise Failure("docker_refused", f"The engine refused: {why}.")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()
