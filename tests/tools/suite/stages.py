"""The stages of `bin/test`, in the order in which they start: what takes long, or what others wait for, comes first."""

from __future__ import annotations

from . import ansible_test, bare, checks, coverage, docker, engines, homes, molecule, packaging, pytests, readers
from .model import Stage

_SCENARIO, _TARGET, _EXPRESSION = "a scenario", "a target", "a file, or an expression as `pytest -k` takes it"
# Where no stage can have a home of its own, those that keep notes in the user's run one after the other.
_IN_TURN = not homes.possible()

STAGES = (
    Stage("images", "the images of test hosts, made where they are not there", docker.images, budget=190, load=0.8),
    Stage("tarball", "build, install offline, verify, ansible-doc", packaging.tarball, budget=60),
    *(
        Stage(
            f"molecule-{name}",
            f"roles on hosts with systemd, over ssh: {about}",
            molecule.stage(name),
            needs=("tarball", "images"),
            budget=budget,
            load=0.5,
            chooses=_SCENARIO,
        )
        for name, about, budget in (
            ("wsl", "the scenario `wsl`", 800),
            ("hosts", "those that the others leave", 900),
            ("fleet", "the scenario `fleet`", 850),
            ("ollama", "`ollama` and its parts", 960),
        )
    ),
    Stage(
        "plays",
        "ansible-playbook as a user runs it, against real model servers",
        pytests.plays,
        needs=("images", *(("real",) if _IN_TURN else ())),
        budget=530,
        load=1.0,
        chooses=_EXPRESSION,
    ),
    *(
        Stage(
            f"integration-{shard}",
            f"ansible-test integration against real model servers, part {shard} of {ansible_test.SHARDS}",
            ansible_test.integration_shard(shard),
            needs=("images", *((("plays",), ("integration-1",))[shard - 1] if _IN_TURN else ())),
            budget=340,
            load=0.9,
            chooses=_TARGET,
        )
        for shard in range(1, ansible_test.SHARDS + 1)
    ),
    Stage("sanity-2.21", "ansible-test sanity on ansible-core 2.21", ansible_test.sanity_newest, budget=220),
    Stage(
        "real",
        "the modules' code against real model servers",
        pytests.real_servers,
        needs=("images",),
        budget=450,
        load=0.9,
        chooses=_EXPRESSION,
    ),
    Stage(
        "faults",
        "work broken off at every step, and what the next two runs make of it",
        pytests.faults,
        needs=("images", *(("real",) if _IN_TURN else ())),
        budget=200,
        load=0.9,
        chooses=_EXPRESSION,
    ),
    Stage(
        "lint",
        "ruff, mypy, yamllint, shellcheck, gixy on the proxy's configuration",
        checks.lint,
        quick=True,
        budget=45,
    ),
    Stage(
        "units-quick",
        "unit tests on one Python, without ansible-test",
        pytests.units_quick,
        quick=True,
        full=False,
        budget=55,
        load=1.5,
        chooses=_EXPRESSION,
    ),
    Stage(
        "units-3.9", "ansible-test units on the oldest Python; the middle ones compile", ansible_test.units, budget=130
    ),
    Stage(
        "units-bare",
        "unit tests with the oldest ansible-core on a bare host, as root and as a plain user",
        bare.units,
        needs=("images",),
        budget=150,
    ),
    Stage("units-3.13", "unit tests on the newest Python, for the coverage", pytests.units_newest, budget=160),
    Stage("sanity-2.19", "ansible-test sanity on ansible-core 2.19", ansible_test.sanity_oldest, budget=120),
    Stage("ansible-lint", "ansible-lint, profile production", checks.ansible_lint, budget=90),
    Stage("docs", "documentation, changelog, README tables", checks.docs, budget=45),
    Stage("readers", "what promtool and ARA make of metrics, rules and a plan", readers.readers, budget=60),
    Stage(
        "galaxy-importer", "Galaxy's own checks of the tarball", checks.galaxy_importer, needs=("tarball",), budget=45
    ),
    Stage("demo", "bin/demo, twice", packaging.demo, budget=60),
    Stage(
        "engines",
        "the real vLLM on the CPU: --engines, never by default (6 GB)",
        engines.engines,
        full=False,
        budget=900,
    ),
    Stage(
        "coverage",
        "lines of module_utils that unit tests and those with real servers reached",
        coverage.gate,
        needs=("units-3.13", "real"),
        budget=30,
    ),
)


def chosen(words: list[str]) -> list[tuple[Stage, str]]:
    """Return the stages that the words of the command line name, each with what was chosen of it; ValueError says what is wrong.

    `molecule` names all that begin with `molecule-`; `molecule:endpoint` the first of them, which can run any scenario. What looks at the
    tarball looks at one of these sources, and not at one that an earlier run left.
    """
    found: dict[str, str] = {}
    for word in words:
        name, _colon, choice = word.partition(":")
        named = [stage for stage in STAGES if stage.name == name]
        named = named or [stage for stage in STAGES if stage.full and stage.name.startswith(f"{name}-")]
        if not named:
            raise ValueError(f"no such stage: {name}")
        if choice and not named[0].chooses:
            raise ValueError(f"of the stage {name} nothing can be chosen")
        # Each of them runs what was chosen by name, whichever part has it otherwise.
        for stage in named[:1] if choice else named:
            if choice and found.get(stage.name):
                raise ValueError(f"of the stage {name} one thing can be chosen at a time")
            found[stage.name] = choice
    if any("tarball" in stage.needs for stage in STAGES if stage.name in found):
        found.setdefault("tarball", "")
    return [(stage, found[stage.name]) for stage in STAGES if stage.name in found]
