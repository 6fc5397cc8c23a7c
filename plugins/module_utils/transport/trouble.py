# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What goes wrong between us and a server, worded so that the reader knows what to do, and which failures a retry can fix.

Every code here is in docs/failure-codes.md.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import time
import urllib.error
import zlib
from collections.abc import Collection
from typing import Any, Callable, TypeVar

from ..clock import Deadline
from ..failure import Failure, quote
from ..untrusted import (
    count_of,
    list_of,
    object_of,
    parse_json,
)

_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)

# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h.
_DATES = (9, 10)

# Characters of an error that are quoted, and how many of them from its end: template engines name the cause last.
_SAID, _SAID_TAIL = 300, 120

Result = TypeVar("Result")

# Codes that a wait can cure, with the most tries each is worth. A busy or loading server gets the whole time limit, a
# model that crashes does not: it will crash again (upstream-facts N18; NemoClaw #8714).
_TRIES = {"rate_limited": 1000, "server_busy": 1000, "timeout": 3, "connection_lost": 3, "server_error": 3}

# Seconds between tries: short at first, because most loads end soon, then no more often than NemoClaw's last step.
_WAITS = (1, 2, 4, 8, 15)

# A time-out must leave time for another try: each attempt gets this share of what is left.
SHARE_OF_A_TRY = 2 / 3

# Codes after which another API, another try or another probe cannot help: the user has to change something.
FINAL_CODES = frozenset(
    [
        "address_refused",
        "auth_failed",
        "ca_unreadable",
        "connection_refused",
        "dns_failed",
        "key_invalid",
        "model_ambiguous",
        "model_not_served",
        "no_models",
        "not_http",
        "proxy_failed",
        "redirected",
        "tls_failed",
        "unreachable",
        "url_credentials",
        "url_invalid",
        "url_sandbox_name",
    ]
)


def transport_failure(error: Exception, exchange: Any) -> Failure:
    """Return what an error of the socket, of TLS or of HTTP itself means.

    Args:
        error: What the library raised.
        exchange: The request it happened in: C(url), C(limit), C(connect_limit), C(timed_out), C(connecting), C(securing), C(proxy) and
            the client's base.

    """
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    url, base = exchange.url, exchange.client.base
    if exchange.connecting and exchange.proxy:
        return Failure(
            "proxy_failed",
            f"The web proxy {exchange.proxy} in the target's environment cannot be reached ({error}), so there is no path to {base.root}. "
            f"Correct the proxy, or add the host to NO_PROXY on the target.",
        )
    if exchange.connecting and (exchange.timed_out or isinstance(error, socket.timeout)):
        return Failure(
            "unreachable",
            f"{base.root} does not answer: no connection within {exchange.connect_limit:.0f} s. Check the address, that the host "
            "is up, and that no firewall drops the packets.",
        )
    timed_out = exchange.timed_out or isinstance(error, socket.timeout)
    if timed_out and exchange.securing:
        # A plain server waits for the end of a line that a TLS greeting does not have.
        return _no_tls(base, f"no handshake within {exchange.connect_limit:.0f} s")
    if timed_out:
        return Failure(
            "timeout",
            f"{url} did not finish its answer within {exchange.limit:.0f} s. If the model is large or still loading, raise "
            "nemoclaw_local_inference_timeout; otherwise check the server's log and load.",
        )
    if isinstance(error, ConnectionRefusedError):
        return Failure(
            "connection_refused",
            f"Nothing listens on {base.root}: the connection was refused. Start the server, or correct the port.",
        )
    if isinstance(error, ssl.SSLError):
        return _tls_failure(error, base)
    if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError)):
        return Failure(
            "connection_lost",
            f"{url} closed the connection before its answer was complete. Check the server's log: it may have crashed, run out of memory, "
            f"or speak HTTPS although the URL says http.",
        )
    if isinstance(error, (http.client.HTTPException, ValueError, zlib.error)):
        said = quote(str(error), exchange.client.key)
        return Failure(
            "not_http", f"The listener on {base.root} does not speak HTTP ({said}). Correct the port or the scheme."
        )
    if "unnel connection failed" in str(error):
        said = quote(str(error), exchange.client.key)
        return Failure(
            "proxy_failed",
            f"The web proxy refused the connection to {base.root} ({said}). Add the host to NO_PROXY on the target.",
        )
    if getattr(error, "errno", None) in _UNREACHABLE:
        return Failure(
            "unreachable",
            f"The target has no network path to {base.root} ({error}). Check the address and the target's network.",
        )
    return Failure("connection_lost", f"The exchange with {url} broke: {quote(str(error), exchange.client.key)}.")


