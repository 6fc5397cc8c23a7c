# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NemoClaw prints, as recorded from the real program (tests/unit/fixtures/nemoclaw)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.nemoclaw.run import News, cause_of

RECORDED = Path(__file__).parents[3] / "fixtures" / "nemoclaw"


def lines_of(text: str) -> list[str]:
    """Return the last lines of a run, as the program keeps them."""
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("rc=")][-40:]


def commands() -> dict[str, list[str]]:
    text = (RECORDED / "0.0.58-commands.txt").read_text(encoding="utf-8")
    parts = (part.partition("\n") for part in text.split("### nemoclaw ")[1:])
    return {words: lines_of(said) for words, _end, said in parts}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        (
            "0.0.58-onboard-no-registry.txt",
            "Docker could not resolve or pull the DNS probe image. Error response from daemon: Get "
            '"https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: dial udp 10.255.255.53:53: '
            "connect: network is unreachable",
        ),
        (
            "2026-08-onboard-dockerfile-refused.txt",
            "Custom Dockerfile tool-disclosure contract is invalid: Custom Dockerfile does not declare ARG NEMOCLAW_TOOL_DISCLOSURE; "
            "exactly one final-stage declaration is required to apply tool disclosure 'progressive'.",
        ),
        (
            "2026-08-onboard-port-held.txt",
            "The gateway port is held by an incompatible or ambiguous owner. System readiness ",
        ),
        (
            "2026-08-onboard-private-endpoint.txt",
            "Other OpenAI-compatible endpoint endpoint validation failed. Validation probe summary: SSRF preflight: no HTTP response.",
        ),
        ("0.0.58-onboard-unwell.txt", "dashboard: port forward not working (connection refused)"),
    ],
)
def test_the_cause_of_an_onboarding(name: str, cause: str) -> None:
    assert cause_of(lines_of((RECORDED / name).read_text(encoding="utf-8"))).startswith(cause)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (
            "--model other2",
            "failed to verify inference endpoint for provider 'compatible-endpoint' and model 'other2' at",
        ),
        ("--provider ollama-local", "provider 'ollama-local' not found"),
        ("--provider custom", "Unsupported provider 'custom'. Supported providers: nvidia-prod, "),
        ("--sandbox nobody", "Sandbox 'nobody' is not registered."),
        ("bad model", "Invalid model id. Model values may only contain letters, numbers, '.', '_', ':', '/', and '-'."),
        ("--model x --nosuch", "Nonexistent flag: --nosuch"),
        ("onboard --nosuch", "Nonexistent flag: --nosuch"),
        ("nosuchcommand", "Sandbox 'nosuchcommand' does not exist."),
    ],
)
def test_the_cause_of_a_command(words: str, cause: str) -> None:
    (said,) = (said for asked, said in commands().items() if words in asked)
    assert cause_of(said).startswith(cause)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "nothing"),
        (["[3/8] Inference", "no such model"], "no such model"),
        # What an earlier step marked and went on from is not the cause.
        (["[1/8] Preflight", "\u2717 No GPU", "[2/8] Gateway", "It did not start."], "It did not start."),
        (["working", "done"], "done"),
        (["Run: nemoclaw list"], "Run: nemoclaw list"),
    ],
)
def test_the_cause_of_other_lines(lines: list[str], cause: str) -> None:
    assert cause_of(lines) == cause


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "  Building sandbox image...|  #12 ERROR: npm ci did not complete|  ------|"
            "  ERROR: failed to solve: process did not complete successfully: exit code: 1||  Sandbox build failed.||"
            "  Next steps:|    1. Check your network|    2. nemoclaw onboard --resume",
            "npm ci did not complete failed to solve: process did not complete successfully: exit code: 1 Sandbox build failed.",
        ),
        (
            "  npm error code EAI_AGAIN|  npm error Exit handler never called!|  Sandbox creation failed.|  Try:  nemoclaw onboard",
            "code EAI_AGAIN Exit handler never called! Sandbox creation failed.",
        ),
        (
            "  Sandbox 'my-assistant' was created but did not become ready within 180s.|  The orphaned sandbox has been removed.|"
            "  Retry: nemoclaw onboard",
            "Sandbox 'my-assistant' was created but did not become ready within 180s. The orphaned sandbox has been removed.",
        ),
        (
            "  Waiting for Docker|  \u2717 Docker is not running.|  Start the docker service.||  Onboarding did not finish. Resume:|  x",
            "Docker is not running. Start the docker service.",
        ),
    ],
)
def test_the_cause_of_what_was_not_recorded(said: str, cause: str) -> None:
    assert cause_of(["  [6/8] Creating sandbox", "  \u2500\u2500\u2500", *said.split("|")]) == cause


def test_that_it_still_waits_is_no_news() -> None:
    news = News()
    assert news.are_in(["  Creating sandbox in gateway..."], "")
    assert news.are_in(["  Still creating sandbox in gateway... (15s elapsed)"], ""), "what it waits for is told once"
    assert not news.are_in(["  Still creating sandbox in gateway... (30s elapsed)", "   "], "  Still crea")
    assert news.are_in(["  Still waiting for the dashboard (5s elapsed)"], "")
    assert not news.are_in(["  Still waiting for the dashboard (1m 5s elapsed)"], "")
    assert news.are_in([], "Step 2/10")


@pytest.mark.parametrize(
    ("lines", "is_news"),
    [
        # Without the word "Still", and in a circle.
        (["Waiting for the sandbox... (15s elapsed)", "Waiting for the sandbox... (1m 30s elapsed)"], False),
        (["Waiting for the sandbox", "Waiting for the sandbox"], False),
        (["\u280b Uploading image 3s", "\u2819 Uploading image 4.5s"], False),
        (["Checking the gateway", "not healthy", "Checking the gateway", "not healthy"], False),
        (["Downloading 12.5MB / 80MB", "Downloading 12.6MB / 80MB"], True),
        (["Step 2/10 : RUN npm ci", "Step 3/10 : COPY . ."], True),
        (["#12 45.2 added 100 packages", "#12 46.0 added 120 packages"], True),
    ],
)
def test_what_is_said_again_is_no_news(lines: list[str], is_news: bool) -> None:
    news = News()
    half = len(lines) // 2
    assert news.are_in(lines[:half], "")
    assert news.are_in(lines[half:], "") == is_news
