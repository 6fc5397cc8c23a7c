# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of what others write, on whatever they might write: no error but the declared one, and no more than was read.

Run with the unit tests on the newest Python (stage units-3.13), which alone has hypothesis. The examples are the same in each run.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.failure import Failure
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host import gpus, sockets
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.host.machine import Machine, find_account
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.records import (
    find_recorded,
    recorded_names,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.run import LINE_LIMIT, cause_of, text_of
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama import dropin
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.ollama.pull import Progress
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.openshell import text
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.registry.reference import find_login
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.client import Event, events
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.powershell import parse_answer
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.windows.scripts import MARK
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=60, derandomize=True, deadline=None, database=None)

# Text of the form, with anything between.
anything = st.text(max_size=300)
numbers = st.integers(min_value=0).map(str) | st.just("9" * 5000) | st.sampled_from(["", "-1", "[N/A]", "\u0663"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
deep = st.sampled_from(["[" * 100_000, '{"a":' * 100_000])


def lines(*fields: st.SearchStrategy[str], between: str) -> st.SearchStrategy[str]:
    line = st.tuples(*fields).map(between.join) | anything
    return st.lists(line, max_size=5).map("\n".join)


@few
@given(lines(numbers, anything, anything, numbers, numbers, anything, anything, between=", "))
def test_nvidia_smi(output: str) -> None:
    assert len(gpus.parse_rows(output)) <= len(output.splitlines())


hexadecimal = st.text(alphabet="0123456789ABCDEFGx", max_size=40)


@few
@given(
    lines(
        numbers,
        st.tuples(hexadecimal, hexadecimal).map(":".join),
        anything,
        st.just("0A"),
        *[numbers] * 6,
        between=" ",
    )
)
def test_proc_net_tcp(table: str) -> None:
    for listener in sockets.parse_table(table):
        json.dumps(listener)


@few
@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"data: x\n\n", b"\r", b"\n", b"event: y\r\n", b"\xef\xbb\xbf"]))
)
def test_sse(chunks: list[bytes]) -> None:
    found = list(events(chunks))
    assert found == list(events([b"".join(chunks)])), "however it is cut"
    assert sum(len(event.data) for event in found) <= sum(map(len, chunks))


@few
@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20), max_size=5
    )
)
def test_sse_gives_back_what_was_sent(sent: list[str]) -> None:
    stream = "".join(f"data: {one}\n\n" for one in sent).encode()
    assert list(events([stream])) == [Event("message", one) for one in sent]


@few
@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
        st.text(
            alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], codec="utf-8").filter(str.isprintable),
            max_size=30,
        ),
        max_size=4,
    )
)
def test_drop_ins_give_back_what_was_written(wanted: dict[str, str]) -> None:
    assert dropin.variables(dropin.render(wanted)) == wanted


@few
@given(anything)
def test_drop_ins_and_environment_files(content: str) -> None:
    dropin.variables(content)
    dropin.variables("Environment=" + content)
    dropin.adopted(content)
    assert all(len(value) <= len(content) for _line, _name, value in dropin._variables(content))


openshell = st.lists(
    anything
    | st.sampled_from(
        ["Gateway inference:", "  Provider: a", "  Model: b", "  Not configured", "Error: x", '[{"a": 1}]']
    ),
    max_size=6,
).map("\n".join) | st.tuples(
    st.just("Gateway inference:\n  Provider: a\n  Model: b\n  Version: "),
    numbers,
    st.just("\n  Timeout: "),
    numbers,
    st.just("s"),
).map("".join)


@few
@given(openshell | deep)
def test_openshell(output: str) -> None:
    text.error_of(output)
    text.fields_of(output)
    text.keys_of(output)
    for read in (text.route_of, text.json_of):
        with contextlib.suppress(ValueError):
            read(output)


@few
@given(
    st.tuples(anything, (values.map(json.dumps) | anything | deep), anything).map(
        lambda parts: f"{parts[0]}\n{MARK}{parts[1]}\n{parts[2]}"
    )
)
def test_powershell(output: str) -> None:
    answer = parse_answer(output)
    assert answer is None or isinstance(answer, dict)


config = st.fixed_dictionaries(
    {},
    optional={
        "auths": values
        | st.dictionaries(
            st.sampled_from(["nvcr.io", "https://nvcr.io/v2/"]),
            values | st.fixed_dictionaries({}, optional={"auth": values | anything, "identitytoken": values}),
        ),
        "credHelpers": values | st.dictionaries(st.just("nvcr.io"), values),
        "credsStore": values,
    },
)


@few
@given(content=config.map(json.dumps) | anything | deep)
def test_docker_config(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        find_login(Machine(environ={"PATH": "/nowhere"}), find_account()._replace(home=str(home)), "nvcr.io")
    except Failure as failure:
        assert failure.code == "docker_config_invalid"


sandboxes = st.fixed_dictionaries({}, optional={"sandboxes": values | st.dictionaries(st.just("lab"), values)})


@few
@given(content=sandboxes.map(json.dumps) | anything | deep)
def test_nemoclaws_list(content: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / ".nemoclaw").mkdir()
    (home / ".nemoclaw" / "sandboxes.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    for read in (lambda: recorded_names(str(home)), lambda: find_recorded(str(home), "lab")):
        try:
            read()
        except Failure as failure:
            assert failure.code == "nemoclaw_registry_unreadable"


@few
@given(st.lists(st.binary(max_size=5000) | st.sampled_from([b"[3/8] x", b"Run: y", "\u2717 z".encode()]), max_size=10))
def test_what_nemoclaw_prints(output: list[bytes]) -> None:
    said = [text_of(line) for line in output]
    assert all(len(line) <= LINE_LIMIT for line in said)
    assert len(cause_of(said)) <= sum(map(len, said)) + len("nothing")


line = st.fixed_dictionaries(
    {},
    optional={
        "status": values | st.sampled_from(["pulling manifest", "verifying sha256 digest", "success"]),
        "digest": values,
        "completed": values | st.integers(max_value=10**400),
        "total": values | st.integers(max_value=10**400),
    },
)


@few
@given(st.lists(line, max_size=8))
def test_ollamas_progress(told: list[dict[str, object]]) -> None:
    progress = Progress(None)
    for one in told:
        progress.take(one)
    assert progress.patience(1.0) >= 1.0
    assert len(json.dumps(progress.as_result())) < 500
