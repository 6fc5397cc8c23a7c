# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Whether a sandbox could reach a port of this host: found out by a container on the sandboxes' own network.

Three outcomes (the page, Authenticated Reverse Proxy; upstream-facts N22): C(reachable); C(blocked), on which nothing may be
saved; C(unavailable), which says nothing about the way and lets the work go on with a warning.
"""

from __future__ import annotations

import io
import re
import secrets
import shlex
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure
from ..host.machine import Account, Machine
from ..host.platform import WINDOWS_HOST, firewall_commands, hyper_v_command
from ..host.sockets import find_listeners
from .network import CALL_LIMIT_S, Docker, Network, Unavailable, find_docker, words_of

_PULL_LIMIT_S = 120.0
# What a sandbox calls the gateway's machine (upstream-facts O8).
SANDBOX_NAMES = ("host.openshell.internal", "host.docker.internal")
# The image that is made of the host's own busybox where no other can be had.
OWN_IMAGE = "nemoclaw-local-inference/probe:2"
_APPLETS = ("sh", "nc", "timeout", "true")
_NAME_TROUBLE = re.compile(
    r"bad address|could not resolve|not known|name resolution|Name does not resolve", re.IGNORECASE
)

# $1 host, $2 port, $3 seconds, $4 what to GET over HTTP or nothing. Some netcats know no -z (Debian's busybox); the sandbox's
# own image has bash and no netcat.
_SCRIPT = """
request="GET $4 HTTP/1.0\\r\\nHost: $1:$2\\r\\nConnection: close\\r\\n\\r\\n"
judge() {
  [ -n "$1" ] || exit 0
  case $2 in HTTP/1.*) echo "nemoclaw-answer: $2"; exit 0 ;; esac
  echo "nemoclaw-probe: it takes connections and gives no HTTP answer to GET $1" >&2
  exit 1
}
if command -v nc >/dev/null 2>&1; then
  limit=
  command -v timeout >/dev/null 2>&1 && limit="timeout $3"
  fetch() { [ -z "$4" ] || printf "$request" | $limit nc -w "$3" "$1" "$2" 2>/dev/null; }
  said=$(nc -z -w "$3" "$1" "$2" 2>&1 </dev/null) && judge "$4" "$(fetch "$@")"
  case $said in
    *invalid\\ option*|*unrecognized\\ option*|*sage:*)
      said=$(nc -w "$3" "$1" "$2" -e /bin/true 2>&1 </dev/null) && judge "$4" "$(fetch "$@")" ;;
  esac
elif command -v bash >/dev/null 2>&1; then
  talk='exec 3<>"/dev/tcp/$0/$1" && { [ -z "$2" ] || { printf "$3" >&3; cat <&3; }; }'
  said=$(timeout "$3" bash -c "$talk" "$1" "$2" "$4" "$request" 2>&1 </dev/null) && judge "$4" "$said"
  said=${said:-timed out}
else
  echo "the image has neither nc nor bash" >&2
  exit 126
fi
# netcat-openbsd says nothing of a closed port.
echo "nemoclaw-probe: ${said:-the connection was refused, or nothing came back}" >&2
exit 1
"""
# What the script says of a closed way: a container that never got to it may end with 1 as well.
_CLOSED = "nemoclaw-probe: "
_HTTP_STATUS = re.compile(r"nemoclaw-answer: HTTP/1\.\d (\d{3})")
_LIMIT_S = 5.0
_UFW_ON = re.compile(r"^ENABLED=yes\s*$", re.MULTILINE)
_CHAIN = re.compile(r"^table (\S+) (\S+) \{|^\s+chain (\S+) \{|^\s+type filter hook input\b", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What the container said: open, with the HTTP status where it was to ask for something, or closed with its words."""

    open: bool
    said: str = ""
    status: int | None = None


