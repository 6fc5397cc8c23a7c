# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The auth proxy of a host: who holds its ports, is it as it should be, does it serve, and can it be bypassed?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine, acting_as, find_account
from ..host.sockets import find_listeners, is_of_this_host, open_listeners
from ..openshell.network import Docker, Unavailable, find_docker
from ..profiles import BRIDGE
from . import probe
from .configuration import BEFORE, Gate, ProxySettings
from .token import read_token

# Docker's own network, which sandboxes come from until OpenShell has made its network.
_DOCKERS_OWN = "bridge"
_LOG_LINES = 5
_JOURNAL_S = 3.0
_SYSTEMD_S = 5.0
_BETWEEN_LOOKS_S = 0.1

# A policy that nginx runs under on Fedora and RHEL; the role does not change it (docs/proxy.md).
_SELINUX = "/sys/fs/selinux/enforce"
_MAY_CONNECT = "SELinux is enforcing here: let nginx reach it with setsebool -P httpd_can_network_connect on, as root."
_MAY_LISTEN = (
    "SELinux is enforcing here: let nginx have the port with semanage port -a -t http_port_t -p tcp {port}, as root."
)

_REMEDIES = {
    probe.REFUSED: "Start it with systemctl restart {unit}, and check its log with journalctl -u {unit}.",
    probe.SILENT: "Check its log with journalctl -u {unit}, and the load of the host.",
    probe.OPEN: "Clients of this port need no token: stop what listens there ({owner}), then run the role proxy again.",
    probe.IMPOSTOR: "Stop it: it could pass on whatever it receives. Then start the auth proxy with systemctl restart {unit}.",
    probe.FOREIGN: "Stop what listens there ({owner}), or choose another port for the auth proxy, then run the role proxy again.",
    probe.TOKEN_REJECTED: "The auth proxy and the token file differ: run the role proxy again, which reconciles them.",
    # Where the server behind it has to answer through it.
    probe.BACKEND_DOWN: "Start the server behind it, and check that it listens on 127.0.0.1.",
    probe.BACKEND_REFUSES: "Remove the server's own key, since the auth proxy passes none on; the server must accept requests for "
    "localhost.",
    probe.UNPROVED: "Check the log of the server behind it; the auth proxy's list of paths must contain the path of the proof.",
}


def at_bridge(machine: Machine, account: Account, settings: ProxySettings) -> tuple[ProxySettings, list[str]]:
    """Return the settings with the address for C(bridge), and what is to be said about it.

    Args:
        machine: The host.
        account: Whose sandboxes. Root asks the engine where this user may not.
        settings: As they were given.

    Raises:
        Failure: C(proxy_bridge_unknown) where the engine does not tell, C(proxy_settings_invalid) where nothing is left to listen on.

    """
    if BRIDGE not in settings.listen:
        return settings, []
    address, said = _address(machine, account)
    found = [address if one == BRIDGE else one for one in settings.listen]
    listen = list(dict.fromkeys(one for one in found if one))
    if not listen:
        raise Failure("proxy_settings_invalid", f"proxy_listen is {BRIDGE} alone, and {said}. Name 127.0.0.1 as well.")
    notes = [f"The auth proxy listens on {', '.join(listen)}: {said}."] if said else []
    return replace(settings, listen=listen), notes


def _address(machine: Machine, account: Account) -> tuple[str, str]:
    """Return the address, empty where there is none, and what is to be said, empty for nothing."""
    if machine.find_command("docker") is None:
        return "", "this host has no Docker, so there is no bridge for sandboxes"
    engine = _engine(machine, account)
    if engine.system == "desktop":
        return (
            "",
            "Docker Desktop's bridge is in a virtual machine, whose containers reach loopback by themselves",
        )
    try:
        network = engine.network(None, _DOCKERS_OWN)
    except Unavailable as error:
        raise _unknown(str(error)) from None
    address = str(network.gateway)
    if not is_of_this_host(address):
        return (
            "",
            f"{address}, the gateway of the network {network.name}, is not an address of this host (a rootless engine?)",
        )
    if network.name == _DOCKERS_OWN:
        return address, (
            "OpenShell's network does not exist yet, so the last one belongs to Docker's own bridge. Run this again once OpenShell has "
            "created its network, whose sandboxes reach another address"
        )
    return address, ""


