# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Who listens on a TCP port, by the kernel's own tables, who can reach that, and who may be sent a key there.

Trusted is who could take the key anyway, or is no person: root, the account whose set-up this is, and the accounts of services.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..failure import Failure
from ..transport.url import BaseUrl
from .machine import Account, Machine, user_name

_LISTEN = "0A"  # TCP_LISTEN in the kernel's include/net/tcp_states.h
_ESTABLISHED = "01"  # TCP_ESTABLISHED in the same file
# 150 bytes a line, listeners first: room for them even with 50,000 open connections behind them.
_TABLE_LIMIT = 8 * 1024 * 1024
# A thousand processes take a tenth of a second; a host whose cores are all busy may take seconds, and is not to be judged without an owner.
_OWNER_SEARCH_S = 10.0
# A server takes a connection within a millisecond; one that is stopped never does.
_ACCEPT_S = 2.0
_BETWEEN_LOOKS_S = 0.02


# An address as text and a port.
_End = tuple[str, int]


class Listener(NamedTuple):
    """A listening socket.

    Attributes:
        address: As text; a v4-mapped one as C(::ffff:127.0.0.1).
        port: TCP port.
        family: C(ipv4), C(ipv6) or C(v4-mapped) (an IPv6 socket that takes IPv4 only).
        scope: C(loopback), C(any) (every interface) or C(address) (one interface's).
        uid: Owner of the socket.
        inode: Joins it with the process that holds it.

    """

    address: str
    port: int
    family: str
    scope: str
    uid: int
    inode: int


def parse_table(text: str | None) -> list[Listener]:
    """Return the listeners of a /proc/net/tcp or /proc/net/tcp6 text; lines that are no socket are skipped."""
    listeners = []
    for line in (text or "").splitlines():
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTEN:
            continue
        try:
            host, port = fields[1].split(":")
            address = _address(host)
            listeners.append(
                Listener(
                    # Python 3.13 writes the mapped form itself, older ones in hexadecimal.
                    f"::ffff:{_mapped(address)}" if _mapped(address) else str(address),
                    int(port, 16),
                    _family(address),
                    _scope(address),
                    int(fields[7]),
                    int(fields[9]),
                )
            )
        except ValueError:
            continue
    return listeners


def find_listeners(machine: Machine, ports: Collection[int]) -> list[dict[str, Any]]:
    """Return the listeners on C(ports), sorted by port, with their owners as far as this process may see them.

    Each is C({port, address, family, scope, uid, user, pid, process}); C(pid) and C(process) are None for another
    user's process unless we are root.
    """
    found = [
        listener
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for listener in parse_table(machine.read(table, _TABLE_LIMIT))
        if listener.port in ports
    ]
    owners = find_owners(machine.path("/proc"), {listener.inode for listener in found})
    rows = []
    for listener in sorted(found, key=lambda one: (one.port, one.family, one.address)):
        pid, process = owners.get(listener.inode, (None, None))
        rows.append(
            {
                "port": listener.port,
                "address": listener.address,
                "family": listener.family,
                "scope": listener.scope,
                "uid": listener.uid,
                "user": user_name(listener.uid),
                "pid": pid,
                "process": process,
            }
        )
    return rows


def find_server_uid(machine: Machine, connection: socket.socket, limit_s: float = _ACCEPT_S) -> int | None:
    """Return the user whose process took C(connection) on this host, or None where none has, or it is not on this host.

    Asked of the connection itself, after it was made: who held the port a moment ago does not matter then. The kernel shows the
    other end of a local connection to everybody, with its inode only once a process has taken it.
    """
    ours, theirs = (_endpoint(name) for name in (connection.getsockname(), connection.getpeername()))
    deadline = time.monotonic() + limit_s
    while True:
        for own, other, uid, inode in _connections(machine):
            if (own, other) == (theirs, ours) and inode:
                return uid
        if time.monotonic() > deadline:
            return None
        time.sleep(_BETWEEN_LOOKS_S)


def find_peers(machine: Machine, port: int) -> list[str]:
    """Return the address of the other side of each connection to a port of this host that comes from elsewhere."""
    return [
        other[0]
        for own, other, _uid, _inode in _connections(machine)
        if own[1] == port and not ipaddress.ip_address(other[0]).is_loopback and other[0] != own[0]
    ]


