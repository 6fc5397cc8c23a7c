# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""A sandbox of NemoClaw's own: made by C(nemoclaw onboard --non-interactive) where there is none, left alone where there is."""

from __future__ import annotations

import re
import time
from typing import Any

from ..failure import Failure, quote
from ..jobs.progress import Position, Report
from ..openshell import changes, provider
from ..openshell import route as openshell_route
from ..openshell.cli import OpenShell
from ..openshell.look import READY, find_sandbox
from ..transport.url import parse_base_url, resolve
from .desired import NO_KEY, ONBOARD, TRUSTED_HOSTS, Desired, check, environment, find_gateway, keep_route, trust
from .records import ENDPOINTS, NemoClaw, Recorded, changes_api, find_recorded
from .run import (
    API_SINCE,
    UNKNOWN_TO_IT,
    Ended,
    can_change_api,
    is_heartbeat,
    last_words,
    run_nemoclaw,
    too_old,
    unknown_to,
)

# "[3/8] Configuring inference" (upstream-facts N36, the eight steps).
_STEP = re.compile(r"\[(\d+)/(\d+)\] *(.*)")
# The image goes from Docker to the gateway without a word, for a quarter of an hour where it is large (upstream-facts N41).
_HAND_OFF = re.compile(
    r"Creating sandbox in gateway|image build completed|Uploading image|hand(?:ing)?[ -]off", re.IGNORECASE
)
_HAND_OFF_S = 1200.0
_RESOLVE_S = 10.0
# It exits with 0 then (upstream-facts N43).
_UNWELL = re.compile(r"Deployment verification found issues")

# What its words mean; the first pattern that fits the end of its output counts.
FAILURE_CODES = {
    r"onboarding run is already in progress": "nemoclaw_busy",
    r"did not become ready within": "nemoclaw_sandbox_timeout",
    r"(?i)sandbox\b.{0,60}\b(?:entered|is in|reached|reported|went into|phase|state)\b.{0,20}\berror\b|phase *[:=]? *error": (
        "nemoclaw_sandbox_error"
    ),
    r"SSRF preflight": "nemoclaw_endpoint_refused",
    r"x509: certificate signed by unknown authority": "nemoclaw_registry_untrusted",
    r"received fatal alert|invalid peer certificate|close_notify|mTLS certificates for gateway": "openshell_gateway_tls",
    r"InvalidContentType": "openshell_gateway_plaintext",
    r"gateway port is held|Gateway port \d+ is occupied": "nemoclaw_gateway_port_taken",
    UNKNOWN_TO_IT: "nemoclaw_too_old",
}
_REMEDIES = {
    "nemoclaw_busy": "Another onboarding is under way. Wait for it to finish, and run this again",
    "nemoclaw_sandbox_timeout": "Give it more time (sandbox_ready_timeout) where the image is large or the host slow; else see last_logs",
    "nemoclaw_sandbox_error": "The sandbox broke before it was ready: see last_logs and openshell logs, and run this again",
    "nemoclaw_endpoint_refused": "NemoClaw from 0.0.78 on asks a server at a private address only where "
    "NEMOCLAW_TRUSTED_PRIVATE_HOSTS names it, and a metadata or link-local address never. Name the host by which the sandbox reaches the "
    "server, and run this again",
    "nemoclaw_registry_untrusted": "Docker does not know the authority of the image registry's certificate. Put it where Docker looks "
    "(/etc/docker/certs.d/REGISTRY/ca.crt), and run this again",
    "openshell_gateway_tls": "The gateway and NemoClaw's user do not trust each other: the client certificate is of another gateway, or "
    "the gateway's is of an authority nobody knows. Register the gateway again where its certificates lie",
    "openshell_gateway_plaintext": "The gateway is registered with https and speaks plain http. Register it again with http://",
    "nemoclaw_gateway_port_taken": "Stop what holds the port, or give NemoClaw another one (NEMOCLAW_GATEWAY_PORT)",
}


