# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Write what the real OpenShell CLIs print into tests/unit/fixtures/openshell: one JSON file for each release.

    OPENSHELL_TEST_HOME=FOLDER python record_openshell.py

Ids, ports and times are replaced, so recording again changes nothing unless a release or the stand-in gateway changed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from openshell_parts import RELEASES, cli, serving

FIXTURES = Path(__file__).resolve().parents[1] / "unit" / "fixtures" / "openshell"
# A release that renamed the inference calls, and one that has the old names: each refuses the other's.
_OTHER = {"0.0.44": "0.0.111", "0.0.83": "0.0.111", "0.0.111": "0.0.83"}
_VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "00000000-0000-4000-8000-000000000000"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "2026-11-22 12:00:00"),
    (re.compile(r"127\.0\.0\.1:\d{5}"), "127.0.0.1:18080"),
    (re.compile(r"\[\d{10}\.\d{3}\]"), "[1795350000.000]"),
)

_CREATE = ("provider", "create", "--name", "lab", "--type", "openai", "--credential", "OPENAI_API_KEY")
_URL = ("--config", "OPENAI_BASE_URL=http://host.openshell.internal:11435/v1")
_SET = ("inference", "set", "--provider", "lab", "--model", "m")
_SANDBOX = ("sandbox", "create", "--name")
# In this order, on one gateway.
_COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("status", ("status",)),
    ("status-json", ("status", "-o", "json")),
    ("inference-get-none", ("inference", "get")),
    ("provider-get-absent", ("provider", "get", "lab")),
    ("provider-create", (*_CREATE, *_URL)),
    ("provider-create-again", _CREATE),
    ("provider-get", ("provider", "get", "lab")),
    ("provider-list-json", ("provider", "list", "-o", "json")),
    ("inference-set-unknown", ("inference", "set", "--no-verify", "--provider", "nobody", "--model", "m")),
    ("inference-set-verify", _SET),
    ("inference-set", (*_SET, "--no-verify", "--timeout", "180")),
    ("inference-get", ("inference", "get")),
    ("inference-set-default", (*_SET, "--no-verify")),
    ("inference-get-default", ("inference", "get")),
    ("sandbox-list-empty", ("sandbox", "list", "-o", "json")),
    ("sandbox-create-broken", (*_SANDBOX, "broken", "--from", "lab/broken:1", "--provider", "lab", "--", "true")),
    ("sandbox-create-stuck", (*_SANDBOX, "stuck", "--from", "lab/stuck:1", "--", "true")),
    ("sandbox-create-again", (*_SANDBOX, "stuck", "--from", "lab/stuck:1", "--", "true")),
    ("sandbox-list", ("sandbox", "list", "-o", "json")),
    ("logs", ("logs", "stuck", "-n", "20")),
    ("provider-delete-attached", ("provider", "delete", "lab")),
    ("provider-delete-absent", ("provider", "delete", "nobody")),
    ("sandbox-delete", ("sandbox", "delete", "stuck")),
    ("sandbox-delete-absent", ("sandbox", "delete", "stuck")),
    ("usage", ("provider", "list", "--no-such-option")),
)


def record(release: str, home: Path) -> dict[str, Any]:
    """Return what the CLI of a release prints and ends with, by the name of the case."""
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "OPENAI_API_KEY": "lab", "OPENSHELL_PROVISION_TIMEOUT": "1"}
    said: dict[str, Any] = {}

    def run(name: str, *words: str, **environment: str) -> None:
        ended = subprocess.run(
            [str(cli(Path(os.environ["OPENSHELL_TEST_HOME"]), release)), *words],
            env={**own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        output = ended.stdout
        for pattern, replacement in _VOLATILE:
            output = pattern.sub(replacement, output)
        said[name] = {"argv": list(words), "code": ended.returncode, "output": output}

    run("version", "--version")
    run("status-none", "status")
    run("status-none-json", "status", "-o", "json")
    run("no-gateway", "inference", "get")
    run("unknown-gateway", "-g", "nobody", "provider", "get", "lab")
    run("no-certificates", "-g", "nobody", "--gateway-endpoint", "https://127.0.0.1:1", "provider", "get", "lab")
    with serving(release) as gateway:
        for name, words in _COMMANDS:
            run(name, *words, OPENSHELL_GATEWAY_ENDPOINT=gateway.endpoint)
        endpoint = gateway.endpoint
    run("down", "provider", "get", "lab", OPENSHELL_GATEWAY_ENDPOINT=endpoint)
    run("status-down", "status", OPENSHELL_GATEWAY_ENDPOINT=endpoint)
    with serving(_OTHER[release]) as gateway:
        run("inference-get-other-release", "inference", "get", OPENSHELL_GATEWAY_ENDPOINT=gateway.endpoint)
    return said


def main() -> int:
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lab") as scratch:
        home = Path(scratch, "home")
        home.mkdir()
        for release in RELEASES:
            text = json.dumps(record(release, home), indent=2) + "\n"
            (FIXTURES / f"{release}.json").write_text(text.replace(str(home), "/home/lab"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
