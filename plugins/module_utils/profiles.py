# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What C(nemoclaw_profile) means: the page to the letter, or what NemoClaw does by now. Only what nobody set follows from it."""

from __future__ import annotations

from dataclasses import dataclass

# In proxy_listen, the address of this host on the bridge that sandboxes come by.
BRIDGE = "bridge"


@dataclass(frozen=True)
class Profile:
    """Where the page and NemoClaw's newest known release differ.

    Attributes:
        name: As in C(nemoclaw_profile).
        spark_model: The slug that a managed vLLM serves on a DGX Spark (upstream-facts N27, N28).
        small_starter: The starter model of Ollama for every host (upstream-facts N12).
        ollama_windows_bind: Where the Ollama of Windows listens (upstream-facts P1).
        proxy_listen: Where the auth proxy listens. The later one is that of NemoClaw's vLLM with a key (upstream-facts N29).

    """

    name: str
    spark_model: str
    small_starter: str
    ollama_windows_bind: str
    proxy_listen: tuple[str, ...]


PAGE = Profile(
    name="page",
    spark_model="qwen3.6-27b",
    small_starter="qwen2.5:7b",
    ollama_windows_bind="all",
    proxy_listen=("0.0.0.0",),  # noqa: S104 - the page's own default
)
LATER = Profile(
    name="later",
    spark_model="qwen3.6-35b-a3b-nvfp4",
    small_starter="qwen3.5:9b",
    ollama_windows_bind="loopback",
    proxy_listen=("127.0.0.1", BRIDGE),
)
BY_NAME = {one.name: one for one in (PAGE, LATER)}