class Onboarding:
    """One sandbox on one host.

    Args:
        nemoclaw: The program.
        desired: What is wanted.
        gateway: The name of NemoClaw's gateway.

    """

    def __init__(self, nemoclaw: NemoClaw, desired: Desired, gateway: str) -> None:
        self._nemoclaw, self._desired, self._gateway = nemoclaw, desired, gateway

    def plan(self, check_mode: bool) -> dict[str, Any] | None:
        """Return the result where there is nothing to do, or nothing may be done; None where NemoClaw has to be run.

        Raises:
            Failure: Of check(), C(nemoclaw_terms_not_accepted), C(nemoclaw_sandbox_not_ready), C(nemoclaw_gateway_down),
                C(route_shared), C(nemoclaw_registry_unreadable), or one of the OpenShell CLI.

        """
        desired = self._desired
        check(desired)
        cli = find_gateway(self._nemoclaw.machine, self._nemoclaw.account, self._gateway)
        if self._is_there(cli):
            return self._result(changed=False, phase=READY)
        if not desired.accepted:
            raise Failure(
                "nemoclaw_terms_not_accepted",
                f"NemoClaw must create the sandbox {desired.name}, which it does unattended only if you accept its third-party software. "
                f"Read its notice (nemoclaw onboard shows it), then set sandbox_accept_third_party_software to true. Nothing was changed.",
            )
        if cli is not None:
            # Onboarding routes the whole gateway there, with every sandbox of it.
            wanted = openshell_route.DesiredRoute(
                desired.endpoint, desired.route["model"], sandbox=desired.name, shared=desired.shared
            )
            self._refuse_to_move(cli, changes.ensure_route(cli, wanted, check_mode=True))
        return self._result(changed=True, phase=None) if check_mode else None

    def work(self, report: Report) -> dict[str, Any]:
        """Run NemoClaw, and see that it has recorded what it was told.

        Raises:
            Failure: C(nemoclaw_failed), C(nemoclaw_stalled), C(nemoclaw_busy), C(nemoclaw_sandbox_timeout),
                C(nemoclaw_not_recorded), each with C(handed_over); the gateway has its previous route.

        """
        desired = self._desired
        kept = keep_route(find_gateway(self._nemoclaw.machine, self._nemoclaw.account, self._gateway))
        previous = openshell_route.route_as_dict(kept.route)
        step = _Step(report, desired.name, float(desired.ready_timeout + desired.stall_timeout))
        started = time.monotonic()
        ended = run_nemoclaw(self._nemoclaw, ONBOARD, self._settings(), step.silence, step.take)
        elapsed = round(time.monotonic() - started, 1)
        try:
            self._check_end(ended, step)
        except Failure as failure:
            logs = [quote(line, desired.credential, 300) for line in ended.lines]
            facts: dict[str, Any] = {"step": step.name, "exit_code": ended.code, "last_logs": logs, "elapsed": elapsed}
            facts["previous"] = previous
            facts = {**failure.details, **facts, "handed_over": True}
            raise Failure(failure.code, failure.message + kept.restore(), **facts) from failure
        return {**self._result(changed=True, phase=READY), "previous": previous, "elapsed": elapsed}

    def _settings(self) -> dict[str, str]:
        found = environment(self._desired)
        url = found["NEMOCLAW_ENDPOINT_URL"]
        named = self._nemoclaw.machine.environ.get(TRUSTED_HOSTS, "")
        return {**found, **trust(url, _addresses(url), named)}

    def _refuse_to_move(self, cli: OpenShell, seen: openshell_route.RouteOutcome) -> None:
        """Stop where NemoClaw would give the provider of other sandboxes another address or key, under a route that stays the same."""
        desired = self._desired
        if (
            not seen.sandboxes
            or desired.shared != "refuse"
            or seen.before is None
            or seen.before.provider != desired.endpoint
        ):
            return
        kind, url = desired.route["provider_type"], desired.route["base_url_sandbox"]
        credentials = {ENDPOINTS[kind][2]: desired.credential or NO_KEY}
        config = {"ANTHROPIC_BASE_URL" if kind == "anthropic" else "OPENAI_BASE_URL": url}
        found = changes.ensure_provider(
            cli, provider.Desired(desired.endpoint, kind, credentials, config), check_mode=True
        )
        if found.changed and not found.known_values:
            raise Failure(
                "route_shared",
                f"NemoClaw would give the provider {desired.endpoint} the address {url} and its key, and other sandboxes of the gateway "
                f"use it as well: {', '.join(seen.sandboxes)}. So nothing was changed. Use another gateway for this sandbox, or allow "
                "it: shared: allow for nemoclaw_onboard, sandbox_change_shared_route: true for the role.",
                sandboxes=seen.sandboxes,
                route=openshell_route.route_as_dict(seen.before),
            )

    def _is_there(self, cli: Any) -> bool:
        """Tell whether NemoClaw has the sandbox, and the gateway as well.

        What NemoClaw has recorded alone, it makes anew.
        """
        name = self._desired.name
        recorded = find_recorded(self._nemoclaw.account.home, name)
        if cli is None or recorded is None:
            return False
        found = find_sandbox(cli, name)
        if found is not None and found.phase != READY:
            raise Failure(
                "nemoclaw_sandbox_not_ready",
                f"NemoClaw has the sandbox {name}, and OpenShell says that it is {found.phase}. Look at it (nemoclaw {name} status, "
                f"nemoclaw {name} logs), have it brought back (nemoclaw {name} recover, nemoclaw {name} rebuild), and run this "
                "again. Nothing was changed.",
                last_state=found.phase,
            )
        return found is not None and not self._has_to_bake(recorded)

    def _has_to_bake(self, recorded: Recorded) -> bool:
        """Tell whether the sandbox is made anew for another API (page: onboard again to bake the API path).

        Releases that change the API of a sandbox that runs leave it to nemoclaw_inference.
        """
        desired = self._desired
        if not changes_api(recorded, desired.route) or can_change_api(self._nemoclaw):
            return False
        if not desired.recreate:
            raise too_old(
                self._nemoclaw,
                API_SINCE,
                f"The sandbox {desired.name} is configured for {recorded.api}, and the route is {desired.route['api']}: to change that in "
                "a sandbox that runs",
                "With recreate: true (nemoclaw_onboard) this release makes the sandbox anew instead, and what is in it is lost. Nothing "
                "was changed.",
            )
        return True

    def _check_end(self, ended: Ended, step: _Step) -> None:
        said = " ".join(ended.lines)
        where = f" in step {step.name!r}" if step.name else ""
        last = last_words(ended, self._desired.credential)
        if ended.code is None:
            raise Failure(
                "nemoclaw_stalled",
                f"Ran nemoclaw onboard for {self._desired.name}, but it reported no progress for {step.silence():g} s{where}, so it was "
                f"stopped. Its last output: {last}. See last_logs; a slow network or disk needs a longer sandbox_stall_timeout (option "
                f"stall_timeout).",
            )
        if ended.code:
            ran = f"Ran nemoclaw onboard for {self._desired.name}, and it ended with exit status {ended.code}{where}: {last}."
            for pattern, code in FAILURE_CODES.items():
                if re.search(pattern, said):
                    if code not in _REMEDIES:
                        raise unknown_to(self._nemoclaw, ran)
                    raise Failure(code, f"{ran} {_REMEDIES[code]}.")
            raise Failure("nemoclaw_failed", f"{ran} Correct what last_logs names, and run this again.")
        if find_recorded(self._nemoclaw.account.home, self._desired.name) is None:
            raise Failure(
                "nemoclaw_not_recorded",
                f"Ran nemoclaw onboard for {self._desired.name}, and it reported success, but its list has no such sandbox. Its last "
                f"output: {last}. See last_logs, and run nemoclaw onboard by hand to see what it asks.",
            )
        if step.is_unwell:
            raise Failure(
                "nemoclaw_deployment_unwell",
                f"Ran nemoclaw onboard for {self._desired.name}, and it made the sandbox, whose agent does not answer: {last}. Look again "
                f"after a while (nemoclaw {self._desired.name} status, nemoclaw {self._desired.name} logs), and run this again.",
            )

    def _result(self, *, changed: bool, phase: str | None) -> dict[str, Any]:
        recorded = find_recorded(self._nemoclaw.account.home, self._desired.name)
        name = self._desired.name
        return {
            "changed": changed,
            "sandbox": name,
            "phase": phase,
            "recorded": {"provider": recorded.provider, "model": recorded.model} if recorded else None,
            "endpoint": self._desired.endpoint,
            "previous": None,
            "actions": [f"onboard {name}"] if changed else [],
            "elapsed": 0.0,
            "diff": {"before": f"{name}: absent\n", "after": f"{name}: onboarded by NemoClaw\n"}
            if changed
            else {"before": "", "after": ""},
        }


