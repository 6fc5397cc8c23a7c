# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The auth proxy, compared by the functions that its role decides with: packages, account, token, configuration, unit, answers."""

from __future__ import annotations

import os
from typing import Any

from ..failure import Failure
from ..proxy.configuration import (
    ACCOUNT,
    CONFIG,
    LOADED,
    TOKENS,
    UNIT,
    UNIT_PATH,
    USUAL_NGINX,
    Gate,
    render_config,
    render_unit,
)
from ..proxy.gate import at_bridge, compare_gates, find_own_proxies
from ..proxy.kept import bring
from ..proxy.token import token_path
from .refusals import gates, proxy_settings
from .steps import MODEL, NEW_STREAMS, Context, Step, proxy_steps, step, verify


def compare_proxy(at: Context) -> None:
    """Add the steps for the auth proxy."""
    proxy = at.host["proxy"]
    if proxy is None:
        at.steps += verify("proxy", f"the auth proxy could not be checked: {at.host['problems'].get('proxy')}")
        return
    servers = gates(at.settings, at.choice, bool(at.host["ollama"]["daemon_version"]))
    at.steps += _packages(proxy, at.host["package_manager"])
    try:
        at.steps += _occupants(at, servers)
        at.steps += _gate(at, servers)
    except Failure as failure:
        at.refusals.append(failure)


def _packages(proxy: dict[str, Any], manager: str | None) -> list[Step]:
    found = []
    if proxy["nginx"] is None:
        found.append(
            step(
                "packages",
                "install",
                f"the auth proxy is nginx, which {manager} installs",
                after="nginx",
                download_bytes=None,
            )
        )
    if not proxy["account"]:
        found.append(step("proxy", "create", f"the auth proxy's account {ACCOUNT} is missing", after=ACCOUNT))
    return found


def _occupants(at: Context, servers: list[Gate]) -> list[Step]:
    ports = {gate.port for gate in servers}
    strangers = [one for one in at.host["listeners"] or [] if one["port"] in ports and one["user"] != ACCOUNT]
    if not strangers:
        return []
    pids = find_own_proxies(servers, at.account, ACCOUNT)
    return [step("proxy", "stop", f"NemoClaw's own proxy (process {pid}) makes way", interrupts=MODEL) for pid in pids]


def _gate(at: Context, servers: list[Gate]) -> list[Step]:
    proxy, path = at.host["proxy"], at.settings["proxy_token_path"]
    settings = proxy_settings(at.settings, servers)
    if os.geteuid() == 0:
        settings, _notes = at_bridge(at.machine, at.account, settings)
    if not proxy["unit"]:
        return _first(at)
    if os.geteuid() != 0:
        return verify("proxy", "only root can compare the auth proxy, and this check did not run as root")
    overlap = at.settings["proxy_token_overlap"]
    kept = bring(at.account, "present", path or None, overlap, TOKENS, ACCOUNT, CONFIG, LOADED)
    found = []
    if kept.changed:
        found.append(step("token", "write", f"the token files next to {kept.path} are not as they should be"))
    if kept.gate_written:
        found.append(
            step("token", "hand on", f"{TOKENS} does not hold the tokens that are valid", interrupts=NEW_STREAMS)
        )
    elif kept.gate_changed:
        found.append(step("proxy", "reload", "the auth proxy has not read its newest files"))
    texts = [
        {"path": CONFIG, "content": render_config(settings)},
        {"path": UNIT_PATH, "content": render_unit(settings, proxy["nginx"] or USUAL_NGINX)},
    ]
    compared = compare_gates(servers, at.account, path or token_path(at.account.home), ACCOUNT, UNIT, texts)
    return [*found, *proxy_steps(compared, CONFIG, UNIT_PATH)]


def _first(at: Context) -> list[Step]:
    kept = at.settings["proxy_token_path"] or token_path(at.account.home)
    return [
        step("token", "create", f"{kept} is created, or left in place if it exists", after=kept),
        step("proxy", "write", "there is no auth proxy yet", after=CONFIG),
        step("proxy", "start", "sandboxes reach the model server only through it", after=UNIT),
    ]
