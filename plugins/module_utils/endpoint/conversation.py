# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Ask one model on one server one question, and read the complete answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Protocol

from ..clock import Deadline
from ..failure import Failure, mask
from ..transport import client, trouble
from ..transport.trouble import SHARE_OF_A_TRY, with_retries
from ..transport.url import BaseUrl
from .dialect import MOST_FORMS, Answer, Dialect, Question, without_refused
from .questions import BUDGETS
from .report import Probe

# A stream that was asked for so many tokens and sends more than this many events for each has no end.
_EVENTS_PER_TOKEN = 4
_EVENTS_OF_ITS_OWN = 64

# Seconds for what a validation can do without.
OPTIONAL_LIMIT = 5.0

# Failures of a larger budget after which the answer to the smaller one is what there is to judge.
_BUDGET_REFUSED = ("timeout", "bad_request")


class Answering(Protocol):
    """A reply as it is read here: see Reply in transport/client.py."""

    status: int
    headers: Any

    def __enter__(self) -> Answering: ...
    def __exit__(self, *_error: Any) -> None: ...
    def body(self) -> bytes: ...
    def chunks(self) -> Iterator[bytes]: ...


class Connection(Protocol):
    """How requests get to the server: from this host (Client), or from inside a sandbox (openshell/proof.py)."""

    base: BaseUrl
    key: str
    deadline: Deadline

    def open(self, method: str, url: str, body: Any = None, limit: float | None = None) -> Answering: ...
    def with_headers(self, headers: dict[str, str]) -> Connection: ...