def _connections(machine: Machine) -> Iterator[tuple[_End, _End, int, int]]:
    """Yield this end, the other end, the user id and the inode of each open connection; 0 until a process has taken it."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (machine.read(table, _TABLE_LIMIT) or "").splitlines():
            fields = line.split()
            if len(fields) < 10 or fields[3] != _ESTABLISHED:
                continue
            try:
                own, other = ((plain(_address(host)), int(port, 16)) for host, port in map(_split, fields[1:3]))
                yield own, other, int(fields[7]), int(fields[9])
            except ValueError:
                continue


def find_owners(
    proc: Path, inodes: Collection[int], limit_s: float = _OWNER_SEARCH_S
) -> dict[int, tuple[int, str | None]]:
    """Return C({inode: (pid, process name)}) for the sockets whose holder is readable, lowest process id first."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    owners: dict[int, tuple[int, str | None]] = {}
    deadline = time.monotonic() + limit_s
    pids = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()) if wanted else []
    for pid in pids:
        if len(owners) == len(wanted) or time.monotonic() > deadline:
            break
        try:
            for descriptor in (proc / str(pid) / "fd").iterdir():
                inode = wanted.get(_link_target(descriptor))
                if inode is not None and inode not in owners:
                    owners[inode] = (pid, _process_name(proc, pid))
        except OSError:  # ended meanwhile, or not ours to read
            continue
    return owners


def _link_target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


def _process_name(proc: Path, pid: int) -> str | None:
    try:
        return (proc / str(pid) / "comm").read_text(errors="replace").strip() or None
    except OSError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Decode the kernel's hexadecimal: 32-bit words in host order, which is little-endian on amd64 and arm64."""
    raw = bytes.fromhex(text)
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return ipaddress.ip_address(words)


def _split(field: str) -> tuple[str, str]:
    host, _colon, port = field.partition(":")
    return host, port


def _endpoint(name: tuple[Any, ...]) -> tuple[str, int]:
    """Return the address and the port of a socket's name, as find_server_uid compares them."""
    return plain(ipaddress.ip_address(str(name[0]).partition("%")[0])), int(name[1])


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return the address as text; both forms of an IPv4 address are one."""
    return str(_mapped(address) or address)


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return "ipv4"
    return "v4-mapped" if address.ipv4_mapped else "ipv6"


def _scope(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    judged = _mapped(address) or address
    if judged.is_loopback:
        return "loopback"
    return "any" if judged.is_unspecified else "address"


_DOCKER_PROXY = "docker-proxy"
# What servers take their address from: Ollama its environment, vLLM and llama.cpp an option.
_ADDRESS_VARIABLE = "OLLAMA_HOST"
_ADDRESS_OPTION = "--host"


def open_listeners(listeners: Iterable[dict[str, Any]], has_gate: bool = True) -> list[dict[str, Any]]:
    """Return the listeners (of C(find_listeners)) through which others than this host reach a server.

    Behind an auth proxy, that is every address but loopback: sandboxes come through the auth proxy. Without one they come by the bridge's
    address, so only what listens on all addresses counts.
    """
    return [one for one in listeners if one["scope"] == "any" or (has_gate and one["scope"] == "address")]


def is_of_this_host(host: str) -> bool:
    """Tell whether an address, or one that a name stands for, can be bound here, which the addresses of this host can."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _name, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False


def require_loopback(machine: Machine, port: int, has_gate: bool = True) -> None:
    """Let no server pass that is open to the network.

    Raises:
        Failure: C(engine_exposed), naming the addresses, who listens, and why it does as far as this process may see.

    """
    found = open_listeners(find_listeners(machine, [port]), has_gate)
    if found:
        raise exposed(machine, port, found)


def exposed(machine: Machine, port: int, found: list[dict[str, Any]]) -> Failure:
    """Return what is wrong with a port whose listeners C(found) are open to the network, and what to do."""
    where = ", ".join(dict.fromkeys(str(one["address"]) for one in found))
    first = found[0]
    process = f"{first['process']} (process {first['pid']})" if first["pid"] else "a process"
    causes = [cause for cause in (_cause(machine, one) for one in found) if cause]
    return Failure(
        "engine_exposed",
        f"Port {port} is open to the network, bypassing any proxy's token: {process} of the user {first['user'] or first['uid']} "
        f"listens on {where}. {' '.join(dict.fromkeys(causes)) or _UNSEEN} {_remedy(first)}",
        listeners=found,
    )


def tell_openness(listeners: Iterable[dict[str, Any]] | None, ports: Iterable[int]) -> str:
    """Return in words who is open to the network on these ports right now, where nobody is going to close it.

    Args:
        listeners: Those of the host, None where they cannot be seen.
        ports: Of the servers that a proxy would stand before.

    """
    shown = " or ".join(map(str, sorted(ports)))
    if listeners is None:
        return f"The listeners cannot be seen: check with ss -ltn whether port {shown} is open to the network."
    found = [one for one in listeners if one["port"] in ports and one["scope"] != "loopback"]
    if not found:
        return f"Nothing on port {shown} is open to the network right now."
    one = found[0]
    return (
        f"Port {one['port']} is open to the network right now, without a token: {one['process'] or 'a process'} of the user "
        f"{one['user'] or one['uid']} listens on {', '.join(dict.fromkeys(each['address'] for each in found))}. Stop it, and start it on "
        f"127.0.0.1 only; Ollama listens there if its environment has {_ADDRESS_VARIABLE}=127.0.0.1:{one['port']}."
    )