def _engine(machine: Machine, account: Account) -> Docker:
    problems = []
    for one in _askers(account):
        try:
            return find_docker(machine, one)
        except Unavailable as error:
            problems.append(str(error))
    raise _unknown(problems[0])


def _askers(account: Account) -> Iterator[Account]:
    yield account
    if find_account(None).uid != account.uid:
        yield find_account(None)


def _unknown(problem: str) -> Failure:
    return Failure(
        "proxy_bridge_unknown",
        f"Asked Docker for the address of the sandboxes' bridge, on which the auth proxy should listen (proxy_listen): {problem}. Start "
        "Docker, or name the addresses in proxy_listen.",
    )


def find_own_proxies(gates: list[Gate], account: Account, gate_user: str) -> list[int]:
    """Return the process ids of NemoClaw's own proxies on the auth proxy's ports.

    Raises:
        Failure: C(port_taken), where somebody else holds one.

    """
    numbers = {gate.port for gate in gates}
    found = find_listeners(Machine(), numbers)
    # Root in a container may see less of another user's process than that user does.
    with acting_as(account):
        found += [one for one in find_listeners(Machine(), numbers) if one["pid"] and one["uid"] == account.uid]
    return probe.sort_out(found, gate_user, account)


def prove_gates(
    gates: list[Gate], account: Account, token_file: str, gate_user: str, unit: str, timeout: float
) -> list[dict[str, Any]]:
    """Return what was seen of each port of the auth proxy: C({name, port, url, outcome, status, detail}).

    Raises:
        Failure: C(token_missing) and those of C(read_token); one of C(FAILURE_CODES) for the first port that does not do its work.

    """
    with acting_as(account):
        stored = read_token(token_file)
    if stored is None:
        raise Failure(
            "token_missing",
            f"There is no token file {token_file} to query the auth proxy with. Run the role proxy, which creates one.",
            path=token_file,
        )
    deadline = Deadline(timeout)
    return [_prove(gate, stored.value, gate_user, unit, deadline) for gate in gates]


def compare_gates(
    gates: list[Gate], account: Account, token_file: str, gate_user: str, unit: str, files: list[dict[str, str]]
) -> dict[str, Any]:
    """Return whether the auth proxy is as it has to be, in one look that changes and fails nothing.

    The unit has to run, to be enabled, and to be the one that systemd has read; each of the files, C({path, content}), to be root's with
    mode 0644, white space at the end aside. The rest is as for C(prove_gates).

    Returns:
        C(converged), C(reasons) (sentences), C(restart_needed), C(found) (what the files hold now, C(content) None where there is none),
        C(wrong) (their paths), C(gates) as of C(prove_gates), empty unless all else was right, and C(exposed) as of C(find_open).

    """
    state = _unit_state(Machine(), unit)
    reasons = ["an earlier change was interrupted before it was proved"] if Machine().exists(BEFORE) else []
    wrong = [file["path"] for file in files if not _is_as_wanted(**file)]
    reasons += [f"{path} is not as it should be" for path in wrong]
    if (state.get("ActiveState"), state.get("UnitFileState")) != ("active", "enabled"):
        reasons.append(f"{unit} does not run, or is not enabled at boot")
    restart_needed = state.get("NeedDaemonReload") == "yes"
    if restart_needed:
        reasons.append(f"{unit} was changed but not reloaded")
    open_to_network = find_open(Machine(), upstream_ports(gates))
    reasons += [
        f"a server behind the auth proxy listens on {one['address']} port {one['port']}" for one in open_to_network
    ]
    rows: list[dict[str, Any]] = []
    if not reasons:
        try:
            rows = prove_gates(gates, account, token_file, gate_user, unit, 0)
        except Failure as failure:
            reasons.append(failure.message)
    return {
        "converged": not reasons,
        "reasons": reasons,
        "restart_needed": restart_needed,
        "wrong": wrong,
        "found": [{"path": file["path"], "content": _content(file["path"])} for file in files],
        "gates": rows,
        "exposed": open_to_network,
    }


def find_open(machine: Machine, ports: set[int]) -> list[dict[str, Any]]:
    """Return the listeners by which others than this host reach a server on these ports, past the auth proxy."""
    return open_listeners(find_listeners(machine, ports))


