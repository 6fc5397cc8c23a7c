# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""Releases of Ollama, and names of its models in the one form in which Ollama lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..failure import Failure


def version_key(version: str) -> tuple[int, ...]:
    """Return what to compare versions by; a release candidate counts as its release."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3])


def is_older(version: str | None, minimum: str) -> bool:
    """Tell whether a version is below another; an unknown one is."""
    return version is None or version_key(version) < version_key(minimum)


# Ollama types/model/name.go: what a name without these parts means.
DEFAULT_REGISTRY = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*)"
_NAME = re.compile(
    rf"(?:(?:(?P<host>{_PART}(?::\d+)?)/)?(?P<namespace>{_PART})/)?(?P<model>{_PART})(?::(?P<tag>{_PART}))?"
)


@dataclass(frozen=True)
class ModelName:
    """A name with all its parts; C(str()) gives what C(/api/tags) shows."""

    registry: str
    namespace: str
    model: str
    tag: str

    def __str__(self) -> str:
        short = f"{self.model}:{self.tag}"
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.namespace}/{short}"
        return short if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{short}"

    @property
    def is_public(self) -> bool:
        """Whether the registry shows it to everybody, so that its "not found" holds for the daemon as well."""
        return self.registry != DEFAULT_REGISTRY or self.namespace == DEFAULT_NAMESPACE


def parse_name(text: str) -> ModelName:
    """Return the name; a missing tag is C(latest), so that C(x) and C(x:latest) are one model.

    Raises:
        Failure: C(model_name_invalid).

    """
    found = _NAME.fullmatch(text.strip())
    if not found:
        raise Failure(
            "model_name_invalid",
            f"The model name {text!r} cannot be read. Write it like qwen2.5:7b, me/model:tag or registry:5000/me/model:tag, with "
            "letters, digits, and the characters . _ - : /.",
        )
    registry = found["host"] or DEFAULT_REGISTRY
    return ModelName(
        registry.lower(), found["namespace"] or DEFAULT_NAMESPACE, found["model"], found["tag"] or DEFAULT_TAG
    )


def is_same(first: str, second: str) -> bool:
    """Tell whether two names mean one model; Ollama takes names without regard to case and keeps the first spelling."""
    return _normal(first) == _normal(second)


def _normal(text: str) -> str:
    """Return a name to compare by; one that a daemon lists and we cannot read stands for itself."""
    try:
        return str(parse_name(text)).lower()
    except Failure:
        return text
