# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for the transaction of sandbox_route: the real OpenShell CLI on a stand-in gateway, and a home of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openshell_parts
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import (
    Account,
    Machine,
    find_account,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.jobs.progress import silent
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell.route import Desired
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.record import read_record
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.route.route import build_route
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route import backends
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.sandbox_route.transaction import (
    PathProbe,
    Transaction,
)

GATEWAY = "nemoclaw"
PROVIDER = "compatible-endpoint"


@dataclass(frozen=True)
class Wanted:
    """A server, as a user of the endpoint role names it."""

    base_url: str
    key: str
    model: str = "scripted"
    provider: str = "custom"
    timeout: int = 90

    @property
    def route(self) -> dict[str, Any]:
        return build_route(
            provider=self.provider,
            base_url=self.base_url,
            base_url_sandbox=self.base_url.replace("127.0.0.1", "host.openshell.internal"),
            model=self.model,
            api="anthropic-messages" if self.provider == "anthropicCompatible" else "openai-completions",
            timeout=self.timeout,
        )


class Host:
    """One host; all that a run leaves behind is in its folder or in the gateway."""

    def __init__(
        self, folder: Path, server: openshell_parts.Gateway, path: str = "", *, is_registered: bool = True
    ) -> None:
        server.forget()
        self.server, self.home = server, folder / "home"
        self.home.mkdir(parents=True)
        self.account: Account = find_account()._replace(home=str(self.home))
        self.environ = {
            "HOME": str(self.home),
            "PATH": f"{path}{server.cli.parent}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": register(folder / "config", server) if is_registered else str(folder / "config"),
        }
        self.record = self.home / ".nemoclaw" / "local-inference.json"

    @property
    def machine(self) -> Machine:
        return Machine(environ=dict(self.environ))

    def transaction(self, wanted: Wanted, backend: str = "openshell", **options: Any) -> Transaction:
        """Return what the module makes of its options."""
        network = options.pop("network", None)
        route = {**wanted.route, **options.pop("route", {})}
        try:
            recorded = read_record(str(self.record)) or {}
        except Failure:
            recorded = {}
        desired = replace(Desired(route, wanted.key, recorded), **options)
        desired = backends.by_its_provider(backend, self.machine, self.account, desired)
        chosen = backends.choose(backend, self.machine, self.account, desired)[1]
        probe_from = PathProbe(self.machine, self.account, network) if network else None
        return Transaction(chosen, desired, str(self.record), self.account, probe_from)

    def give(self, wanted: Wanted, backend: str = "openshell", **options: Any) -> dict[str, Any]:
        """Run the transaction as the module does in one call."""
        transaction = self.transaction(wanted, backend, **options)
        return transaction.plan(False) or transaction.work(silent)

    def check(self, wanted: Wanted, backend: str = "openshell", **options: Any) -> dict[str, Any]:
        return self.transaction(wanted, backend, **options).plan(True) or {}

    def remove(self, check_mode: bool = False, backend: str = "auto") -> dict[str, Any]:
        """Remove what the gateway has, as the module does with a record and without one."""
        recorded = self.recorded() if self.record.exists() else {}
        desired = Desired(recorded, "dummy", recorded, recorded.get("gateway") or "")
        return backends.remove(backend, self.machine, self.account, desired, check_mode, str(self.record))

    def recorded(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        return found

    def provider(self, name: str = PROVIDER) -> dict[str, Any]:
        """Return what the gateway has of a provider, keys included."""
        return {**self.server.known()["providers"][name], "resource_version": 0}

    def route(self) -> list[Any] | None:
        """Return provider, model and timeout of the gateway's route."""
        found = self.server.known()["routes"].get("inference.local")
        return found[:3] if found else None

    def answer(self) -> tuple[str, str, str] | None:
        """Return what a sandbox gets: address, key and model behind the gateway's route; None where it gets nothing."""
        known = self.server.known()
        route = known["routes"].get("inference.local")
        provider = known["providers"].get(route[0]) if route else None
        if not provider:
            return None
        return next(iter(provider["config"].values())), next(iter(provider["credentials"].values())), route[1]

    def state(self) -> tuple[Any, ...]:
        """Return what a run that fails may not change."""
        known = self.server.known()
        providers = {name: {**found, "resource_version": 0} for name, found in known["providers"].items()}
        return providers, self.route(), self.record.read_bytes(), self.record.stat().st_mtime_ns, self.notes()

    def notes(self) -> list[str]:
        """Return the notes of runs that were broken off."""
        return [path.name for path in self.record.parent.glob("*.change")]

    def cli(self, *words: str) -> None:
        """Run the CLI by hand. Its exit status says nothing: after a sandbox is ready it wants to open a session there."""
        subprocess.run(
            [self.server.cli, "--gateway-endpoint", self.server.endpoint, *words],
            check=False,
            capture_output=True,
            timeout=60,
        )

    def add_sandbox(self, name: str, image: str = "lab/ready:1") -> None:
        self.cli("sandbox", "create", "--name", name, "--from", image, "--", "true")
        assert name in self.server.known()["sandboxes"]


def register(config: Path, server: openshell_parts.Gateway, certificates: Path | None = None) -> str:
    """Register the gateway as its user does, in a folder of settings of one's own, which is returned."""
    home = config / "openshell" / "gateways" / GATEWAY
    home.mkdir(parents=True)
    if certificates:
        shutil.copytree(certificates, home / "mtls")
    words = ["gateway", "add", server.endpoint, "--local", "--name", GATEWAY]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(config), "OPENSHELL_NO_BROWSER": "1"}
    subprocess.run([server.cli, *words], env=environment, check=True, capture_output=True, timeout=60)
    return str(config)


def wrapped(folder: Path, server: openshell_parts.Gateway, body: str) -> str:
    """Return a folder for the front of PATH with the real CLI, but for what the shell script in between does itself."""
    here = folder / f"wrapper-{secrets.token_hex(4)}"
    here.mkdir()
    script = f'#!/bin/sh\nHERE={here}/state REAL={server.cli}\nmkdir -p "$HERE"\n{body}\nexec "$REAL" "$@"\n'
    (here / "openshell").write_text(script, encoding="utf-8")
    (here / "openshell").chmod(0o755)
    return f"{here}:"
