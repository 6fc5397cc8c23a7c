# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Base URLs in one normalised form per server, and addresses: private ones are expected, a cloud's metadata service is refused.

Rules: upstream-facts N23, with the later character rules.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Union
from urllib.parse import unquote, urlsplit

from ..failure import Failure

# upstream-facts N23: everything else is a shell metacharacter, a control character, or has to be percent-encoded.
_ALLOWED = re.compile(r"[A-Za-z0-9_./:=,@%+\-\[\]~]")

# What people paste after the base (upstream-facts N23); longest first.
_OPENAI_ENDINGS = ("/chat/completions", "/completions", "/responses", "/models")
_ANTHROPIC_ENDINGS = ("/v1/messages", "/v1/models", "/v1", "/messages", "/models")

# Names that mean something only in the sandbox.
_SANDBOX_NAMES = ("host.openshell.internal", "inference.local")

_EXAMPLE = "Write it like http://localhost:8000/v1."


@dataclass(frozen=True)
class BaseUrl:
    """A normalised base URL; C(host) is lower-case and without brackets, C(path) has no trailing slash."""

    scheme: str
    host: str
    explicit_port: int | None
    path: str

    @property
    def port(self) -> int:
        """The port, or the scheme's own."""
        return self.explicit_port or (443 if self.scheme == "https" else 80)

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.explicit_port is None else f"{host}:{self.explicit_port}"

    @property
    def root(self) -> str:
        """The server itself, without the path."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def is_loopback(self) -> bool:
        """True for localhost and every loopback address: inside a sandbox they mean the sandbox."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_host(self, host: str) -> BaseUrl:
        """Return the same URL on another host."""
        return replace(self, host=host)

    def __str__(self) -> str:
        return f"{self.root}{self.path}"


def parse_base_url(text: str, api: str, *, for_sandbox: bool = False) -> BaseUrl:
    """Return the normalised base URL of a server.

    Args:
        text: What the user wrote; a pasted C(/chat/completions) and the like is taken off.
            C(/v1) is the user's to write for the OpenAI APIs and taken off for C(anthropic-messages).
        api: One of the three APIs.
        for_sandbox: Allow the names that exist only inside the sandbox.

    Raises:
        Failure: C(url_invalid), C(url_credentials) or C(url_sandbox_name).

    """
    text = text.strip()
    _check_characters(text)
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        if "@" in text:
            raise _credentials() from None
        raise Failure("url_invalid", f"The base URL {text!r} cannot be read: {error}. {_EXAMPLE}") from error
    known_scheme = parts.scheme in ("http", "https")
    # Without its scheme, "user:password@host" is the path of a scheme "user".
    if parts.username is not None or ("@" in text and not known_scheme):
        raise _credentials()
    if not known_scheme:
        raise Failure("url_invalid", f"The base URL {text!r} is not http:// or https://. {_EXAMPLE}")
    if not host or port == 0:
        raise Failure("url_invalid", f"The base URL {text!r} names no {'port' if host else 'host'}. {_EXAMPLE}")
    if host in _SANDBOX_NAMES and not for_sandbox:
        raise Failure(
            "url_sandbox_name",
            f"{host} is a name that exists only inside the sandbox, so this host cannot prove the server there. Set the URL by which this "
            f"host reaches it (for a server on this host: http://127.0.0.1:PORT/v1); the route for the sandbox is derived from it.",
        )
    if ".." in parts.path.split("/"):
        raise Failure("url_invalid", f"The base URL {text!r} has '..' in its path. Write the path it leads to.")
    endings = _ANTHROPIC_ENDINGS if api == "anthropic-messages" else _OPENAI_ENDINGS
    return BaseUrl(parts.scheme, host, port, _strip_endings(parts.path, endings))


def _credentials() -> Failure:
    """Return the failure that never shows the URL, whatever else is wrong with it."""
    return Failure(
        "url_credentials",
        "The base URL holds a user name or password. Remove it, rotate it, and set the key in COMPATIBLE_API_KEY "
        "(COMPATIBLE_ANTHROPIC_API_KEY for Anthropic-compatible servers), where it is kept out of logs.",
    )


def _check_characters(text: str) -> None:
    if not text:
        raise Failure("url_invalid", f"The base URL is empty. Set nemoclaw_endpoint_url. {_EXAMPLE}")
    for character in text:
        if _ALLOWED.match(character):
            continue
        if character in "?#":
            raise Failure(
                "url_invalid",
                f"The base URL has a {'query' if character == '?' else 'fragment'} ({character!r}). A base URL ends with its path; set "
                f"keys in COMPATIBLE_API_KEY, where they are kept out of logs.",
            )
        raise Failure(
            "url_invalid",
            f"The base URL contains the character {character!a}, which no base URL needs. Percent-encode it in a path, "
            f"and write international host names in their xn-- form. {_EXAMPLE}",
        )


def _strip_endings(path: str, endings: tuple[str, ...]) -> str:
    path = path.rstrip("/")
    for ending in endings:
        if path.endswith(ending):
            return path[: -len(ending)].rstrip("/")
    return path


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
            f"{url.host} is a cloud's metadata service. Use the base URL of the model server itself.",
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
        kind = "not an address to connect to: write 127.0.0.1 for this host"
    elif address.is_multicast or address.is_reserved:
        kind = "a multicast or reserved address"
    else:
        return
    where = text if host == text else f"{host} ({text})"
    raise Failure("address_refused", f"{where} is {kind}. Use the base URL of the model server itself.")


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
            f"host.docker.internal does not resolve on this host: Docker Desktop provides that name to containers and WSL. For a server on "
            f"this host write {url.with_host('127.0.0.1')}; the route for the sandbox is derived from it."
        )
    return (
        f"The host name {url.host} cannot be resolved on the target ({why}). Check the spelling in {url}, "
        "the target's DNS, or use the server's IP address."
    )


def proxy_secrets(environ: Mapping[str, str]) -> list[str]:
    """Return what must be shown of no web proxy of an environment: the passwords, and the addresses that have one in them."""
    found = []
    for variable, value in environ.items():
        if variable.lower().endswith("_proxy") and "@" in value:
            password = value.rpartition("@")[0].rpartition(":")[2]
            found += [value, password, unquote(password)]
    return list(dict.fromkeys(one for one in found if one))
