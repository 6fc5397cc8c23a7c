# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a container engine says when a registry refuses, or cannot be reached: the code, and what helps."""

from __future__ import annotations

# What stands in the error, in lower case -> code. The first match counts. Seen with dockerd 20.10 before docker-registry, or in
# moby's distribution/errors.go.
FAILURE_CODES = {
    "no space left on device": "disk_full",
    "toomanyrequests": "registry_rate_limited",
    "429 too many requests": "registry_rate_limited",
    "no matching manifest": "image_architecture",
    "does not match the specified platform": "image_architecture",
    "manifest unknown": "image_not_found",
    "not found": "image_not_found",
    "unauthorized": "registry_unauthorized",
    "no basic auth credentials": "registry_unauthorized",
    "authentication required": "registry_unauthorized",
    "access denied": "registry_unauthorized",
    "denied": "registry_unauthorized",
    "403 forbidden": "registry_unauthorized",
    "invalid reference format": "image_name_invalid",
    "server gave http response to https": "registry_insecure",
    "x509": "registry_tls_failed",
    "tls:": "registry_tls_failed",
    "filesystem layer verification failed": "pull_damaged",
    "unexpected eof": "pull_interrupted",
    "connection reset": "pull_interrupted",
    "no such host": "registry_unreachable",
    "dial tcp": "registry_unreachable",
    "connection refused": "registry_unreachable",
    "i/o timeout": "registry_unreachable",
    "deadline exceeded": "registry_unreachable",
    "request canceled": "registry_unreachable",
    "handshake timeout": "registry_unreachable",
    "timed out": "registry_unreachable",
}
REMEDIES = {
    "disk_full": "Free space where Docker keeps its data (docker info names its root directory), or move it",
    "registry_rate_limited": "The registry limits how much is pulled: log in, or wait, then run it again",
    "image_architecture": "The image has no build for this machine's processor: choose one that has",
    "image_not_found": "Check the name, the tag or the digest of the image",
    "registry_unauthorized": "Log in to the registry as the user who runs this (docker login); the account has to be allowed to pull it",
    "image_name_invalid": "Write it as REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST",
    "registry_insecure": "The registry speaks plain HTTP: put it among Docker's insecure-registries if it is yours",
    "registry_tls_failed": "Have Docker trust the registry's certificate, also where a network inspects TLS",
    "pull_damaged": "What came is not what the registry announced: run it again, and look for a proxy that changes downloads",
    "pull_interrupted": "The layers that came are kept: run it again to go on from there",
    "registry_unreachable": "Check the engine's connection to the registry: DNS, firewall, and the proxy of its service",
}
# Docker does not say which: a name that is not there and one that we may not see look the same from outside.
_MAY_BE_PRIVATE = "repository does not exist or may require"


def meaning(words: str) -> str | None:
    """Return the code for what an engine said of a registry, None for words that nobody knows."""
    lower = words.lower()
    if _MAY_BE_PRIVATE in lower:
        return "registry_unauthorized"
    return next((code for sign, code in FAILURE_CODES.items() if sign in lower), None)
