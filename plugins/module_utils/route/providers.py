# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection: may change in any release.
"""The providers of the wizard: their names, and what OpenShell calls each (page; upstream-facts N35; decision 0021, D1, D8)."""

from __future__ import annotations

from dataclasses import dataclass

from ..failure import Failure


@dataclass(frozen=True)
class Provider:
    """What a choice of provider means in a route."""

    label: str
    provider_name: str
    provider_type: str
    credential_env: str


_OLLAMA = Provider("Local Ollama", "ollama-local", "openai", "OPENAI_API_KEY")
_VLLM = Provider("Local vLLM", "vllm-local", "openai", "OPENAI_API_KEY")

PROVIDERS = {
    "ollama": _OLLAMA,
    "install-ollama": _OLLAMA,
    "start-windows-ollama": _OLLAMA,
    "install-windows-ollama": _OLLAMA,
    "vllm": _VLLM,
    "install-vllm": _VLLM,
    "nim": Provider("Local NVIDIA NIM", "vllm-local", "openai", "OPENAI_API_KEY"),
    "custom": Provider("Other OpenAI-compatible endpoint", "compatible-endpoint", "openai", "COMPATIBLE_API_KEY"),
    "anthropicCompatible": Provider(
        "Other Anthropic-compatible endpoint",
        "compatible-anthropic-endpoint",
        "anthropic",
        "COMPATIBLE_ANTHROPIC_API_KEY",
    ),
}

# Names the wizard takes for the same thing (upstream-facts N34).
ALIASES = {"nim-local": "nim"}


def canonical_provider(name: str) -> str:
    """Return the provider's name as the collection writes it; upper and lower case do not matter.

    Raises:
        Failure: C(provider_unknown) with the names there are.

    """
    wanted = name.strip().lower()
    wanted = ALIASES.get(wanted, wanted)
    for known in PROVIDERS:
        if known.lower() == wanted:
            return known
    raise Failure(
        "provider_unknown",
        f"There is no provider {name!r}. Use one of: {', '.join(sorted(PROVIDERS, key=str.lower))}.",
    )
