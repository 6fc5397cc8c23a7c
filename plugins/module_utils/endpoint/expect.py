# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Expectations of the user's own over the result, as JMESPath queries."""

from __future__ import annotations

import json
from typing import Any

from ..failure import Failure

try:
    import jmespath
except ImportError as error:
    jmespath = None
    JMESPATH_IMPORT_ERROR: ImportError | None = error
else:
    JMESPATH_IMPORT_ERROR = None


class LibraryMissing(Exception):
    """There are queries, and jmespath is not installed."""


def compile_queries(expectations: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Return each expectation as a compiled query and the value it must give.

    Raises:
        LibraryMissing: Only when there are expectations.
        Failure: C(expect_invalid) before anything is sent.

    """
    if expectations and jmespath is None:
        raise LibraryMissing(str(JMESPATH_IMPORT_ERROR))
    compiled = []
    for expectation in expectations:
        try:
            compiled.append((jmespath.compile(expectation["query"]), expectation["equals"]))
        except jmespath.exceptions.JMESPathError as error:
            raise Failure(
                "expect_invalid",
                f"The query {expectation['query']!r} in expect is not valid JMESPath: {str(error).splitlines()[0]}. Correct it; put "
                f"numbers and words to compare with in backticks or single quotes.",
            ) from error
    return compiled


def check(queries: list[tuple[Any, Any]], result: dict[str, Any]) -> None:
    """Check each expectation.

    Raises:
        Failure: C(expect_failed), with all that do not hold under C(unmet).

    """
    unmet = []
    for query, wanted in queries:
        try:
            found = query.search(result)
            json.dumps(found)
        except (jmespath.exceptions.JMESPathError, TypeError) as error:
            raise Failure(
                "expect_invalid",
                f"The query {query.expression!r} in expect cannot be applied to the result: {error}. Correct it.",
            ) from error
        # To Python, true is 1; to the user and to JSON it is not.
        if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
            unmet.append({"query": query.expression, "equals": wanted, "found": found})
    if unmet:
        shown = "; ".join(f"{entry['query']} is {entry['found']!r}, not {entry['equals']!r}" for entry in unmet)
        raise Failure("expect_failed", f"The endpoint works, but not as expected: {shown}.", unmet=unmet)