@dataclass
class Prober(Docker):
    """The docker command, to probe from a container. added_image: whether one was pulled or made for it."""

    added_image: bool = field(default=False)

    def have_image(self, image: str, busybox: str | None, check_mode: bool) -> str:
        """Return an image to probe from: the one asked for or one made earlier, else pulled, else made of the host's busybox.

        Raises:
            Unavailable: None can be had; in check mode, none is there.

        """
        for present in (image, OWN_IMAGE):
            if self._inspect("image", present) is not None:
                return present
        if check_mode:
            raise Unavailable(f"the image {image} is missing, and check mode gets none")
        pulled = self._run(["pull", "--quiet", image], _PULL_LIMIT_S)
        if pulled.code == 0:
            self.added_image = True
            return image
        program = busybox or self.machine.find_command("busybox")
        if program is None:
            raise Unavailable(
                f"the image {image} is not there and cannot be pulled ({words_of(pulled)}), and the host has no busybox to make one "
                "of. Name an image that the host has (one with nc, or with bash, such as the sandbox's own), or install the "
                "package busybox-static"
            )
        self._import(program)
        self.added_image = True
        return OWN_IMAGE

    def open(self, image: str, network: Network, host: str, port: int, limit_s: int, path: str = "") -> Answer:
        """Open a TCP connection from a new container and say whether that worked. The container is gone afterwards.

        With C(path), ask for it over HTTP as well: any status counts.

        Raises:
            Unavailable: The container did not run, or it could not resolve the host's name.

        """
        name = f"nemoclaw-probe-{secrets.token_hex(6)}"
        aliases = [word for alias in SANDBOX_NAMES for word in ("--add-host", f"{alias}:{network.alias}")]
        confined = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]
        words = [
            "run",
            "--rm",
            "--name",
            name,
            "--network",
            network.name,
            *aliases,
            *confined,
            "--entrypoint",
            "sh",
            image,
        ]
        arguments = ["-c", _SCRIPT, "probe", host, str(port), str(limit_s), path]
        ended = self._run([*words, *arguments], limit_s * 3 + CALL_LIMIT_S)
        if ended.code is None:
            self._run(["rm", "--force", name])
        if ended.code == 0:
            status = _HTTP_STATUS.search(ended.output)
            return Answer(True, status=int(status[1]) if status else None)
        said = words_of(ended)
        if ended.code != 1 or _CLOSED not in said:
            if image == OWN_IMAGE:
                # Made of a busybox that does not run by itself: kept, it would be found again.
                self._run(["rmi", "--force", OWN_IMAGE])
                self.added_image = False
            raise Unavailable(f"a container of the image {image} did not run on the network {network.name}: {said}")
        said = said.partition(_CLOSED)[2]
        if _NAME_TROUBLE.search(said):
            raise Unavailable(f"the name {host} does not resolve in a container of the network {network.name}: {said}")
        return Answer(False, said)

    def _import(self, program: str) -> None:
        """Make the image of a busybox that needs no libraries."""
        with tempfile.NamedTemporaryFile(prefix="nemoclaw-probe-", suffix=".tar") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                # Without an entry of its own the folder is closed to a container without capabilities, in some engines.
                folder = tarfile.TarInfo("bin")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
                content = Path(program).read_bytes()
                entry = tarfile.TarInfo("bin/busybox")
                entry.size, entry.mode = len(content), 0o755
                archive.addfile(entry, io.BytesIO(content))
                for applet in _APPLETS:
                    link = tarfile.TarInfo(f"bin/{applet}")
                    link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                    archive.addfile(link)
            file.flush()
            # The docker command may run as another user.
            Path(file.name).chmod(0o644)
            made = self._run(["import", file.name, OWN_IMAGE], _PULL_LIMIT_S)
        if made.code != 0:
            raise Unavailable(f"no image could be made of {program}: {words_of(made)}")


def find_prober(machine: Machine, account: Account) -> Prober:
    """Return the docker command with an engine that answers to this user.

    Raises:
        Unavailable: There is none, or it does not answer.

    """
    found = find_docker(machine, account)
    return Prober(machine, account, found.path, found.system)


