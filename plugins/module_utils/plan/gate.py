# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The auth proxy, compared by the functions that its role decides with: packages, account, token, configuration, unit, answers."""

from __future__ import annotations

import os
from typing import Any

from ..failure import Failure
from ..proxy.gate import Gate, compare_gates, free_ports
from ..proxy.keep import keep_token
from ..proxy.names import CONFIG, GATE_USER, UNIT
from ..proxy.token import token_path
from .context import Context
from .files import LOADED, NGINX, TOKENS, UNIT_PATH, variant
from .refusals import gates
from .steps import MODEL, NEW_STREAMS, Step, proxy_steps, step, verify

# Where distributions have it, for a host that is still to get it.
_USUAL_NGINX = "/usr/sbin/nginx"


def compare_proxy(at: Context) -> None:
    """Add the steps for the auth proxy."""
    proxy = at.host["proxy"]
    if proxy is None:
        at.steps += verify("proxy", f"the auth proxy could not be looked at: {at.host['problems'].get('proxy')}")
        return
    with_ollama = bool(at.host["ollama"]["daemon_version"])
    wanted = gates(at.settings, at.choice, with_ollama)
    serving = at.choice.role if with_ollama or at.choice.role == "ollama" else "ollama"
    probes = [Gate(one["name"], int(one["port"]), one["probe_path"], one["name"] == serving) for one in wanted]
    at.steps += _packages(proxy, at.host["package_manager"])
    try:
        at.steps += _occupants(at, probes)
        at.steps += _gate(at, probes, at.proxy_files.get(variant(at.choice.role, with_ollama)))
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
        found.append(
            step("proxy", "create", f"the account {GATE_USER} of the auth proxy is not there", after=GATE_USER)
        )
    return found


def _occupants(at: Context, probes: list[Gate]) -> list[Step]:
    ports = {gate.port for gate in probes}
    strangers = [one for one in at.host["listeners"] or [] if one["port"] in ports and one["user"] != GATE_USER]
    if not strangers:
        return []
    pids = free_ports(probes, at.account, GATE_USER, check_mode=True)
    return [step("proxy", "stop", f"NemoClaw's own proxy (process {pid}) makes way", interrupts=MODEL) for pid in pids]


def _gate(at: Context, probes: list[Gate], files: list[dict[str, str]] | None) -> list[Step]:
    proxy, path = at.host["proxy"], at.settings["proxy_token_path"]
    if not proxy["unit"]:
        return _first(at)
    if os.geteuid() != 0:
        return verify("proxy", "only root can compare the auth proxy, and this look was not root's")
    if files is None:
        return verify("proxy", "the configuration that the auth proxy has to have is not known")
    overlap = at.settings["proxy_token_overlap"]
    kept = keep_token(at.account, "present", path or None, overlap, TOKENS, GATE_USER, CONFIG, LOADED, check_mode=True)
    found = []
    if kept.changed:
        found.append(step("token", "write", f"the token files beside {kept.path} are not as they have to be"))
    if kept.gate_written:
        found.append(
            step("token", "hand on", f"{TOKENS} does not hold the tokens that are valid", interrupts=NEW_STREAMS)
        )
    elif kept.gate_changed:
        found.append(step("proxy", "reload", "the auth proxy has not read its newest files"))
    nginx = proxy["nginx"] or _USUAL_NGINX
    texts = [{"path": one["path"], "content": one["content"].replace(NGINX, nginx)} for one in files]
    compared = compare_gates(probes, at.account, path or token_path(at.account.home), GATE_USER, UNIT, texts)
    return [*found, *proxy_steps(compared, CONFIG, UNIT_PATH)]


def _first(at: Context) -> list[Step]:
    kept = at.settings["proxy_token_path"] or token_path(at.account.home)
    return [
        step("token", "create", f"{kept} is made, or kept where it is there", after=kept),
        step("proxy", "write", "there is no auth proxy yet", after=CONFIG),
        step("proxy", "start", "sandboxes reach the model server by it alone", after=UNIT),
    ]
