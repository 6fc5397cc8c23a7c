# Copyright: (c) 2026, nemoclaw.local_inference contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to this collection.
"""What a check of a route can be. Apart from the checks, with which the controller would compile the whole ladder."""

HEALTHY = "healthy"
UNAUTHORIZED = "unauthorized"
UNHEALTHY = "unhealthy"
UNREACHABLE = "unreachable"
NOT_PROBED = "not probed"
NOT_CONFIGURED = "not configured"
DIFFERS = "differs"

# No trouble: what could not be probed says nothing.
FINE = (HEALTHY, NOT_PROBED)
