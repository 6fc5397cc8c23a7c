# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""One run of the watch: the cheap look at each time, the question to the model where it is due, and what follows from both."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ..endpoint.report import PASSED, Report
from ..endpoint.validate import Demands, Endpoint, Ladder, open_conversation, start_clock
from ..failure import Failure
from ..host.machine import Account, Machine, user_name
from ..host.sockets import exposed, find_listeners, open_listeners, plain, system_limit
from ..ollama.daemon import Address, Daemon
from ..ollama.names import is_same
from ..proxy.configuration import ACCOUNT
from ..route.record import read_record
from ..status.check import (
    Check,
    check_exposure,
    check_proxy,
    check_server,
    port_of,
    render,
    state_of,
)
from ..status.states import HEALTHY, NOT_CONFIGURED, NOT_PROBED, UNHEALTHY
from .layout import LOOK_LIMIT, SCHEMA, WatchSettings

# A list of models that a server does not give to everybody, or not at all: it answers, which is what the look asks.
_ANSWERS = ("auth_failed", "bad_request", "not_found", "no_models")
_OLLAMA = ("ollama", "install-ollama", "start-windows-ollama", "install-windows-ollama")
_WINDOWS_HOST = "host.docker.internal"
# Ollama writes 300 years for a model that stays (keep_alive -1).
_STAYS_S = 24 * 3600
_KEY = "the server wants a key, but no file on this host holds one: the playbook nemoclaw.local_inference.status asks with it"
_NO_PROOF = "watch_proof is false, so the model is not asked"


@dataclass
class Run:
    """What one run works with.

    Attributes:
        settings: Of the host.
        previous: The result of the last run, empty without one.
        now: Seconds since 1970.
        route: The recorded route, None without one.
        checks: What was found, in order.
        question: When the model was asked last, what came of it, and until when Ollama keeps it: C({at, check, expires}).
        closed: When and why the watch has closed the auth proxy, C({at, why}), None where it has not or somebody opened it again.
        close: Whether it is to be closed now.

    """

    settings: WatchSettings
    previous: Mapping[str, Any]
    now: float = field(default_factory=lambda: round(time.time(), 3))
    route: dict[str, Any] | None = None
    checks: list[Check] = field(default_factory=list)
    question: dict[str, Any] = field(default_factory=dict)
    closed: dict[str, Any] | None = None
    close: bool = False

    def __post_init__(self) -> None:
        self.question = dict(self.previous.get("question") or {})
        self.closed = self.previous.get("closed")

    def look(self) -> None:
        """Look at everything that costs the model nothing; the last answer of the model stands until it is asked again."""
        record = Check("route", HEALTHY, url=self.settings.record, detail="a route is recorded")
        self.checks = [record]
        try:
            self.route = read_record(self.settings.record)
        except Failure as failure:
            record.state, record.code, record.detail = UNHEALTHY, failure.code, failure.message
        else:
            if self.route is None:
                record.state, record.code = NOT_CONFIGURED, "route_not_recorded"
                record.detail = f"There is no route record {self.settings.record}. Run the playbook nemoclaw.local_inference.site first."
        if self.route is None:
            return
        machine = Machine()
        backend = look_at_server(self.route, self._endpoint(self.route, LOOK_LIMIT))
        exposure = check_exposure(machine, self.route)
        proxy = check_proxy(self.route, self.settings.token, self._account())
        self._judge_closing(machine, exposure, proxy)
        self.checks += [backend, self._remembered(backend), *proxy, *exposure]

    def ask(self) -> bool:
        """Ask the model where that is due, and tell whether it was asked."""
        if self.route is None:
            return False
        backend, completion = self.checks[1:3]
        why_not = self._why_not(backend, completion)
        if why_not is not None:
            if completion.state == NOT_PROBED:
                completion.detail = why_not
            return False
        found, asked = check_server(self.route, self._endpoint(self.route, self.settings.timeout))
        if asked.code == "auth_failed" or found.code == "auth_failed":
            asked = Check("completion", NOT_PROBED, url=asked.url, detail=_KEY)
        elif found.state != HEALTHY:
            # It was there a moment ago: the list of models that did not decide has decided now.
            self.checks[1] = found
        self.checks[2] = asked
        self.question = {"at": self.now, "check": asked.as_result(), "expires": None}
        if self.route["provider"] in _OLLAMA:
            self.question["expires"] = (loaded(str(asked.url), self.route["model"]) or {}).get("expires_at")
        return True

    def result(self) -> dict[str, Any]:
        """Return what last.json holds."""
        healthy = all(check.state in (HEALTHY, NOT_PROBED) for check in self.checks)
        wrong = next((check for check in self.checks if check.state not in (HEALTHY, NOT_PROBED)), None)
        failure = {"at": self.now, "code": wrong.code or wrong.state} if wrong else self.previous.get("last_failure")
        return {
            "schema": SCHEMA,
            "at": self.now,
            "host": self.settings.host,
            "healthy": healthy,
            "lines": render(self.route, self.checks),
            "checks": [check.as_result() for check in self.checks],
            "route": self.route,
            "question": self.question,
            "closed": self.closed,
            "last_success": self.now if healthy else self.previous.get("last_success"),
            "last_failure": failure,
        }

    def _endpoint(self, route: Mapping[str, Any], timeout: int) -> Endpoint:
        url = route["base_url_host"]
        if _WINDOWS_HOST in url:
            # Only there: a run of each minute pays for what it imports.
            from ..host.platform import reach_windows

            url = reach_windows(Machine(), url)
        settings = self.settings
        return Endpoint(url, route["api"], None, timeout, settings.ca_path or None, settings.validate_certs)

    def _account(self) -> Account:
        """Return whose process this is, without the passwd database: one of the network is not reached from the service."""
        name = user_name(os.geteuid()) or self.settings.user
        return Account(name, os.geteuid(), os.getegid(), self.settings.home, tuple(os.getgroups()))

    def _remembered(self, backend: Check) -> Check:
        known = self.question.get("check")
        if backend.state != HEALTHY:
            return Check("completion", url=backend.url, detail="the server did not pass its own check")
        if not self.settings.proof:
            return Check("completion", url=backend.url, detail=_NO_PROOF)
        return Check(**known) if known else Check("completion", url=backend.url, detail="the model was not asked yet")

    def _why_not(self, backend: Check, completion: Check) -> str | None:
        if backend.state != HEALTHY:
            return "the server did not pass its own check"
        if not self.settings.proof:
            return _NO_PROOF
        before = next((one for one in self.previous.get("checks") or [] if one["name"] == "backend"), None)
        was_healthy = before is not None and before["state"] == HEALTHY
        is_known = self.question.get("check") and completion.state in (HEALTHY, NOT_PROBED)
        age = self.now - self.question.get("at", 0)
        if is_known and was_healthy and 0 <= age < self.settings.proof_interval:
            return completion.detail
        if self.route and self.route["provider"] in _OLLAMA:
            return keeps_still(loaded(str(backend.url), self.route["model"]), self.question, self.now)
        return None

    def _judge_closing(self, machine: Machine, exposure: list[Check], proxy: list[Check]) -> None:
        """Decide whether the auth proxy is to be closed now, and remember that it was until somebody has opened it again."""
        if not self.route or not proxy:
            return
        listeners = find_listeners(machine, {port_of(self.route["base_url_sandbox"])})
        is_open = any(one["user"] == ACCOUNT for one in listeners)
        server = urlsplit(self.route["base_url_host"])
        address = server.hostname if server.hostname != "localhost" else "127.0.0.1"
        port = port_of(self.route["base_url_host"])
        engines = find_engines(machine, port, str(address), os.geteuid()) if exposure else []
        if engines and is_open and self.settings.close_proxy:
            self.close = True
            self.closed = {"at": self.now, "why": exposed(machine, port, engines).message}
        elif is_open:
            self.closed = None
        if self.closed and proxy[0].state != HEALTHY:
            proxy[0].detail += (
                f"; the watch closed it {datetime.fromtimestamp(self.closed['at']).isoformat(' ', 'seconds')}, because the engine behind "
                "it was open to the network. The playbook nemoclaw.local_inference.site opens it again"
            )


