# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What C(bridge) in proxy_listen becomes on a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.profiles import LATER
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import gate
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import (
    Gate,
    ProxySettings,
    problems,
    render_config,
    render_unit,
)

GATES = [Gate("ollama", 11435, upstream_port=11434)]
NATIVE, DESKTOP = "20.10.24|Debian GNU/Linux 12", "24.0|Docker Desktop"
# An address that every Linux host has, and one for documentation, which none has (RFC 5737).
OURS, NOT_OURS = "127.0.0.9", "192.0.2.1"

_DOCKER = """#!/bin/sh
case "$1 $2" in
  "info --format") {info} ;;
  "network inspect") [ "$3" = "{name}" ] || exit 1
    echo '[{{"Id": "0123456789ab", "IPAM": {{"Config": [{{"Subnet": "{subnet}", "Gateway": "{gateway}"}}]}}}}]' ;;
  *) ;;
esac
"""


def host(
    root: Path, info: str = NATIVE, name: str = "openshell-docker", gateway: str = OURS, subnet: str = "10.9.0.0/16"
) -> Machine:
    """Return a host with a docker command that says so."""
    program = root / "bin" / "docker"
    program.parent.mkdir()
    say = f'echo "{info}"' if "|" in info else info
    program.write_text(_DOCKER.format(info=say, name=name, gateway=gateway, subnet=subnet), encoding="utf-8")
    program.chmod(0o755)
    return Machine(root=root, environ={"PATH": "/bin", "HOME": "/"})


def resolve(machine: Machine, *addresses: str) -> tuple[list[str], str]:
    settings, notes = gate.at_bridge(machine, find_account(), ProxySettings(GATES, listen=list(addresses)))
    return settings.listen, " ".join(notes)


@pytest.mark.parametrize(
    ("case", "addresses", "words"),
    [
        ({}, ["127.0.0.1", OURS], ""),
        ({"name": "bridge"}, ["127.0.0.1", OURS], "Run this again once OpenShell has created its network"),
        # Docker 20.10 does not tell the gateway of its own bridge.
        ({"gateway": "", "subnet": "127.0.0.8/29"}, ["127.0.0.1", OURS], ""),
        ({"gateway": NOT_OURS}, ["127.0.0.1"], f"listens on 127.0.0.1: {NOT_OURS}, the gateway"),
        ({"info": DESKTOP}, ["127.0.0.1"], "Docker Desktop"),
    ],
)
def test_the_bridge_is_an_address_or_that_is_said(
    case: dict[str, Any], addresses: list[str], words: str, tmp_path: Path
) -> None:
    found, notes = resolve(host(tmp_path, **case), *LATER.proxy_listen)
    assert found == addresses
    assert words in notes
    assert bool(words) == bool(notes)


def test_a_host_without_docker_has_no_bridge(tmp_path: Path) -> None:
    machine = Machine(root=tmp_path, environ={"PATH": "/bin"})
    assert resolve(machine, "127.0.0.1", "bridge")[0] == ["127.0.0.1"]
    with pytest.raises(Failure, match="as well") as raised:
        resolve(machine, "bridge")
    assert raised.value.code == "proxy_settings_invalid"


@pytest.mark.parametrize("case", [{"info": "echo 'no daemon' >&2; exit 1"}, {"name": "another"}, {"gateway": ""}])
def test_an_engine_that_does_not_tell_is_no_host_without_a_bridge(case: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Failure) as raised:
        resolve(host(tmp_path, **case), *LATER.proxy_listen)
    assert raised.value.code == "proxy_bridge_unknown"


def test_addresses_ask_nobody_and_stand_once(tmp_path: Path) -> None:
    broken = host(tmp_path, info="exit 1")
    assert resolve(broken, "0.0.0.0") == (["0.0.0.0"], "")
    (tmp_path / "two").mkdir()
    assert resolve(host(tmp_path / "two"), OURS, "bridge")[0] == [OURS]


def test_another_profile_is_another_configuration_and_a_restart(tmp_path: Path) -> None:
    page = ProxySettings(GATES)
    raw = ProxySettings(GATES, listen=list(LATER.proxy_listen))
    assert problems(raw) == []
    later, _notes = gate.at_bridge(host(tmp_path), find_account(), raw)
    assert "listen 0.0.0.0:11435;" in render_config(page)
    assert f"listen {OURS}:11435;" in render_config(later)
    assert "0.0.0.0" not in render_config(later)
    # nginx cannot take an address over from 0.0.0.0 by a reload: only another unit is started anew.
    assert render_unit(page, "/usr/sbin/nginx") != render_unit(later, "/usr/sbin/nginx")