_UNSEEN = "This user cannot see why."


def _cause(machine: Machine, listener: dict[str, Any]) -> str | None:
    """Return why the process listens there, by what it was started with; None where that is not to be seen."""
    pid = listener["pid"]
    if pid is None:
        return None
    arguments = _words(machine, f"/proc/{pid}/cmdline")
    if listener["process"] == _DOCKER_PROXY:
        to = arguments[arguments.index("-container-ip") + 1] if "-container-ip" in arguments[:-1] else "unknown"
        return f"It is a port that Docker publishes for the container at {to} (docker ps --filter publish={listener['port']})."
    unit = _unit(machine, pid)
    told = [f"{word}" for word in _words(machine, f"/proc/{pid}/environ") if word.startswith(f"{_ADDRESS_VARIABLE}=")]
    for number, word in enumerate(arguments):
        if word == _ADDRESS_OPTION and number + 1 < len(arguments):
            told.append(f"{word} {arguments[number + 1]}")
        elif word.startswith(f"{_ADDRESS_OPTION}="):
            told.append(word)
    return f"It runs in {unit or 'no service'} and was started with {' and '.join(told) or 'no address of its own'}."


def _remedy(listener: dict[str, Any]) -> str:
    port = listener["port"]
    if listener["process"] == _DOCKER_PROXY:
        return f"Publish it only on 127.0.0.1 (-p 127.0.0.1:{port}:...)."
    if str(listener["process"] or "").startswith("ollama") or listener["user"] == "ollama":
        return "The playbook nemoclaw.local_inference.site, or the role proxy, moves it back to 127.0.0.1 if possible."
    return f"Start it only on 127.0.0.1 (vLLM: --host 127.0.0.1; Ollama: OLLAMA_HOST=127.0.0.1:{port})."


def _words(machine: Machine, path: str) -> list[str]:
    try:
        content = machine.path(path).read_bytes()
    except OSError:
        return []
    return [word for word in content.decode("utf-8", "replace").split("\0") if word]


def _unit(machine: Machine, pid: int) -> str | None:
    """Return the service that a process runs in, by its control group."""
    for line in (machine.read(f"/proc/{pid}/cgroup") or "").splitlines():
        services = [part for part in line.rpartition(":")[2].split("/") if part.endswith(".service")]
        if services:
            return services[-1]
    return None


# useradd(8), SYS_UID_MAX: below it no person logs in. login.defs may lower it.
_SYS_UID_MAX = 999
_SETTING = re.compile(r"^\s*SYS_UID_MAX\s+(\d+)", re.MULTILINE)


def system_limit(machine: Machine) -> int:
    """Return the highest user id of an account that is no person's."""
    setting = _SETTING.search(machine.read("/etc/login.defs") or "")
    return min(int(setting[1]), _SYS_UID_MAX) if setting else _SYS_UID_MAX


def find_strangers(
    listeners: Collection[dict[str, Any]], uid: int, trusted_users: Collection[str], sys_uid_max: int = _SYS_UID_MAX
) -> list[dict[str, Any]]:
    """Return the listeners (of C(find_listeners)) that a client of loopback may reach and that may not be sent a key."""
    return [
        one
        for one in listeners
        if one["scope"] != "address"
        and one["uid"] != uid
        and one["uid"] > sys_uid_max
        and one["user"] not in trusted_users
    ]


def require_trusted_listener(
    machine: Machine, url: BaseUrl, account: Account, trusted_users: Collection[str] = ()
) -> None:
    """Refuse to send a key to a port of loopback that another user of the host holds.

    A port without a listener passes: nobody answers there, or the kernel forwards it, which only root can set up.

    Raises:
        Failure: C(listener_untrusted), naming who listens.

    """
    if not url.is_loopback:
        return
    strangers = find_strangers(find_listeners(machine, [url.port]), account.uid, trusted_users, system_limit(machine))
    if not strangers:
        return
    one = strangers[0]
    user = one["user"] or one["uid"]
    raise Failure(
        "listener_untrusted",
        f"The key for {url} was not sent: {one['process'] or 'a process'} of the user {user} listens on {one['address']} port "
        f"{one['port']}, which is neither root, nor {account.name}, nor a service account. If it is the intended server, name its user in "
        f"trusted_users (endpoint_trusted_users or vllm_trusted_users in the inventory); otherwise stop it.",
        **{key: one[key] for key in ("port", "address", "user", "pid", "process")},
    )


def check_ports(ports: Iterable[int]) -> None:
    """Refuse what cannot be a TCP port.

    Raises:
        Failure: C(port_invalid), naming the value.

    """
    for port in ports:
        if not 1 <= port <= 65_535:
            raise Failure(
                "port_invalid",
                f"Asked to look at the port {port}, but TCP ports are numbered 1 to 65535. Correct the option.",
                port=port,
            )
