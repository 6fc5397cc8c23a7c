# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the auth proxy: what they have to hold, what they must never have, and which settings are refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy import configuration
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.proxy.configuration import (
    Gate,
    ProxySettings,
    problems,
    render_config,
    render_unit,
)

OLLAMA = Gate("ollama", 11435, upstream_port=11434)
VLLM = Gate("vllm", 18000, "/health", upstream_port=8000, paths=("/v1/", "/health"))
SETTINGS = ProxySettings([OLLAMA, VLLM])
DIRECTIVES = [
    line.strip() for line in render_config(SETTINGS).splitlines() if line.strip() and not line.strip().startswith("#")
]


@pytest.mark.parametrize("name", ["rewrite", "set", "auth_basic", "sub_filter", "alias", "root", "satisfy"])
def test_the_directives_that_were_broken_into_are_not_used(name: str) -> None:
    """Rewrite followed by set, and map with a regular expression, were the grave faults of 2026 (upstream-facts P10)."""
    assert [line for line in DIRECTIVES if re.match(rf"{name}\b", line)] == []


def test_no_regular_expression_is_used() -> None:
    assert [line for line in DIRECTIVES if re.search(r"(^|[\s{'\"])~", line.replace("^~", ""))] == []


def test_there_is_one_condition_for_each_server_and_it_comes_before_any_location() -> None:
    starts = [number for number, line in enumerate(DIRECTIVES) if line == "server {"]
    for start, end in zip(starts, [*starts[1:], len(DIRECTIVES)]):
        server = DIRECTIVES[start:end]
        conditions = [number for number, line in enumerate(server) if line.startswith("if ")]
        locations = [number for number, line in enumerate(server) if line.startswith("location ")]
        assert len(conditions) == 1
        assert conditions[0] < locations[0]
        assert server[conditions[0] : conditions[0] + 2] == ["if ($nemoclaw_token_is_valid = 0) {", "return 401;"]


def test_each_server_listens_everywhere_and_has_its_own_port_behind() -> None:
    made = render_config(replace(SETTINGS, listen=["127.0.0.1", "[::1]"]))
    assert all(f"listen {address}:{port};" in made for address in ("127.0.0.1", "[::1]") for port in (11435, 18000))
    assert "server 127.0.0.1:8000 max_fails=0;" in made
    assert "proxy_set_header Host localhost:11434;" in made


@pytest.mark.parametrize(
    ("paths", "locations"),
    [
        ((), ["/"]),
        (("/v1/",), ["^~ /v1/", "= /v1", "/"]),
        (("/v1/", "/v1"), ["^~ /v1/", "= /v1", "/"]),
        (("/health",), ["= /health", "/"]),
        (("/",), ["^~ /", "/"]),
    ],
)
def test_which_paths_are_passed_on(paths: tuple[str, ...], locations: list[str]) -> None:
    made = render_config(ProxySettings([OLLAMA._replace(paths=paths)]))
    assert re.findall(r"location ([^@{]+) \{", made) == locations
    assert ("path_not_allowed" in made) == bool(paths)


def test_what_was_rendered_is_what_is_found_again() -> None:
    """By the comments of the configuration a rotation finds the servers, without any setting."""
    found = configuration._GATE.findall(render_config(SETTINGS))
    assert found == [("ollama", "11435", "/v1/models"), ("vllm", "18000", "/health")]


def test_the_settings_are_in_the_files() -> None:
    settings = ProxySettings([OLLAMA], ["127.0.0.1"], "1g", 61, 7, 90, 100, 33, 3, "300M")
    made = render_config(settings)
    for line in (
        "worker_processes 3;",
        "worker_shutdown_timeout 90s;",
        "worker_connections 264;",
        "client_max_body_size 1g;",
        "limit_conn per_address 33;",
        "proxy_connect_timeout 7s;",
        "proxy_read_timeout 61s;",
    ):
        assert line in made
    unit = render_unit(settings, "/opt/nginx")
    assert "ExecStart=/opt/nginx -c /etc/nemoclaw-ollama-proxy.conf -g 'daemon off;'" in unit
    assert ("LimitNOFILE=328" in unit, "MemoryMax=300M" in unit) == (True, True)
    assert "(127.0.0.1:11435)" in unit, "another socket is another unit, which is what a restart follows"
    assert "%{" not in made + unit


def test_one_value_of_a_role_is_one_field() -> None:
    values: dict[str, Any] = {name: getattr(SETTINGS, name) for name in vars(SETTINGS)}
    assert ProxySettings.of(SETTINGS.gates, {**values, "token_overlap": 7}) == SETTINGS


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SETTINGS, None),
        (replace(SETTINGS, listen=["0.0.0.0", "[::]", "172.17.0.1"]), None),
        (ProxySettings([OLLAMA._replace(port=22)]), "between 1024 and 65535"),
        (ProxySettings([OLLAMA._replace(port=70_000)]), "between 1024 and 65535"),
        (ProxySettings([OLLAMA._replace(port=11434)]), "needs its own port"),
        (ProxySettings([OLLAMA, VLLM._replace(port=11435)]), "needs its own port"),
        (
            replace(SETTINGS, listen=[]),
            "proxy_listen holds addresses such as 127.0.0.1, 172.17.0.1 or [::1], or the word bridge, but it is empty.",
        ),
        (replace(SETTINGS, listen=["localhost"]), "it is localhost"),
        (replace(SETTINGS, listen=["127.0.0.1;"]), "proxy_listen"),
        (ProxySettings([OLLAMA, VLLM._replace(name="v-llm")]), "lower-case letters"),
        (ProxySettings([OLLAMA, VLLM._replace(name="ollama")]), "have the same name"),
        (ProxySettings([OLLAMA._replace(paths=("api",))]), "The paths of ollama"),
        (ProxySettings([OLLAMA._replace(paths=("/a b",))]), "The paths of ollama"),
        (ProxySettings([OLLAMA._replace(paths=("/a;",))]), "The paths of ollama"),
        (ProxySettings([OLLAMA._replace(probe_path="/a\n}")]), "The probe_path of ollama"),
        (replace(SETTINGS, max_body_size="much"), "proxy_max_body_size"),
        (replace(SETTINGS, memory_max="256m"), "proxy_memory_max"),
    ],
)
def test_settings_that_cannot_be(settings: ProxySettings, says: str | None) -> None:
    found = problems(settings)
    assert len(found) == (0 if says is None else 1)
    assert says is None or says in found[0]