@dataclass(frozen=True)
class Firewall:
    """kind: ufw, firewalld, nftables, iptables or unknown. zone (as a shell reads it) and chain: where the rule has to go."""

    kind: str
    zone: str | None = None
    chain: str = "inet filter input"


def find_firewall(machine: Machine, bridge: str | None = None) -> Firewall:
    """Return what decides about packets that come from a bridge.

    A front end comes first: a rule that is put beside it is gone when it loads its own. Then nftables with an input chain of
    its own, since iptables-nft shows its tables there too, then iptables.
    """
    if _UFW_ON.search(machine.read("/etc/ufw/ufw.conf") or ""):
        return Firewall("ufw")
    firewall_cmd = machine.find_command("firewall-cmd")
    if firewall_cmd and _firewalld_runs(machine, firewall_cmd):
        return Firewall("firewalld", zone=_zone_of(machine, firewall_cmd, bridge) if bridge else None)
    nft = machine.find_command("nft")
    ruleset = machine.run([nft, "list", "ruleset"], _LIMIT_S) if nft else None
    if ruleset and ruleset.code:
        # The kernel shows its rules to root alone; what the service loads is a file that everybody may read on Debian.
        chain = input_chain(machine.read("/etc/nftables.conf") or "") if _is_active(machine, "nftables") else None
    else:
        chain = input_chain(ruleset.output) if ruleset else None
    if chain:
        return Firewall("nftables", chain=chain)
    if machine.find_command("iptables"):
        return Firewall("iptables")
    return Firewall("nftables") if nft else Firewall("unknown")


def _firewalld_runs(machine: Machine, firewall_cmd: str) -> bool:
    """Tell whether it does. Without polkit it says nothing to users, and systemd does."""
    return machine.run([firewall_cmd, "--state"], _LIMIT_S).code == 0 or _is_active(machine, "firewalld")


def _is_active(machine: Machine, unit: str) -> bool:
    systemctl = machine.find_command("systemctl")
    return bool(systemctl) and machine.run([str(systemctl), "is-active", "--quiet", unit], _LIMIT_S).code == 0


def _zone_of(machine: Machine, firewall_cmd: str, bridge: str) -> str | None:
    """Return the bridge's zone, None for the default one; where only root may ask, the command that root asks by."""
    asked = machine.run([firewall_cmd, f"--get-zone-of-interface={bridge}"], _LIMIT_S)
    if asked.code == 0:
        return shlex.quote(asked.output.strip())
    return (
        None if "no zone" in asked.output else f'"$(sudo firewall-cmd --get-zone-of-interface={shlex.quote(bridge)})"'
    )


def input_chain(ruleset: str) -> str | None:
    """Return the first chain at the input hook that is not one of iptables-nft, as C(family table chain)."""
    table = chain = ""
    for found in _CHAIN.finditer(ruleset):
        if found[1]:
            table = f"{found[1]} {found[2]}"
        elif found[3]:
            chain = found[3]
        elif not (table in ("ip filter", "ip6 filter") and chain == "INPUT") and not table.startswith("ip6 "):
            return f"{table} {chain}"
    return None


def allow_command(firewall: Firewall, subnet: str, gateway: str, port: int) -> str | None:
    """Return the command that lets the sandboxes' subnet reach the port, and nothing else; None for no firewall known."""
    return _commands(firewall, subnet, gateway, port, "allow").get(firewall.kind)


def close_command(firewall: Firewall, subnet: str, gateway: str, port: int) -> str | None:
    """Return the command that takes the rule of allow_command away; no error where it is gone already."""
    return _commands(firewall, subnet, gateway, port, "close").get(firewall.kind)


