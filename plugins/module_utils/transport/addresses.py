# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""Which addresses a model server may have: private ones are what we are for, a cloud's metadata service never."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from typing import Union

from ..failure import Failure
from .url import BaseUrl

IpAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

# They hand out the machine's credentials to whoever asks. 169.254.169.254 and its like are link-local and refused as such.
_METADATA_ADDRESSES = {
    ipaddress.ip_address("100.100.100.200"): "Alibaba Cloud",
    ipaddress.ip_address("168.63.129.16"): "Azure",
    ipaddress.ip_address("192.0.0.192"): "Oracle Cloud",
    ipaddress.ip_address("fd00:ec2::254"): "AWS",
    ipaddress.ip_address("fd20:ce::254"): "Google Cloud",
}
_METADATA_NAMES = ("metadata", "metadata.google.internal", "metadata.goog", "instance-data")

# RFC 6598: what Tailscale and carriers use inside their networks; Python does not call it private.
_SHARED = ipaddress.ip_network("100.64.0.0/10")

# RFC 6052 and RFC 3056: IPv6 forms that carry an IPv4 address.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(url: BaseUrl, limit: float) -> list[str]:
    """Return the addresses of the URL's host, each of them allowed.

    Args:
        url: The server.
        limit: Seconds to wait for the resolver, which has no time limit of its own.

    Raises:
        Failure: C(address_refused), C(dns_failed).

    """
    if url.host in _METADATA_NAMES:
        raise Failure(
            "address_refused",
            f"{url.host} is a cloud's metadata service. Give the base URL of the model server itself.",
        )
    answers: queue.Queue[list[str] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            answers.put([str(entry[4][0]) for entry in found])
        except (OSError, UnicodeError) as error:
            answers.put(OSError(str(error)))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=max(limit, 0))
    except queue.Empty:
        raise Failure("dns_failed", _unresolved(url, f"no answer within {limit:.0f} s")) from None
    if isinstance(answer, OSError):
        raise Failure("dns_failed", _unresolved(url, str(answer)))
    addresses = list(dict.fromkeys(answer))
    for address in addresses:
        check_address(url.host, address)
    return addresses


def is_local(addresses: list[str]) -> bool:
    """Tell whether these are addresses of this host or its own network, which no web proxy can reach better."""
    parsed = [_embedded_ipv4(_parse(address)) for address in addresses]
    return all(address.is_private or address in _SHARED for address in parsed)


def check_address(host: str, text: str) -> None:
    """Refuse an address that no model server has.

    Raises:
        Failure: C(address_refused).

    """
    address = _embedded_ipv4(_parse(text))
    if address.is_loopback:
        return
    if address in _METADATA_ADDRESSES or address.is_link_local:
        kind = "a cloud's metadata service or a link-local address"
    elif address.is_unspecified:
        kind = "no address to connect to: write 127.0.0.1 for this host"
    elif address.is_multicast or address.is_reserved:
        kind = "a multicast or reserved address"
    else:
        return
    where = text if host == text else f"{host} ({text})"
    raise Failure("address_refused", f"{where} is {kind}. Give the base URL of the model server itself.")


def _parse(text: str) -> IpAddress:
    return ipaddress.ip_address(text.partition("%")[0])


def _embedded_ipv4(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 form carries, so that no spelling gets round the rules."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _unresolved(url: BaseUrl, why: str) -> str:
    if url.host == "host.docker.internal":
        return (
            "host.docker.internal does not resolve on this host: Docker Desktop gives that name to containers and WSL. "
            f"For a server on this host write {url.with_host('127.0.0.1')}; the route for the sandbox is derived from it."
        )
    return (
        f"The host name {url.host} cannot be resolved on the target ({why}). Check the spelling in {url}, "
        "the target's DNS, or use the server's IP address."
    )