def upstream_ports(gates: list[Gate]) -> set[int]:
    """Return the ports behind the auth proxy, as far as they are known."""
    return {gate.upstream_port for gate in gates if gate.upstream_port}


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _is_as_wanted(path: str, content: str) -> bool:
    try:
        found = Path(path).lstat()
        right = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o644 and found.st_uid == os.geteuid()
        return right and Path(path).read_text(encoding="utf-8").rstrip() == content.rstrip()
    except (OSError, UnicodeDecodeError):
        return False


def _unit_state(machine: Machine, unit: str) -> dict[str, str]:
    """Return what systemd says of the unit; empty where it does not answer."""
    systemctl = machine.find_command("systemctl")
    if systemctl is None:
        return {}
    wanted = "--property=ActiveState,UnitFileState,NeedDaemonReload"
    said = machine.run([systemctl, "show", wanted, unit], _SYSTEMD_S)
    return dict(line.split("=", 1) for line in said.output.splitlines() if "=" in line) if said.code == 0 else {}


def _prove(gate: Gate, token: str, gate_user: str, unit: str, deadline: Deadline) -> dict[str, Any]:
    machine = Machine()
    found = find_listeners(machine, {gate.port})
    while not found and deadline.remaining:
        deadline.sleep(_BETWEEN_LOOKS_S)
        found = find_listeners(machine, {gate.port})
    address = probe.address_to_ask(found) or "127.0.0.1"
    trust = probe.trust_gate(gate_user)
    seen = probe.probe_until(deadline, address, gate.port, token, trust, gate.probe_path, gate.serving)
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{gate.port}{gate.probe_path}"
    enforcing = (machine.read(_SELINUX) or "").strip() == "1"
    if seen.outcome not in probe.GATE_WORKS:
        said = explain(seen, url, unit, found)
        if enforcing and seen.outcome == probe.REFUSED:
            said = f"{said} {_MAY_LISTEN.format(port=gate.port)}"
        raise Failure(
            probe.FAILURE_CODES[seen.outcome],
            said,
            gate=gate.name,
            status=seen.status,
            owners=_owners(found),
            last_logs=_last_logs(machine, unit) if seen.outcome in (probe.REFUSED, probe.SILENT) else [],
        )
    strangers = [one for one in found if one["user"] != gate_user]
    if strangers:
        one = strangers[0]
        raise Failure(
            "proxy_foreign",
            f"The auth proxy answers at {url}, but {one['process'] or 'a process'} of the user "
            f"{one['user'] or one['uid']} listens on {one['address']} port {gate.port} as well, bypassing the auth proxy. Stop it.",
            gate=gate.name,
        )
    if gate.serving and not seen.passed_on:
        said = explain(seen, url, unit, found)
        if enforcing and seen.outcome == probe.BACKEND_DOWN:
            said = f"{said} {_MAY_CONNECT}"
        code = probe.FAILURE_CODES[probe.UNPROVED if seen.outcome == probe.SERVING else seen.outcome]
        raise Failure(code, said, gate=gate.name, status=seen.status)
    if enforcing and seen.outcome == probe.BACKEND_DOWN:
        seen = seen._replace(detail=f"{seen.detail}. {_MAY_CONNECT}".rstrip("."))
    return {"name": gate.name, "port": gate.port, "url": url, **seen._asdict()}


def explain(seen: probe.Seen, url: str, unit: str, found: list[dict[str, Any]]) -> str:
    """Return what was asked, what came back, and what to do."""
    said, outcome = f"but {seen.detail}", seen.outcome
    if outcome == probe.SERVING:
        said, outcome = f"but with the token, the server behind it answers {seen.status}", probe.UNPROVED
    owner = ", ".join(dict.fromkeys(_owners(found))) or "unknown"
    return f"Asked the auth proxy at {url}, {said}. {_REMEDIES[outcome].format(unit=unit, owner=owner)}"


def _owners(found: list[dict[str, Any]]) -> list[str]:
    return [f"{one['process'] or 'a process'} of {one['user'] or one['uid']}" for one in found]


def _last_logs(machine: Machine, unit: str) -> list[str]:
    """Return the last lines of the unit's journal, as far as this user may read them."""
    journalctl = machine.find_command("journalctl")
    if journalctl is None:
        return []
    said = machine.run([journalctl, "-u", unit, "-n", str(_LOG_LINES), "-o", "cat", "--no-pager", "-q"], _JOURNAL_S)
    return said.output.splitlines()[-_LOG_LINES:] if said.code == 0 else []