def _tls_failure(error: ssl.SSLError, base: Any) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "Set ca_path (endpoint_ca_path) to the CA's certificate, or give the server a certificate issued for this name."
        if error.verify_code in _DATES:
            remedy = (
                f"Renew it, or correct the clock of this host, which says {time.strftime('%Y-%m-%d', time.gmtime())}."
            )
        return Failure("tls_failed", f"The certificate of {base.root} is not trusted: {error.verify_message}. {remedy}")
    return _no_tls(base, (error.reason or str(error)).replace("_", " ").lower())


def _no_tls(base: Any, reason: str) -> Failure:
    return Failure(
        "tls_failed",
        f"No TLS connection to {base.root}: {reason}. If the server speaks plain HTTP, write http:// in the base URL.",
    )


def too_large(url: str, limit: int) -> Failure:
    """Return the failure for an answer that no probe asks for."""
    return Failure(
        "body_too_large",
        f"{url} sent more than {limit // 1024 // 1024} MiB in answer to a small question, so reading stopped. No model server answers like "
        f"this: check the base URL.",
    )


# 404 for a model instead of a path: Ollama, vLLM, LM Studio.
_ABOUT_MODEL = re.compile(
    r"\bmodel\b.{0,120}\b(?:not found|does not exist|failed|unknown)|(?:load|unknown|no such) model", re.IGNORECASE
)


def status_failure(status: int, url: str, body: bytes, headers: Any, key: str, key_name: str) -> Failure:
    """Return what an HTTP status other than 2xx means; what the server said is quoted without the key.

    Args:
        status: The status.
        url: What was asked.
        body: Of the answer.
        headers: Of the answer.
        key: The key that was sent, empty for none.
        key_name: The variable of the environment by which a user gives it; that of the inventory is the same in lower case.

    """
    said = error_text(body, key)
    quoted = f" and replied: {said.rstrip('.')}" if said else ""
    details: dict[str, Any] = {
        "status": status,
        "server_message": said,
        "parameter": _named_parameter(body),
        "retry_after": _retry_after(headers),
    }
    answered = f"{url} answered HTTP {status}{quoted}"
    if status in (401, 403):
        wrong = "The key is not accepted: correct" if key else "The server requires a key and none was provided: set"
        remedy = f"{wrong} {key_name.lower()} in the inventory, vault-encrypted, or {key_name} in the environment."
        if body.lstrip()[:1] == b"<":
            remedy += " It is a web page that says so: what stands before the server may let this host in by other means than a key."
        return Failure("auth_failed", f"{answered}. {remedy}", **details)
    if status in (404, 405, 501):
        remedy = "Check the base URL: for OpenAI-compatible servers it usually ends in /v1, for Anthropic-compatible ones it does not."
        if details["parameter"] == "model" or _ABOUT_MODEL.search(said):
            remedy = "The server has no such model, or cannot load it: set nemoclaw_model to one that it serves, or load it there."
        return Failure("not_found", f"{answered}. {remedy}", **details)
    if 300 <= status < 400:
        target = quote(headers.get("Location", "nowhere"), key)
        remedy = "Redirects are not followed, since the key would go with them: use the final URL."
        return Failure("redirected", f"{url} answered HTTP {status}, redirecting to {target}. {remedy}", **details)
    if status == 429:
        return Failure(
            "rate_limited",
            f"{answered}. The server takes no more requests now: lower its load, or raise its limit.",
            **details,
        )
    if status in (408, 502, 503, 504, 529):
        return Failure(
            "server_busy", f"{answered}. The model may still be loading, or the backend behind it is down.", **details
        )
    if status == 413:
        remedy = (
            "Raise the limit on the size of requests in what stands before the server (nginx client_max_body_size)."
        )
        return Failure("bad_request", f"{answered}. An agent's request is too long for it. {remedy}", **details)
    if status >= 500:
        return Failure("server_error", f"{answered}. Check the server's log: the model failed to run.", **details)
    return Failure("bad_request", f"{answered}. The server does not accept the request an agent sends.", **details)


