# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ollama_info says of a real Ollama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import model_registry
import ollama_server
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.info import describe, parse_address


def look(daemon: ollama_server.Ollama, folder: Path | None = None) -> dict[str, Any]:
    environment = {**daemon.environment, "PATH": str(folder)} if folder else {}
    return describe(Machine(environ=environment), find_account(), parse_address(daemon.host))


def test_an_empty_daemon(ollama: ollama_server.Ollama) -> None:
    found = look(ollama)
    assert (found["running"], found["loopback_only"], found["foreign"]) == (True, True, None)
    assert found["version"]["daemon"] == "0.9.3"
    assert (found["models"], found["loaded"], found["problems"]) == ([], [], [])
    assert [(one["address"], one["pid"]) for one in found["listeners"]] == [("127.0.0.1", ollama.pid)]


def test_the_real_client_tells_its_version(ollama: ollama_server.Ollama, tmp_path: Path) -> None:
    (tmp_path / "ollama").symlink_to(ollama.binary)
    found = look(ollama, tmp_path)
    assert (found["installed"], found["path"]) == (True, str(tmp_path / "ollama"))
    assert found["version"] == {"client": "0.9.3", "daemon": "0.9.3"}


def test_ollama_on_every_interface_shows_one_ipv6_socket(ollama_home: Path) -> None:
    # ollama issue 11613: with OLLAMA_HOST=0.0.0.0 Go opens [::] where the host has IPv6.
    with ollama_server.serving(ollama_home, bind="0.0.0.0") as daemon:
        found = look(daemon)
    assert (found["running"], found["loopback_only"]) == (True, False)
    assert [one["scope"] for one in found["listeners"]] == ["any"]


def test_models_with_their_capabilities(
    ollama: ollama_server.Ollama, registry: model_registry.Registry, pull: Any
) -> None:
    names = [registry.push("lab/tools", "1b", tools=True), registry.push("lab/plain", "latest", tools=False)]
    for name in names:
        pull(name)
    found = {one["name"]: one for one in look(ollama)["models"]}
    assert {name: found[name]["capabilities"] for name in names} == {
        names[0]: ["completion", "tools"],
        names[1]: ["completion"],
    }
    assert all(len(one["digest"]) == 64 and one["size"] > 400 for one in found.values())
    assert found[names[0]]["quantization"] == "F32"
