# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Find out what an auth proxy is and who holds its port: ours, NemoClaw's, someone else's, open, or in front of a dead backend.

NemoClaw reads any answer but 401 as good (upstream-facts N21) and once took a 502 for a wrong token (NemoClaw #2553).
Here the auth proxy is asked without a token, with a wrong one and with the right one, and its own answers carry its name.

The right one is sent only after the first two were refused, and only over a connection that the auth proxy's own account has taken:
whoever else holds the port could refuse both as the auth proxy does, and would have the token then.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..clock import Deadline
from ..failure import Failure
from ..host.machine import Account, Machine, user_name
from ..host.sockets import find_listeners, find_server_uid
from .configuration import REALM

NODE_SCRIPT = "ollama-auth-proxy.js"
PID_FILE = "ollama-auth-proxy.pid"


def is_node_proxy(pid: int | None, account: Account, proc: Path = Path("/proc")) -> bool:
    """Tell whether the process is NemoClaw's proxy, run by C(account): program, argument and owner all say so."""
    if pid is None:
        return False
    try:
        arguments = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
        owner = (proc / str(pid)).stat().st_uid
    except OSError:
        return False
    names = [Path(os.fsdecode(argument)).name for argument in arguments]
    return owner == account.uid and names[0] in ("node", "nodejs") and NODE_SCRIPT in names[1:]


def sort_out(listeners: list[dict[str, Any]], gate_user: str, account: Account) -> list[int]:
    """Return the process ids of NemoClaw's proxies among the listeners on the auth proxy's ports.

    Args:
        listeners: Of C(find_listeners), seen by root.
        gate_user: The account that our own auth proxy runs as; its listeners are fine.
        account: Whose NemoClaw it would be.

    Raises:
        Failure: C(port_taken), naming whoever else holds a port.

    """
    proxies = set()
    known = {(one["port"], one["address"]) for one in listeners if one["pid"]}
    for one in listeners:
        if one["user"] == gate_user or (one["pid"] is None and (one["port"], one["address"]) in known):
            continue
        if not is_node_proxy(one["pid"], account):
            process = (
                f"{one['process']} (process {one['pid']})" if one["pid"] else "a process that this user may not see"
            )
            raise Failure(
                "port_taken",
                f"The auth proxy needs port {one['port']}, but {process} of the user {one['user'] or one['uid']} listens on "
                f"{one['address']}. It was left running. Stop it, or choose another port for the auth proxy (nemoclaw_ollama_proxy_port, "
                f"or the port in proxy_backends).",
                **{key: one[key] for key in ("port", "address", "user", "pid", "process")},
            )
        proxies.add(int(one["pid"]))
    return sorted(proxies)


SERVING = "serving"
BACKEND_DOWN = "backend_down"
BACKEND_REFUSES = "backend_refuses"
TOKEN_REJECTED = "token_rejected"  # noqa: S105 - an outcome
OPEN = "open"
FOREIGN = "foreign"
IMPOSTOR = "impostor"
REFUSED = "refused"
SILENT = "silent"
# A verdict for servers that were just proved without the gate: serving would do for any other.
UNPROVED = "unproved"

# The auth proxy does its work with these: what is behind it is another question.
GATE_WORKS = (SERVING, BACKEND_DOWN, BACKEND_REFUSES)

# What each outcome but SERVING is called as a failure.
FAILURE_CODES = {
    BACKEND_DOWN: "backend_down",
    BACKEND_REFUSES: "backend_refuses",
    TOKEN_REJECTED: "token_rejected",
    OPEN: "proxy_open",
    FOREIGN: "proxy_foreign",
    IMPOSTOR: "proxy_impostor",
    REFUSED: "proxy_refused",
    SILENT: "proxy_silent",
    UNPROVED: "backend_unproved",
}

# Ollama, vLLM and NIM all have it, and it costs none of them anything (upstream-facts N21).
DEFAULT_PATH = "/v1/models"
# Any token of the right form that is not the right one.
_WRONG_TOKEN = "0" * 48
# An auth proxy on this host answers in a millisecond; a backend that lists its models may be busy with one.
_LIMIT_S = 5.0
_BETWEEN_TRIES_S = 0.2

# Says who took a connection where that is nobody who may see the token, and None where the token may be sent over it.
Trust = Callable[[socket.socket], "str | None"]


class Answer(NamedTuple):
    """What came back: an HTTP status, or None and why there was none.

    Attributes:
        status: HTTP status.
        own: Whether the auth proxy made the answer by itself.
        problem: C(refused), C(silent), C(foreign) or C(impostor) where there is no status.
        detail: Who the impostor is.

    """

    status: int | None
    own: bool = False
    problem: str | None = None
    detail: str = ""


class Seen(NamedTuple):
    """The verdict on an auth proxy: its outcome, the status with the token, and a sentence."""

    outcome: str
    status: int | None
    detail: str

    @property
    def passed_on(self) -> bool:
        """Whether the auth proxy passed the request with the token on, and the server behind it did what was asked."""
        return self.outcome == SERVING and self.status is not None and 200 <= self.status < 300


def address_to_ask(listeners: Iterable[dict[str, Any]]) -> str | None:
    """Return the address on which this host reaches a listener (of C(find_listeners)), or None where nobody listens."""
    found = sorted(listeners, key=lambda one: (one["scope"] == "address", one["family"] != "ipv4"))
    if not found:
        return None
    first = found[0]
    if first["scope"] == "any":
        return "127.0.0.1" if first["family"] != "ipv6" else "::1"
    return str(first["address"]).rpartition("::ffff:")[2] if first["family"] == "v4-mapped" else str(first["address"])


def trust_gate(gate_user: str, account: Account | None = None) -> Trust:
    """Return the rule by which a connection is the auth proxy's: the process that took it runs as the auth proxy's account.

    That account can do nothing but run the auth proxy, and the kernel's tables name it to everybody. With C(account), NemoClaw's own
    Node proxy will do as well, run by the user whose token it is.
    """
    try:
        gate_uid = pwd.getpwnam(gate_user).pw_uid
    except KeyError:
        gate_uid = None

    def stranger(connection: socket.socket) -> str | None:
        machine, port = Machine(), connection.getpeername()[1]
        uid = find_server_uid(machine, connection)
        if uid is not None and uid == gate_uid:
            return None
        found = [one for one in find_listeners(machine, {port}) if one["uid"] == uid]
        if account is not None and uid == account.uid and any(is_node_proxy(one["pid"], account) for one in found):
            return None
        if uid is None:
            return "a process that the kernel's tables do not show"
        process = next((f"{one['process']} (process {one['pid']})" for one in found if one["pid"]), "a process")
        return f"{process} of the user {user_name(uid) or uid}"

    return stranger


def ask(
    address: str,
    port: int,
    token: str | None,
    path: str = DEFAULT_PATH,
    limit_s: float = _LIMIT_S,
    trust: Trust | None = None,
) -> Answer:
    """Send one GET, with the token if there is one, never through a web proxy; the token stands in no message.

    With C(trust), nothing is sent to somebody whom it names.
    """
    connection = http.client.HTTPConnection(address, port, timeout=2 * limit_s)
    expired = threading.Event()
    try:
        connection.connect()
        # The socket's own time-out is for each read, so a server that trickles would never reach it.
        watch = threading.Timer(limit_s, _expire, [expired, connection.sock])
        watch.daemon = True
        watch.start()
    except ConnectionRefusedError:
        return Answer(None, problem=REFUSED)
    except OSError:
        return Answer(None, problem=SILENT)
    try:
        stranger = trust(connection.sock) if trust else None
        if stranger:
            return Answer(None, problem=IMPOSTOR, detail=stranger)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return Answer(response.status, REALM in response.headers.get("WWW-Authenticate", ""))
    except (OSError, http.client.HTTPException):
        return Answer(None, problem=SILENT if expired.is_set() else FOREIGN)
    finally:
        watch.cancel()
        connection.close()


def _expire(expired: threading.Event, connected: socket.socket) -> None:
    expired.set()  # first: the read ends as soon as the socket is shut
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def judge_refusals(anonymous: Answer, wrong: Answer | None, ours: bool) -> Seen | None:
    """Return the verdict where the answers without the token rule the auth proxy out, and None where it may be asked with it.

    Args:
        anonymous: To a request without a token.
        wrong: To one with a token that is not the host's; None where it was not asked.
        ours: Whether only our own auth proxy will do; NemoClaw's Node proxy carries no name in its answers.

    """
    if anonymous.status is None:
        return Seen(anonymous.problem or FOREIGN, None, _WITHOUT_STATUS[anonymous.problem or FOREIGN])
    for answer, what in ((anonymous, "without a token"), (wrong, "with a wrong token")):
        if answer is not None and answer.status != http.client.UNAUTHORIZED:
            return Seen(
                OPEN,
                answer.status,
                f"it answered {answer.status} to a request {what}, where the auth proxy answers 401",
            )
    if ours and not anonymous.own:
        return Seen(FOREIGN, anonymous.status, "it answers 401, but not as this auth proxy does: it is another server")
    return None


def judge(right: Answer, ours: bool) -> Seen:
    """Return the verdict on an auth proxy that refused everybody else, from its answer to the request with the host's token."""
    if right.problem == IMPOSTOR:
        return Seen(
            IMPOSTOR,
            None,
            f"what answers is not the auth proxy but {right.detail}, which did not receive the token",
        )
    if right.status is None:
        return Seen(SILENT, None, "it gave no answer to the request with the token")
    if right.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        if right.own or not ours:
            return Seen(TOKEN_REJECTED, right.status, "it refuses the token of the token file")
        return Seen(
            BACKEND_REFUSES,
            right.status,
            f"the auth proxy accepts the token; the server behind it answers {right.status}",
        )
    if right.status in (http.client.BAD_GATEWAY, http.client.GATEWAY_TIMEOUT):
        return Seen(BACKEND_DOWN, right.status, "the auth proxy works; the server behind it does not answer")
    return Seen(SERVING, right.status, "401 without the token and with a wrong one, open with it")


_WITHOUT_STATUS = {
    REFUSED: "nothing listens there",
    SILENT: f"it accepted the connection but did not answer within {_LIMIT_S:g} s",
    FOREIGN: "what listens there does not speak HTTP",
}


def probe(address: str, port: int, token: str, trust: Trust, path: str = DEFAULT_PATH, ours: bool = True) -> Seen:
    """Ask an auth proxy without a token and with a wrong one, then with the right one whom C(trust) lets have it; return the verdict."""
    anonymous = ask(address, port, None, path)
    seen = judge_refusals(anonymous, None, ours) or judge_refusals(
        anonymous, ask(address, port, _WRONG_TOKEN, path), ours
    )
    return seen or judge(ask(address, port, token, path, trust=trust), ours)


def probe_until(
    deadline: Deadline,
    address: str,
    port: int,
    token: str,
    trust: Trust,
    path: str = DEFAULT_PATH,
    serving: bool = False,
) -> Seen:
    """Return the verdict on our auth proxy, asked again while it starts or reads its tokens.

    With C(serving), also while the server behind it is away.
    """
    passing = (REFUSED, TOKEN_REJECTED, SILENT, *([BACKEND_DOWN] if serving else []))
    while True:
        seen = probe(address, port, token, trust, path)
        if seen.outcome not in passing or not deadline.remaining:
            return seen
        deadline.sleep(min(_BETWEEN_TRIES_S, deadline.remaining))