def _retry_after(headers: Any) -> int | None:
    """Return the seconds a server asks to wait; the date form is not worth its clock skew."""
    return count_of(headers.get("Retry-After"))


def _named_parameter(body: bytes) -> str | None:
    """Return the request's parameter that an error names: C(error.param) of OpenAI's shape, C(detail[].loc) of FastAPI's."""
    try:
        content = object_of(parse_json(body))
    except ValueError:
        return None
    named = [object_of(content.get("error")).get("param"), content.get("param")]
    for entry in map(object_of, list_of(content.get("detail"))):
        named += list_of(entry.get("loc"))[1:2]
    return next((quote(name, "", 60) for name in named if isinstance(name, str) and name), None)


def error_text(body: bytes, key: str) -> str:
    """Return the reason in an error body: the fields in the order of upstream-facts N24, else the body."""
    text = body.decode("utf-8", errors="replace")
    try:
        content = parse_json(text)
    except ValueError:
        return quote(text, key, _SAID, _SAID_TAIL)
    found = object_of(content)
    inner = found.get("error")
    candidates = [inner.get(name) for name in ("message", "details")] if isinstance(inner, dict) else [inner]
    candidates += [found.get(name) for name in ("message", "detail", "details")]
    for candidate in candidates:
        if isinstance(candidate, str) and candidate:
            return quote(candidate, key, _SAID, _SAID_TAIL)
    return quote(text, key, _SAID, _SAID_TAIL)


def parse_object(body: bytes, url: str, key: str) -> dict[str, Any]:
    """Return a successful answer's JSON object.

    Raises:
        Failure: C(not_json) for web pages and other text, C(error_in_answer) for an error under status 200.

    """
    try:
        content = parse_json(body)
    except ValueError as error:
        start = body.lstrip()[:200].decode("utf-8", errors="replace")
        kind = "a web page" if start.startswith("<") else "something that is not JSON" if start else "nothing"
        shown = f" ({quote(start, key, 80)})" if start else ""
        if start.startswith(("data:", "event:")):
            raise Failure(
                "not_json",
                f"{url} was asked for an answer in one piece, and streamed one{shown}: the server, or what stands between, passes over "
                "stream: false. Update it: agents ask both ways.",
            ) from error
        raise Failure(
            "not_json",
            f"{url} answered HTTP 200 with {kind}{shown}. Another program may listen on that port, or the base URL leads to the server's "
            f"web interface: correct it; it usually ends in /v1.",
        ) from error
    if not isinstance(content, dict):
        raise Failure(
            "not_json",
            f"{url} answered with JSON that is not an object ({quote(str(content), key, 80)}). Correct the base URL.",
        )
    if content.get("error"):
        raise Failure(
            "error_in_answer",
            f"{url} answered HTTP 200, but the body reports an error: {error_text(body, key).rstrip('.')}. Check the server's log.",
        )
    return content


def with_retries(
    attempt: Callable[[float], Result],
    deadline: Deadline,
    share: float = SHARE_OF_A_TRY,
    final: Collection[str] = (),
) -> Result:
    """Return what the attempt returns, trying again while that can help and the deadline allows it.

    Args:
        attempt: Called with the seconds it may take.
        deadline: The limit over everything.
        share: How much of the remaining time one attempt may take.
        final: Codes that are not worth another try this time.

    Raises:
        Failure: The last one; its sentence counts the tries when there were several.

    """
    tries, first = 0, deadline.remaining * share
    while True:
        tries += 1
        try:
            return attempt(deadline.remaining * share)
        except Failure as failure:
            wait = float(_WAITS[min(tries, len(_WAITS)) - 1])
            wait = max(wait, failure.details.get("retry_after") or 0)
            most = 1 if failure.code in final else _TRIES.get(failure.code, 1)
            if tries >= most or wait >= deadline.remaining:
                if tries > 1:
                    # The last one gets what is left.
                    longer = f"; the first one had {first:.0f} s" if failure.code == "timeout" else ""
                    at = f"{deadline.elapsed:.0f} s into the limit of {deadline.seconds:.0f} s"
                    failure.message += f" This was try {tries}, {at}{longer}."
                raise
            deadline.sleep(wait)