class Conversation:
    """Requests over one API, with what was learned on the way: the budget the model needs, the parameters it takes.

    Every request is noted on its probe: its tries, the latency of the last one, and its HTTP status. C(remarks) collects
    what works although it should not be so.
    """

    def __init__(self, client: Connection, dialect: Dialect) -> None:
        self.client = client
        self.dialect = dialect
        self.model = ""
        self.remarks: list[str] = []
        self._budget = BUDGETS[0]

    def get(self, url: str, probe: Probe, limit: float | None = None, final: Collection[str] = ()) -> dict[str, Any]:
        """Return the JSON object at a URL, trying again where that can help.

        Args:
            url: The full URL.
            probe: Where the tries are noted.
            limit: Seconds for each try.
            final: Codes that are not worth another try.

        """

        def attempt(share: float) -> dict[str, Any]:
            return self._read(probe, "GET", url, None, min(share, limit or share))

        return with_retries(attempt, self.client.deadline, final=final)

    def get_once(self, url: str, probe: Probe) -> dict[str, Any]:
        """Return the JSON object at a URL that is nice to have, without waiting for it to come back."""
        return self._read(probe, "GET", url, None, OPTIONAL_LIMIT)

    def with_bearer(self) -> Conversation | None:
        """Return the same conversation with the key in OpenAI's header, None where it is there already or there is none."""
        headers = self.dialect.bearer_headers()
        if headers is None:
            return None
        other = Conversation(self.client.with_headers(headers), self.dialect)
        other.model = self.model
        return other

    def ask_once(self, question: Question, probe: Probe, budget: int, share: float = SHARE_OF_A_TRY) -> Answer:
        """Return the answer that fits into a budget of tokens."""
        return with_retries(
            partial(self._in_an_accepted_form, question, probe, budget, False), self.client.deadline, share
        )

    def ask(
        self,
        question: Question,
        probe: Probe,
        stream: bool = False,
        enough: Callable[[Answer], bool] = lambda answer: answer.says_something,
    ) -> Answer:
        """Return the answer; one that its budget cut before there was enough of it gets larger ones.

        The page asks for that where reasoning ate the budget; which field or text the reasoning stands in does not matter.
        """
        answer = Answer()
        for number, tokens in enumerate(size for size in BUDGETS if size >= self._budget):
            attempt = partial(self._in_an_accepted_form, question, probe, tokens, stream)
            try:
                answer = with_retries(attempt, self.client.deadline, final=_BUDGET_REFUSED if number else ())
            except Failure as failure:
                if not number or failure.code not in _BUDGET_REFUSED:
                    raise
                break
            self._budget = answer.budget = tokens
            # A second budget for the benefit of the doubt, no third one.
            lost = answer.goes_in_circles and tokens > BUDGETS[0]
            if not answer.cut or enough(answer) or lost:
                break
        return answer

    def _in_an_accepted_form(self, question: Question, probe: Probe, tokens: int, stream: bool, limit: float) -> Answer:
        """Return the answer; parameters that the server refuses fall away one by one, for this and for later requests."""
        exchange = self._stream if stream else self._whole
        for _dummy in range(MOST_FORMS):
            body = self.dialect.request(self.model, question, tokens, stream)
            try:
                return exchange(body, tokens, probe, limit)
            except Failure as failure:
                form = None
                # Servers that never foresaw a parameter end in 500, or say 501.
                if failure.code in ("bad_request", "server_error") or failure.details.get("status") == 501:
                    named = failure.details.get("parameter") or ""
                    form = without_refused(self.dialect.form, body, failure.details.get("server_message", ""), named)
                if form is None:
                    raise
                self.dialect.form = form
        return exchange(self.dialect.request(self.model, question, tokens, stream), tokens, probe, limit)

    def _whole(self, body: dict[str, Any], _tokens: int, probe: Probe, limit: float) -> Answer:
        url = f"{self.client.base}{self.dialect.path}"
        return self.dialect.answer(self._read(probe, "POST", url, body, limit))

    def _stream(self, body: dict[str, Any], tokens: int, probe: Probe, limit: float) -> Answer:
        url = f"{self.client.base}{self.dialect.path}"
        started = time.monotonic()
        reader = self.dialect.stream_reader()
        answer = reader.answer
        with self._exchange(probe, "POST", url, body, limit) as reply:
            kind = reply.headers.get("Content-Type") or ""
            for count, event in enumerate(client.events(_event_stream(reply.chunks(), url, self.client.key))):
                if count > tokens * _EVENTS_PER_TOKEN + _EVENTS_OF_ITS_OWN:
                    raise Failure(
                        "stream_endless",
                        f"{url} was asked for at most {tokens} tokens and was still sending after {count} events. The server ignores the "
                        f"limit: check its version and any proxy between it and this host.",
                    )
                before = answer.deltas
                ended = reader.add(event)
                if answer.deltas > before:
                    answer.last_delta = time.monotonic() - started
                    answer.first_delta = answer.first_delta or answer.last_delta
                if ended:
                    break
        self._check_stream(url, answer, calls_wanted="tools" in body)
        if "json" in kind or "html" in kind:
            self.remark(
                f"{url} streams, but labels its stream {kind.partition(';')[0]}: clients that trust the header do not read it. It should "
                f"be text/event-stream: check the server and any proxy between it and this host."
            )
        return answer

    def remark(self, what: str) -> None:
        """Note what works although it should not be so, once."""
        if what not in self.remarks:
            self.remarks.append(what)

    def _check_stream(self, url: str, answer: Answer, calls_wanted: bool) -> None:
        missing = [name for name in self.dialect.required_events if name not in answer.events]
        lacks_text = answer.complete and not answer.cut and not calls_wanted
        if missing and not answer.tool_calls and (lacks_text or answer.faults):
            faults = f"; {answer.faults[0]}" if answer.faults else ""
            raise Failure(
                "stream_events_missing",
                f"The stream of {url} lacks the event {', '.join(missing)}, which the agent waits for "
                f"(it sent: {', '.join(sorted(answer.events)) or 'none'}{faults}).",
                missing_events=missing,
            )
        if not answer.complete:
            raise Failure(
                "stream_incomplete",
                f"The stream of {url} was interrupted after {answer.deltas} pieces of text, before its end was announced. Check the "
                f"server's log, and the timeouts and buffering of any proxy in between.",
            )

    def _read(self, probe: Probe, method: str, url: str, body: Any, limit: float) -> dict[str, Any]:
        with self._exchange(probe, method, url, body, limit) as reply:
            return trouble.parse_object(reply.body(), url, self.client.key)

    @contextmanager
    def _exchange(self, probe: Probe, method: str, url: str, body: Any, limit: float) -> Iterator[Answering]:
        """Yield a reply with status 2xx; note the exchange on its probe, whatever becomes of it."""
        probe.tries += 1
        probe.status = None
        started = time.monotonic()
        try:
            with self.client.open(method, url, body, limit) as reply:
                probe.status = reply.status
                if not 200 <= reply.status < 300:
                    key, key_name = self.client.key, self.dialect.key_name
                    raise trouble.status_failure(reply.status, url, reply.body(), reply.headers, key, key_name)
                yield reply
        except Failure as failure:
            failure.message = mask(failure.message, self.client.key)
            raise
        finally:
            probe.latency = time.monotonic() - started


def _event_stream(chunks: Iterable[bytes], url: str, key: str) -> Iterator[bytes]:
    """Yield the bytes of a reply that is an event stream, whatever its headers say.

    Raises:
        Failure: C(stream_unsupported) for JSON or a web page in one piece, C(error_in_answer) for an error in that JSON.

    """
    chunks = iter(chunks)
    head = b""
    for chunk in chunks:
        head += chunk
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if not start:
            continue
        if start in b"{[<":
            whole = head + b"".join(chunks)
            try:
                trouble.parse_object(whole, url, key)
            except Failure as failure:
                if failure.code == "error_in_answer":
                    raise
            raise Failure(
                "stream_unsupported",
                f"{url} was asked to stream and answered in one piece, without events. Agents need streams: enable streaming in the server "
                f"and in any proxy between it and this host.",
            )
        yield head
        yield from chunks
        return