def _commands(firewall: Firewall, subnet: str, gateway: str, port: int, deed: str) -> dict[str, str]:
    """Return the commands for each kind of firewall. Only the two front ends can name a rule that is to go by itself."""
    rule = f'rule family="ipv4" source address="{subnet}" destination address="{gateway}" port port="{port}" protocol="tcp" accept'
    zone = f" --zone={firewall.zone}" if firewall.zone else ""
    opens = deed == "allow"
    commands = {
        "ufw": f"sudo ufw {'' if opens else 'delete '}allow from {subnet} to {gateway} port {port} proto tcp",
        "firewalld": f"sudo firewall-cmd --permanent{zone} --{'add' if opens else 'remove'}-rich-rule='{rule}' && "
        "sudo firewall-cmd --reload",
        "iptables": f"sudo iptables {'-I' if opens else '-D'} INPUT -s {subnet} -d {gateway} -p tcp --dport {port} -j ACCEPT",
    }
    if opens:
        added = f"ip saddr {subnet} ip daddr {gateway} tcp dport {port} accept"
        commands["nftables"] = f"sudo nft insert rule {firewall.chain} {added}"
    return commands


# Rules that are gone after a reboot, unless they are kept as well (upstream-facts P8: no volatile state).
KEEP = {
    "nftables": "Put the rule into /etc/nftables.conf too, or it is gone after a reboot.",
    "iptables": "Keep it with the package iptables-persistent (netfilter-persistent save), or it is gone after a reboot.",
}

REACHABLE = "reachable"
BLOCKED = "blocked"
UNAVAILABLE = "unavailable"

