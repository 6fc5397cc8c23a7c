# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The program of the watch: C(python3 watch.pyz run), by the timer of systemd or by cron, C(status) for people, and what it keeps.

It is packed from the collection's own code, so that it sees what inference_status sees, and needs Python's standard library alone.
No secret is in what it keeps, but addresses of servers are: that is closed as the route record is. The metrics are for others to read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..host.machine import find_account, read_file
from ..host.replace import replace_file
from ..proxy.token import token_path
from ..route.record import record_path
from ..status.check import Check
from ..status.metrics import Sample, exposition, of_status
from ..status.states import FINE, UNHEALTHY
from ..untrusted import list_of, object_of, parse_json
from . import layout
from .layout import HISTORY, LAST, METRICS, SCHEMA, WatchSettings
from .look import Run

# Runs that found the same are one entry, so that these are changes: weeks of a usual host, and at most some 60 kB.
LIMIT = 200
_DETAIL = 200
_CHECK = {one.name for one in fields(Check)}
HEALTHY, NOT_HEALTHY, NO_RESULT = 0, 1, 2
# What the journal takes for priorities, sd-daemon(3).
_ERROR, _NOTICE = "<3>", "<5>"
_CODES = {"watch_ended": "The watch's run was stopped or failed ({reason}). Check journalctl -u nemoclaw-watch."}


def read_last(folder: str) -> dict[str, Any]:
    """Return the result of the last run, empty where there is none that this release can read."""
    last = object_of(_read(folder, LAST))
    checks = [*list_of(last.get("checks")), *filter(None, [object_of(last.get("question")).get("check")])]
    return last if last.get("schema") == SCHEMA and all(map(_is_check, checks)) else {}


def read_history(folder: str) -> list[dict[str, Any]]:
    """Return the entries, the newest last; empty where there are none that can be read."""
    return [one for one in list_of(_read(folder, HISTORY)) if _is_entry(one)]


def _is_check(found: Any) -> bool:
    """Tell whether this release can make a check of it again."""
    return isinstance(found, dict) and {*found} == _CHECK and isinstance(found["name"], str)


def _is_entry(found: Any) -> bool:
    one = object_of(found)
    numbers = all(isinstance(one.get(name), (int, float)) for name in ("since", "until", "runs"))
    return numbers and isinstance(one.get("detail"), str) and isinstance(one.get("codes"), list) and "healthy" in one


def write(folder: str, name: str, content: Any) -> None:
    """Replace a file of the state folder in one step; a string as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    replace_file(str(Path(folder) / name), text, 0o644 if name == METRICS else 0o600)


def add(history: list[dict[str, Any]], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the history with a result; one that found the same as the newest entry is counted there."""
    wrong = [one for one in result["checks"] if one["state"] not in FINE]
    seen = {
        "healthy": result["healthy"],
        "states": {one["name"]: one["state"] for one in result["checks"]},
        "codes": [one["code"] for one in wrong],
        "closed": result["closed"] is not None,
    }
    newest = history[-1] if history else {}
    if all(newest.get(name) == value for name, value in seen.items()):
        return [*history[:-1], {**newest, "until": result["at"], "runs": newest.get("runs", 1) + 1}]
    detail = wrong[0]["detail"][:_DETAIL] if wrong else ""
    entry = {"since": result["at"], "until": result["at"], "runs": 1, **seen, "detail": detail}
    return [*history, entry][-LIMIT:]


def _read(folder: str, name: str) -> Any:
    try:
        return parse_json(read_file(Path(folder) / name).decode("utf-8"))
    except (OSError, ValueError):
        return None


def main(argv: list[str], version: str) -> int:
    """Do what the words say, and return the exit status: 0 healthy, 1 not healthy, 2 no result."""
    options = _parser(version).parse_args(argv)
    work: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": run,
        "ended": ended,
        "status": status,
        "history": show,
    }
    try:
        return work[options.command](options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        # 1 is an answer, and a traceback would end with it.
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}, in {where.name} ({Path(where.filename).name}, line {where.lineno})"
        sys.stderr.write(f"{_mark(_ERROR)}The watch could not do its work: {said}\n")
        return NO_RESULT


def run(options: argparse.Namespace) -> int:
    """Look once, write what was found, and say what has changed."""
    settings, folder = _settings(options.settings), options.state
    Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
    previous = read_last(folder)
    entries = read_history(folder)
    this = Run(settings, previous)
    this.look()
    if this.close:
        # Whoever runs this by hand as root makes no file elsewhere, by a link that the owner of the folder left.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(Path(folder, layout.FLAG), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    # A question may hang for its whole limit: until then the rest is known.
    _write(folder, this.result(), entries, final=False)
    this.ask()
    result = this.result()
    _write(folder, result, entries, final=True)
    _tell(previous, result)
    return HEALTHY if result["healthy"] else NOT_HEALTHY


