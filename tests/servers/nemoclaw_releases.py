# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that the double of NemoClaw stands for: what each can, and the words that real ones were recorded to say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "unit" / "fixtures" / "nemoclaw"


@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        version: What it tells.
        checks_local: Whether C(inference set) asks a local server itself (0.0.66).
        takes_endpoints: Whether it takes an address, and the API with it (0.0.69).
        guards_private: Whether it refuses private addresses (0.0.78).
        reserves: Whether it lists a sandbox before it is made, and leaves that there after a failure.
        advises: Whether it says how to resume.
        wants_certificates: Whether its gateway asks for a client certificate.

    """

    version: str
    checks_local: bool = False
    takes_endpoints: bool = False
    guards_private: bool = False
    reserves: bool = False
    advises: bool = False
    wants_certificates: bool = False


RELEASES = {
    "0.0.58": Release("0.0.58"),
    "0.0.70": Release("0.0.70", checks_local=True, takes_endpoints=True),
    # The main branch of 21 August 2026, which calls itself by the tag before it.
    "2026-08": Release("0.0.97", True, True, True, True, True, True),
}

PROVIDER_NAMES = (
    *("nvidia-prod", "nvidia-nim", "nvidia-router", "openai-api", "anthropic-prod", "compatible-anthropic-endpoint"),
    *("gemini-api", "compatible-endpoint", "hermes-provider", "ollama-local", "vllm-local"),
)

# Behaviours that end an onboarding in a step: a recording that ends there, or a text.
ENDS: dict[tuple[str, int], Path | str] = {
    ("preflight", 1): "Docker is not reachable. Please fix Docker and try again.",
    ("no-registry", 1): RECORDED / "0.0.58-onboard-no-registry.txt",
    ("port-held", 1): RECORDED / "2026-08-onboard-port-held.txt",
    ("dockerfile", 6): RECORDED / "2026-08-onboard-dockerfile-refused.txt",
    # What OpenShell 0.0.111 says of a gateway with mutual TLS.
    (
        "foreign-certificate",
        2,
    ): "Error:   \u00d7 client error (SendRequest)\n  \u2570\u2500\u25b6 received fatal alert: DecryptError",
    (
        "plaintext",
        2,
    ): "Error:   \u00d7 client error (Connect)\n  \u2570\u2500\u25b6 received corrupt message of type InvalidContentType",
}
PRIVATE = RECORDED / "2026-08-onboard-private-endpoint.txt"
UNWELL = RECORDED / "0.0.58-onboard-unwell.txt"
ADVICE = "\nOnboarding did not finish. Resume from the step that failed with:\n  nemoclaw onboard --resume"

# Not recorded: the flags are NemoClaw's, the sentences are not.
ENDPOINT_HELP = """\
      --credential-env=<value>  Variable of the endpoint's key
      --endpoint-url=<value>    Address of the endpoint
      --inference-api=<value>   API of the endpoint
"""


def recorded_step(path: Path, number: int) -> str:
    """Return what a recorded run said from the heading of a step to that of the next one or its end, without the heading."""
    text = path.read_text(encoding="utf-8").rpartition("rc=")[0]
    step = text.partition(f"  [{number}/8] ")[2].partition(f"\n\n  [{number + 1}/8] ")[0]
    return "\n".join(step.splitlines()[2:])


def recorded_command(words: str) -> str:
    """Return what release 0.0.58 said to the command that has these words."""
    parts = (RECORDED / "0.0.58-commands.txt").read_text(encoding="utf-8").split("### nemoclaw ")
    (said,) = (part.partition("\n")[2] for part in parts if words in part.partition("\n")[0])
    return re.sub(r"^rc=\d+\n?", "", said, flags=re.MULTILINE)