# NemoClaw's own image for this (upstream-facts N22).
DEFAULT_IMAGE = "busybox@sha256:73aaf090f3d85aa34ee199857f03fa3a95c8ede2ffd4cc2cdb5b94e566b11662"
# With colons, for the name of a model and its tag.
_PATH = re.compile(r"(/[A-Za-z0-9._:/-]*)?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Desired:
    """What is to be reached, and from where: timeout in seconds, for the connection; path is asked for over HTTP."""

    host: str = "host.openshell.internal"
    port: int = 11435
    path: str = ""
    network: str | None = None
    fallback_network: str | None = None
    image: str = DEFAULT_IMAGE
    busybox: str | None = None
    timeout: int = 5


def probe(machine: Machine, account: Account, desired: Desired, check_mode: bool) -> dict[str, Any]:
    """Return the module's result.

    Raises:
        Failure: C(port_invalid), C(probe_host_invalid), C(probe_path_invalid), C(timeout_invalid): the options make no sense.

    """
    _check(desired)
    result: dict[str, Any] = {
        "changed": False,
        "outcome": UNAVAILABLE,
        "reason": None,
        "hint": None,
        "command": None,
        "close_command": None,
        "firewall": None,
        "engine": None,
        "status": None,
        "network": desired.network,
        "subnet": None,
        "gateway": None,
        "image": None,
        "host": desired.host,
        "port": desired.port,
    }
    try:
        docker = find_prober(machine, account)
        result["engine"] = docker.system
        network = docker.network(desired.network, desired.fallback_network)
        result.update(network=network.name, subnet=network.subnet, gateway=network.gateway)
        result["image"] = docker.have_image(desired.image, desired.busybox, check_mode)
        try:
            answer = docker.open(result["image"], network, desired.host, desired.port, desired.timeout, desired.path)
        finally:
            result["changed"] = docker.added_image
    except Unavailable as reason:
        result.update(
            reason="not_probed",
            hint=f"Whether a sandbox reaches {desired.host}:{desired.port} cannot be probed: {reason}. It may still work; prove it from a "
            f"sandbox.",
        )
        return result
    if answer.open:
        result.update(outcome=REACHABLE, reason="open", status=answer.status)
    elif docker.system == "desktop" and desired.host == WINDOWS_HOST:
        result.update(outcome=BLOCKED, reason="windows", hint=_of_windows(desired, answer.said))
    elif docker.system == "desktop":
        # No failure there is fatal (upstream-facts N22): the path goes through Docker Desktop's own machine.
        result.update(
            reason="not_probed",
            hint=f"A container of Docker Desktop did not reach {desired.host}:{desired.port} ({answer.said}). Prove it from a sandbox.",
        )
    else:
        result.update(outcome=BLOCKED, **explain(machine, desired, network, answer.said))
    return result


def explain(machine: Machine, desired: Desired, network: Network, said: str) -> dict[str, Any]:
    """Return why a connection failed: nobody listens, nobody listens where the bridge is, or a firewall drops it."""
    at = f"{desired.host}:{desired.port} from the network {network.name}"
    if desired.host in (*SANDBOX_NAMES, network.gateway):
        listeners = find_listeners(machine, [desired.port])
        if not listeners:
            return {
                "reason": "not_listening",
                "hint": f"A sandbox cannot reach {at}, because nothing listens on port {desired.port} of this host. Start the "
                "server or the proxy, then run this again.",
            }
        if not any(_is_open_to(listener, str(network.gateway)) for listener in listeners):
            where = ", ".join(sorted({listener["address"] for listener in listeners}))
            return {
                "reason": "wrong_address",
                "hint": f"A sandbox cannot reach {at}, because what listens on port {desired.port} does so on {where} alone. Have it "
                f"listen on {network.gateway} or on all addresses, behind the proxy's token; never open an unprotected server.",
            }
    firewall = find_firewall(machine, network.bridge)
    command = allow_command(firewall, str(network.subnet), str(network.gateway), desired.port)
    way = f"{network.subnet} to {network.gateway}, TCP port {desired.port}"
    advice = (
        f"Run this, then this play again: {command}" if command else f"Open the path from {way}, then run this again."
    )
    kept = f"{KEEP[firewall.kind]} " if firewall.kind in KEEP else ""
    return {
        "reason": "firewall",
        "firewall": firewall.kind,
        "command": command,
        "close_command": close_command(firewall, str(network.subnet), str(network.gateway), desired.port),
        "hint": f"A sandbox cannot reach {at}: {said or 'no answer'}. The host's firewall blocks the path from the containers' "
        f"bridge. {kept}{advice}",
    }


def _of_windows(desired: Desired, said: str) -> str:
    """Return what to do about a port of Windows: there is no other way to it than the one that was tried."""
    look, allow = firewall_commands(desired.port)
    return (
        f"A container of Docker Desktop does not reach {desired.host}:{desired.port}, which is Windows: {said or 'no answer'}. Either "
        "nothing listens there, or on an address that Docker Desktop does not ask (OLLAMA_HOST there), or a firewall of Windows blocks it. "
        f"Look in PowerShell on Windows: Get-NetTCPConnection -State Listen -LocalPort {desired.port} | Select-Object "
        f"LocalAddress,OwningProcess; its firewall's rules for Ollama: {look}. As administrator, this opens the port for WSL and its "
        f"containers: {allow} (with mirrored networking: {hyper_v_command(desired.port)})."
    )


def _is_open_to(listener: dict[str, Any], gateway: str) -> bool:
    return bool(listener["scope"] == "any" or listener["address"].rpartition("::ffff:")[2] == gateway)


def _check(desired: Desired) -> None:
    if not 1 <= desired.port <= 65535:
        raise Failure("port_invalid", f"The port to probe is {desired.port}. Give one between 1 and 65535.")
    if not _HOST.fullmatch(desired.host):
        raise Failure(
            "probe_host_invalid",
            f"The host to probe is {desired.host!r}, which is no name or IPv4 address. Give a name that the sandbox uses, such as "
            "host.openshell.internal.",
        )
    if not _PATH.fullmatch(desired.path):
        raise Failure(
            "probe_path_invalid",
            f"The path to ask for is {desired.path!r}. Give one that begins with / and has letters, digits, dots, colons and dashes only, "
            "such as /api/version.",
        )
    if not 1 <= desired.timeout <= 60:
        raise Failure("timeout_invalid", f"The time limit of the probe is {desired.timeout} s. Give 1 to 60 seconds.")