class _Step:
    """Which of NemoClaw's steps is under way, and how long it may be silent there."""

    def __init__(self, report: Report, sandbox: str, silence_s: float) -> None:
        self.name = ""
        self.is_unwell = False
        self._report = report
        self._sandbox = sandbox
        self._silence_s = silence_s
        self._hands_off = False

    def silence(self) -> float:
        return self._silence_s + (_HAND_OFF_S if self._hands_off else 0)

    def take(self, line: str) -> None:
        """Read a line of its output."""
        found = _STEP.search(line)
        if found:
            number, of = int(found[1]), int(found[2])
            self.name = " ".join(found[3].split()).rstrip(" .\u2500") or f"{number} of {of}"
            message = f"Onboarding {self._sandbox} with NemoClaw, {self.name}"
            self._report(Position("onboard", max(number - 1, 0), of, unit="steps", message=message))
        if not is_heartbeat(line):
            self._hands_off = bool(_HAND_OFF.search(line))
        self.is_unwell = self.is_unwell or bool(_UNWELL.search(line))


def _addresses(url: str) -> list[str]:
    """Return what the host of a URL resolves to here, nothing where only a sandbox knows it or where it may not be asked."""
    try:
        return resolve(parse_base_url(url, "openai-completions"), _RESOLVE_S)
    except Failure:
        return []
