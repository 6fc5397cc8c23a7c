# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""The route: what server C(inference.local) reaches, and through what (page; upstream-facts N35; decision 0021, D1, D8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..failure import Failure
from ..transport.url import parse_base_url
from .record import ROUTE


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


# Inside the sandbox, localhost is the sandbox: OpenShell gives the host this name (decision 0021, D10; NemoClaw #5744).
SANDBOX_HOST = "host.openshell.internal"


def build_route(
    *,
    provider: str,
    base_url: str,
    model: str,
    api: str,
    timeout: int,
    context_window: int | None = None,
    container: str | None = None,
    origin: str = "external",
    gateway: str | None = None,
    sandbox: str | None = None,
    sandbox_host: str = SANDBOX_HOST,
    base_url_sandbox: str | None = None,
) -> dict[str, Any]:
    """Return the route dictionary of decision 0002.

    Args:
        provider: A name from the wizard, any case.
        base_url: Where the host itself reaches the server.
        model: The model's id as the server lists it.
        api: C(openai-completions), C(openai-responses) or C(anthropic-messages).
        timeout: Seconds, for each request of the agent as well (decision 0021, D4).
        context_window: Tokens, where known.
        container: The managed container that serves, if one does.
        origin: C(external) for a server that somebody else runs, C(managed) for one this collection runs.
        gateway: The gateway of OpenShell that routes its sandboxes there, by the name that it is registered under.
        sandbox: The sandbox that this route is for, among those of the gateway.
        sandbox_host: What a loopback host is called inside the sandbox.
        base_url_sandbox: Where the sandbox reaches the server; derived from the base URL by default.

    Raises:
        Failure: C(provider_unknown), C(api_unsupported) or one of the URL codes.

    """
    name = canonical_provider(provider)
    known = PROVIDERS[name]
    if (api == "anthropic-messages") != (known.provider_type == "anthropic"):
        raise Failure(
            "api_unsupported",
            f"Provider {name} cannot speak {api}: use "
            f"{'anthropic-messages' if known.provider_type == 'anthropic' else 'openai-completions'}, "
            "or the other compatible provider.",
        )
    host_url = parse_base_url(base_url, api)
    sandbox_url = parse_base_url(base_url_sandbox, api, for_sandbox=True) if base_url_sandbox else None
    if sandbox_url is None:
        sandbox_url = host_url.with_host(sandbox_host) if host_url.is_loopback else host_url
    return {
        "provider": name,
        "label": known.label,
        "provider_name": known.provider_name,
        "provider_type": known.provider_type,
        "credential_env": known.credential_env,
        "base_url_host": str(host_url),
        "base_url_sandbox": str(sandbox_url),
        "model": model,
        "api": api,
        "timeout": timeout,
        "context_window": context_window,
        "container": container,
        "origin": origin,
        "gateway": gateway,
        "sandbox": sandbox,
        "way": ROUTE,
    }