def find_engines(machine: Machine, port: int, address: str, uid: int) -> list[dict[str, Any]]:
    """Return the listeners through which others reach the server itself, past its auth proxy.

    Any user of the host may listen on another address of the server's port. The server is whoever holds the address where it is
    asked, which nobody else can have beside it; where nobody does, it is root (Docker publishes so), the account of a service, or the
    user with C(uid).
    """
    found = find_listeners(machine, [port])
    holders = {one["uid"] for one in found if plain(ipaddress.ip_address(one["address"])) == address}
    limit = system_limit(machine)
    return [
        one
        for one in open_listeners(found)
        if one["uid"] in holders or (not holders and (one["uid"] <= limit or one["uid"] == uid))
    ]


def look_at_server(route: Mapping[str, Any], endpoint: Endpoint) -> Check:
    """Return whether the server answers and lists its model, without a question to it."""
    check = Check("backend", url=endpoint.base_url)
    report = Report(endpoint.api, route["model"])
    try:
        conversation = open_conversation(endpoint, endpoint.api, start_clock(endpoint))
        conversation.model = route["model"]
        ladder = Ladder(conversation, Demands(), report, ("models",))
        ladder.validate()
        failure = ladder.doubt
    except Failure as found:
        failure = found
    entry = report.probes[0] if report.probes else None
    check.latency = entry.latency if entry else None
    if failure and failure.code in _ANSWERS:
        check.state, check.detail = HEALTHY, "answers, and its list of models does not decide"
    elif failure:
        check.state, check.code, check.detail = state_of(failure.code), failure.code, failure.message
    elif entry and entry.outcome == PASSED:
        check.state, check.detail = HEALTHY, entry.reason
    return check


def loaded(url: str, model: str) -> dict[str, Any] | None:
    """Return what Ollama says of the model in its memory, None where it is not there or Ollama does not tell.

    C(url) is where the server was asked: a route to Windows records a name that this Linux may not know.
    """
    parts = urlsplit(url)
    try:
        content = Daemon(Address(parts.hostname or "127.0.0.1", parts.port or 80)).ask("GET", "/api/ps").content
    except Failure:
        return None
    listed = content.get("models") if isinstance(content, dict) else None
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str) and is_same(one["name"], model):
            return one
    return None


def keeps_still(entry: Mapping[str, Any] | None, question: Mapping[str, Any], now: float) -> str | None:
    """Return why Ollama's model is not asked; None where a question neither loads it nor keeps it in memory for ever.

    Args:
        entry: Of C(/api/ps), None where the model is not in memory.
        question: The last one of the watch.
        now: Seconds since 1970.

    """
    if entry is None:
        return "the model is not in memory, where a question of the watch would load it"
    expires = str(entry.get("expires_at") or "")
    if not expires or expires != question.get("expires"):
        return None
    try:
        stays = datetime.fromisoformat(expires[:19]).timestamp() - now > _STAYS_S
    except (ValueError, OverflowError):
        stays = False
    return (
        None
        if stays
        else "the model was not used since the watch asked it, and another question would keep it in memory"
    )
