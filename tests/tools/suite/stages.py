"""The stages of `bin/test`, in the order in which they start."""

from __future__ import annotations

from . import ansible_test, checks, coverage, engines, molecule, packaging, pytests
from .model import Stage

STAGES = (
    Stage("lint", "ruff, mypy, yamllint, shellcheck", checks.lint, quick=True),
    Stage("units-quick", "unit tests on one Python, without ansible-test", pytests.units_quick, quick=True, full=False),
    Stage("real", "the modules' code against real model servers", pytests.real_servers),
    # Where homes.py may not give each a home of its own, these and the integration tests keep notes in the home of the user.
    Stage("plays", "ansible-playbook as a user runs it, against the same servers", pytests.plays, needs=("real",)),
    Stage("tarball", "build, install offline, verify, ansible-doc", packaging.tarball),
    Stage("units", "unit tests on Python 3.9 to 3.13", ansible_test.units),
    Stage("units-measured", "unit tests on one Python, for the coverage", pytests.units_measured),
    Stage("sanity-2.21", "ansible-test sanity on ansible-core 2.21", ansible_test.sanity_newest),
    Stage("sanity-2.19", "ansible-test sanity on ansible-core 2.19", ansible_test.sanity_oldest),
    Stage("molecule", "roles on hosts with systemd, over ssh", molecule.molecule, needs=("tarball",)),
    Stage(
        "integration", "ansible-test integration against real model servers", ansible_test.integration, needs=("plays",)
    ),
    Stage("ansible-lint", "ansible-lint, profile production", checks.ansible_lint),
    Stage("docs", "documentation, changelog, README tables", checks.docs),
    Stage("galaxy-importer", "Galaxy's own checks of the tarball", checks.galaxy_importer, needs=("tarball",)),
    Stage("demo", "bin/demo, twice", packaging.demo),
    Stage("engines", "the real vLLM on the CPU: --engines, never by default (6 GB)", engines.engines, full=False),
    Stage(
        "coverage",
        "lines of module_utils that any test reached",
        coverage.gate,
        needs=("units-measured", "real", "integration"),
    ),
)