def ended(options: argparse.Namespace) -> int:
    """Note a run that systemd ended, or that broke, as one; after any other do nothing."""
    reason = os.environ.get("SERVICE_RESULT", "success")
    if reason == "success":
        return HEALTHY
    settings, previous = _settings(options.settings), read_last(options.state)
    this = Run(settings, previous)
    this.route = previous.get("route")
    check = Check("watch", UNHEALTHY)
    check.code = "watch_ended"
    check.detail = _CODES[check.code].format(reason=reason)
    this.checks = [Check(**one) for one in previous.get("checks") or [] if one["name"] != "watch"] + [check]
    result = this.result()
    _write(options.state, result, read_history(options.state), final=True)
    _tell(previous, result)
    return NOT_HEALTHY


def status(options: argparse.Namespace) -> int:
    """Print the last result."""
    settings, last = _settings(options.settings), read_last(options.state)
    if "checks" not in last:
        _put(f"There is no result in {options.state} yet. Check systemctl status {layout.TIMER}.")
        return NO_RESULT
    age = time.time() - last["at"]
    for line in last["lines"]:
        _say(line)
    if last["closed"]:
        _say(f"Auth proxy: closed by the watch {_ago(time.time() - last['closed']['at'])}: {last['closed']['why']}")
    _put(f"Looked:     {_ago(age)}")
    if age > 3 * settings.interval + settings.timeout + layout.LOOK_LIMIT:
        _put(
            f"            The watch looks every {settings.interval} s, so this is stale. Check systemctl status {layout.TIMER}."
        )
        return NO_RESULT
    return HEALTHY if last["healthy"] else NOT_HEALTHY


def show(options: argparse.Namespace) -> int:
    """Print the history, the newest first."""
    for one in reversed(read_history(options.state)):
        state = "healthy" if one["healthy"] else f"not healthy ({', '.join(map(str, one['codes']))})"
        runs = f"{one['runs']} run{'' if one['runs'] == 1 else 's'}"
        _say(f"{_moment(one['since'])} to {_moment(one['until'])}  {state}, {runs}  {one['detail']}".rstrip())
    return HEALTHY


def _settings(path: str) -> WatchSettings:
    """Return the settings of the file; without one those of the user that this runs as."""
    try:
        values = object_of(parse_json(read_file(path).decode("utf-8")))
    except FileNotFoundError:
        values = {}
    if not {"user", "home", "record", "token"} <= set(values):
        account = find_account()
        own = {"user": account.name, "home": account.home, "host": os.uname().nodename}
        values = {**own, "record": record_path(account.home), "token": token_path(account.home), **values}
    return WatchSettings.of(values)


def _write(folder: str, result: Mapping[str, Any], entries: list[dict[str, Any]], final: bool) -> None:
    write(folder, layout.LAST, result)
    write(folder, layout.METRICS, metrics(result))
    if final or not result["healthy"]:
        write(folder, layout.HISTORY, add(entries, result))


def metrics(result: Mapping[str, Any]) -> str:
    """Return the text for the node exporter."""
    host = result["host"]
    samples = of_status(host, result["route"], result["checks"], result["at"], result["last_success"])
    samples.append(Sample("proxy_closed", result["closed"] is not None, {"host": host}))
    if result["last_failure"]:
        code = str(result["last_failure"]["code"])
        samples.append(
            Sample("last_failure_timestamp_seconds", result["last_failure"]["at"], {"host": host, "code": code})
        )
    return exposition(samples)


def _tell(previous: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Say in the journal what is another than before: a line for each check that went wrong, and one when all is well again."""
    before = {one["name"]: one["state"] for one in previous.get("checks") or []}
    for one in result["checks"]:
        if one["state"] not in FINE and before.get(one["name"]) != one["state"]:
            _put(f"{_mark(_ERROR)}{one['name']} is {one['state']}: {one['detail']}")
    if result["healthy"] and not previous.get("healthy"):
        _put(f"{_mark(_NOTICE)}The local inference of this host works.")
    if result["closed"] and result["closed"] != previous.get("closed"):
        _put(f"{_mark(_ERROR)}The auth proxy is to be closed: {result['closed']['why']}")


def _put(line: str) -> None:
    """Print a line; ansible-test takes a print in module_utils for one that a module's result would drown in."""
    sys.stdout.write(f"{line}\n")


def _say(line: str) -> None:
    """Print a line of a file that is another user's where root reads it: nothing in it paints on the terminal."""
    _put("".join(one if one.isprintable() else "?" for one in line))


def _mark(priority: str) -> str:
    return priority if os.environ.get("JOURNAL_STREAM") else ""


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 600 else f"{seconds / 60:.0f} min ago"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _parser(version: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="watch.pyz",
        description="Check whether this host's recorded inference route works, as the playbook nemoclaw.local_inference.status does.",
        epilog="Exit status: 0 healthy, 1 not healthy, 2 no result.",
    )
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--settings", default=layout.SETTINGS, help="the settings file (%(default)s)")
    parser.add_argument(
        "--state", default=os.environ.get("STATE_DIRECTORY", layout.STATE), help="the state folder (%(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="look, and write result, history and metrics into the state folder")
    commands.add_parser("status", help="print the last result")
    commands.add_parser("history", help="print what has changed, the newest first")
    commands.add_parser("ended", help="note a run that was ended; the service's own")
    return parser
