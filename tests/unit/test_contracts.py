# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in two places is the same in both: specifications, defaults, documentation, action groups, failure codes."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible_collections.nemoclaw.local_inference.plugins.doc_fragments import endpoint as endpoint_fragment
from ansible_collections.nemoclaw.local_inference.plugins.doc_fragments import managed_container as container_fragment
from ansible_collections.nemoclaw.local_inference.plugins.doc_fragments import openshell as openshell_fragment
from ansible_collections.nemoclaw.local_inference.plugins.doc_fragments import wait as wait_fragment
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.base import (
    CONTAINER_OPTIONS,
    ENDPOINT_OPTIONS,
    OPENSHELL_OPTIONS,
    WAIT_OPTIONS,
)
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.plan.settings import WIZARD
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.status import check
from ansible_collections.nemoclaw.local_inference.plugins.module_utils.transport.trouble import FINAL_CODES

REPO = Path(__file__).resolve().parents[2]
COLLECTION = "nemoclaw.local_inference"
ROLES = sorted(path.parent.parent.name for path in (REPO / "roles").glob("*/meta/argument_specs.yml"))
MODULES = sorted(path.stem for path in (REPO / "plugins" / "modules").glob("*.py"))


def read(text: str) -> Any:
    """Return what YAML says. By libyaml: in Python, reading the documentation of every module is what most of these tests would do."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def load(path: Path) -> Any:
    return read(path.read_text(encoding="utf-8"))


def entry_points(role: str) -> dict[str, Any]:
    specs: dict[str, Any] = load(REPO / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return specs


@pytest.mark.parametrize("role", ROLES)
def test_what_is_included_imports_nothing(role: str) -> None:
    """An import in a file of tasks that was included looks into the tasks/ beside the user's playbook before the role's own."""
    folder = REPO / "roles" / role / "tasks"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.yml")}
    lines = "".join(re.findall(r"include_tasks:.*(?:\n +file:.*)?", "".join(texts.values())))
    included = {name for name in texts if re.search(rf"\b{name}\b", lines)}
    assert [name for name in included if "import_tasks" in texts[name]] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_task_that_passes_over_a_failure_passes_over_no_other_error(role: str) -> None:
    """A wrong option, a user that cannot be become, and a fault of the module come without C(failure)."""
    for path in (REPO / "roles" / role / "tasks").glob("*.yml"):
        for conditions in re.findall(r"failed_when:\n((?: +(?:-|#) .*\n)+)", path.read_text(encoding="utf-8")):
            assert ".failure" not in conditions or re.match(r" +- \w+ is failed\n", conditions), path


def test_a_failure_that_is_raised_again_keeps_its_code() -> None:
    """A message that M(ansible.builtin.fail) repeats has the code C(task_failed) in the table, whatever it says."""
    paths = [*(REPO / "roles").rglob("*.yml"), *(REPO / "playbooks").rglob("*.yml")]
    assert [path for path in paths if "ansible_failed_result" in path.read_text(encoding="utf-8")] == []


# These look in any case, and for less than a role needs: after a change of Windows, and to free memory.
_LOOKS_ANYWAY = ("roles/ollama/tasks/serve.yml", "roles/ollama/tasks/unload.yml")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_decides_by_facts_of_an_earlier_run(role: str) -> None:
    """A persistent fact cache brings back the facts of last week: whether this run has looked is told by a variable that no cache keeps."""
    for path in (REPO / "roles" / role / "tasks").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"nemoclaw_host(\.\w+)? (\| default\(none\)|is (not )?defined)", text), path
        looks = 0 if str(path.relative_to(REPO)) in _LOOKS_ANYWAY else text.count("inference_facts:")
        assert looks == text.count("register: __nemoclaw_looked"), path


def tasks_in(content: Any) -> Iterator[dict[str, Any]]:
    """Return every task of a file of tasks or of a playbook, those of its blocks too."""
    for one in content if isinstance(content, list) else []:
        yield one
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_in(one.get(part))


def long_modules() -> list[str]:
    """Return the modules whose work may take long."""
    specs = {
        module: importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}")
        for module in MODULES
    }
    return [module for module, content in specs.items() if "wait" in content.ARGUMENT_SPEC]


def test_long_work_is_waited_for_by_an_action_plugin() -> None:
    """And documented so: decision 0029."""
    assert len(long_modules()) > 5
    for module in long_modules():
        imported = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.action.{module}")
        assert imported.ActionModule.__base__.__name__ == "LongWork"
        assert "nemoclaw.local_inference.wait" in documentation(module)["extends_documentation_fragment"]
        assert "finished" in yaml.safe_load(
            importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}").RETURN
        )


def test_no_role_and_no_playbook_loops_over_long_work() -> None:
    """Every other stdout callback than ours would print it as failures."""
    names = {f"{COLLECTION}.{module}" for module in long_modules()}
    files = [path for folder in ("roles", "playbooks", "examples") for path in (REPO / folder).rglob("*.yml")]
    tasks = [
        (path, task)
        for path in files
        if path.parent.name in ("tasks", "handlers", "playbooks")
        for task in tasks_in(load(path))
    ]
    assert len([path for path, task in tasks if names & set(task)]) > 5
    assert [
        path for path, task in tasks if names & set(task) and {"until", "retries", "async", "poll"} & set(task)
    ] == []


# They keep a document of each host in place of an outcome, and end with what those say (decision 0032).
_REPORTS = ("collect", "report")
PLAYBOOKS = sorted((REPO / "playbooks").glob("*.yml"))


@pytest.mark.parametrize("name", _REPORTS)
def test_a_report_runs_with_any_tags(name: str) -> None:
    assert {play["tags"] for play in load(REPO / "playbooks" / f"{name}.yml")} == {"always"}


# Playbooks that change a fleet in waves, and whose outcomes they tell.
WAVES = {"rollout": "rollout", "rollout_token": "rotate_token"}


@pytest.mark.parametrize(("name", "told"), WAVES.items())
def test_in_waves_no_host_fails_before_the_results(name: str, told: str) -> None:
    """A batch in which all hosts failed, or went away, would end the playbook before its table."""
    look, begin, waves, end, ending = load(REPO / "playbooks" / f"{name}.yml")
    assert begin["ansible.builtin.import_playbook"] == "plays/rollout_begin.yml"
    assert (look["tags"], waves["tags"], waves["ignore_unreachable"]) == ("always", "always", True)
    # By name, or a configuration with another one would judge a wave before all of it is done.
    assert {look["strategy"], waves["strategy"]} == {"linear"}
    assert (look["any_errors_fatal"], waves["any_errors_fatal"]) == (False, False)
    blocks = [task for task in waves["tasks"] if "block" in task]
    assert len(blocks) == 2
    assert {block["rescue"][0]["ansible.builtin.import_tasks"] for block in blocks} == {"tasks/failed.yml"}
    assert waves["tasks"][-1]["ansible.builtin.import_tasks"] == "tasks/rollout_judge.yml"
    assert end["ansible.builtin.import_playbook"] == "plays/rollout_end.yml"
    assert ending["ansible.builtin.import_playbook"] == "plays/results.yml"
    assert {play["vars"]["outcome_of"] for play in (look, begin, waves, end, ending)} == {told}


def test_what_is_done_once_is_done_for_a_host_that_meets_the_condition_of_the_import() -> None:
    """Ansible asks the first host of the play for all of them, so where that one is left out, nobody would get a table."""

    def is_once(tasks: Any, folder: Path) -> bool:
        imported = [folder / task.get("ansible.builtin.import_tasks", "") for task in tasks]
        return any(task.get("run_once") for task in tasks) or any(
            is_once(load(path), path.parent) for path in imported if path.is_file()
        )

    found = {}
    for path in sorted((REPO / "playbooks").glob("*.yml")) + sorted((REPO / "playbooks" / "plays").glob("*.yml")):
        for play in load(path):
            if is_once(play.get("tasks", []), path.parent):
                found[play["name"]] = play["hosts"]
    assert len(found) == 6, found
    # Those of the waves met it, or they would be in none.
    assert [name for name, hosts in found.items() if "asked_first" not in hosts and "rollout_now" not in hosts] == []


def test_what_a_host_began_and_ended_with_is_overwritten_by_no_task_that_is_left_out() -> None:
    """A task that its condition leaves out registers just that: the table would miss the host, and the exit status its failure."""

    def walk(tasks: Any, has_condition: bool) -> list[str]:
        found = []
        for task in tasks:
            is_conditional = has_condition or "when" in task
            found += walk([one for part in ("block", "rescue") for one in task.get(part, [])], is_conditional)
            if is_conditional and task.get("register") in ("inference_plan", "nemoclaw_begun", "nemoclaw_ended"):
                found.append(task["name"])
        return found

    for path in sorted((REPO / "playbooks").rglob("*.yml")):
        content = load(path)
        plays = [one["tasks"] for one in content if "tasks" in one]
        assert walk([task for tasks in plays for task in tasks] or content, has_condition=False) == [], path


@pytest.mark.parametrize(
    "path",
    [path for path in PLAYBOOKS if path.stem not in (*_REPORTS, *WAVES)],
    ids=lambda path: path.stem,
)
def test_every_playbook_refuses_tags_and_ends_with_its_results(path: Path) -> None:
    """Tasks behind an include have no tags: what is asked for by any is refused by a task that always runs."""
    if all("ansible.builtin.import_playbook" in play or play["any_errors_fatal"] is True for play in load(path)):
        return  # those that it imports do, where nothing that all of them share keeps it from beginning
    play, ending = load(path)
    assert play["any_errors_fatal"] is False
    block = play["tasks"][-1]
    imported = {task.get("ansible.builtin.import_tasks") for task in block["block"]}
    assert play.get("tags") == "always" or imported & {"tasks/plan.yml", "tasks/begin.yml"}
    assert block["rescue"][0]["ansible.builtin.import_tasks"] == "tasks/failed.yml"
    assert ending["ansible.builtin.import_playbook"] == "plays/results.yml"
    assert play["vars"]["outcome_of"] == ending["vars"]["outcome_of"] == path.stem


def test_every_role_has_a_specification() -> None:
    assert sorted(path.name for path in (REPO / "roles").iterdir() if path.is_dir()) == ROLES


# Resolves a role's defaults for each line of JSON that it reads. A process of its own, because Ansible's plugin loader takes
# over the import of collections, which ansible-test and plain pytest have set up each in their own way.
_RESOLVER = """
import json, os, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

init_plugin_loader()
loader = DataLoader()
base = {name: value for name, value in os.environ.items() if not name.startswith(("NEMOCLAW_", "COMPATIBLE_"))}
for line in sys.stdin:
    path, environment, variables, only = json.loads(line)
    os.environ.clear()
    os.environ.update(base | environment)
    defaults = loader.load_from_file(path, trusted_as_template=True)
    wanted = {only: defaults[only]} if only else defaults
    print(json.dumps(Templar(loader=loader, variables=defaults | variables).template(wanted)), flush=True)
"""

Resolve = Callable[..., "dict[str, Any]"]


@pytest.fixture(scope="module")
def resolved() -> Iterator[Resolve]:
    """Return a function that resolves the defaults of a role, or one of them, on a controller with this environment."""
    with subprocess.Popen(
        [sys.executable, "-c", _RESOLVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answers = process.stdin, process.stdout

        def resolve(
            role: str, environment: dict[str, str] | None = None, only: str = "", **variables: Any
        ) -> dict[str, Any]:
            path = REPO / "roles" / role / "defaults" / "main.yml"
            print(json.dumps([str(path), environment or {}, variables, only]), file=ask, flush=True)
            values: dict[str, Any] = json.loads(answers.readline())
            return values

        yield resolve
        ask.close()


@pytest.mark.parametrize("role", ROLES)
def test_without_settings_the_defaults_are_those_specified(role: str, resolved: Resolve) -> None:
    options = entry_points(role)["main"]["options"]
    # Ansible prints the templated specification when another option is wrong, so secrets have no default in it.
    secrets = {name for name, option in options.items() if option.get("no_log")}
    assert not any("default" in options[name] for name in secrets)
    assert resolved(role) == {name: option.get("default", "") for name, option in options.items()}


def settings(role: str) -> list[tuple[str, str]]:
    """Return each role variable that looks up a setting of the wizard."""
    defaults = load(REPO / "roles" / role / "defaults" / "main.yml")
    found = [
        (name, re.match(r"\{\{ lookup\('nemoclaw\.local_inference\.setting', '(nemoclaw_\w+)'", str(value)))
        for name, value in defaults.items()
    ]
    return [(name, setting.group(1)) for name, setting in found if setting]


# Two values of each kind.
TWO = {"str": ("a", "b"), "host": ("a", "b"), "int": (2001, 2002), "bool": (True, False)}


@pytest.mark.parametrize(
    ("role", "name", "setting"), [(role, name, setting) for role in ROLES for name, setting in settings(role)]
)
def test_the_inventory_wins_over_the_environment(role: str, name: str, setting: str, resolved: Resolve) -> None:
    known = WIZARD[setting]
    first, second = known.choices[:2] or TWO[known.kind]
    environment = {setting.upper(): str(first)}
    assert resolved(role, environment, name)[name] == first
    assert resolved(role, environment, name, **{setting: second})[name] == second
    assert (
        resolved(role, {setting.upper(): ""}, name)[name] == entry_points(role)["main"]["options"][name]["default"]
    ), "empty counts as not set"


@pytest.mark.parametrize(
    ("provider", "environment", "key"),
    [
        ("custom", {"COMPATIBLE_API_KEY": "a", "COMPATIBLE_ANTHROPIC_API_KEY": "b", "NEMOCLAW_PROVIDER_KEY": "c"}, "a"),
        ("anthropicCompatible", {"COMPATIBLE_API_KEY": "a", "COMPATIBLE_ANTHROPIC_API_KEY": "b"}, "b"),
        ("AnthropicCompatible", {"COMPATIBLE_API_KEY": "a"}, ""),
        ("anthropicCompatible", {"COMPATIBLE_API_KEY": "a", "NEMOCLAW_PROVIDER_KEY": "c"}, "c"),
        ("custom", {"COMPATIBLE_API_KEY": "", "NEMOCLAW_PROVIDER_KEY": "c"}, "c"),
        ("custom", {}, ""),
    ],
)
def test_a_provider_gets_its_own_key(provider: str, environment: dict[str, str], key: str, resolved: Resolve) -> None:
    assert resolved("endpoint", environment, "endpoint_api_key", nemoclaw_provider=provider)["endpoint_api_key"] == key


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("http://host.docker.internal:8000", "host.docker.internal"),
        ("https://10.0.0.1/v1", "10.0.0.1"),
        ("host.docker.internal", "host.docker.internal"),
        ("", "host.openshell.internal"),
    ],
)
def test_the_host_in_the_sandbox(value: str, host: str, resolved: Resolve) -> None:
    environment = {"NEMOCLAW_LOCAL_INFERENCE_SANDBOX_HOST_URL": value}
    assert resolved("endpoint", environment)["endpoint_sandbox_host"] == host


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_carry_the_name_of_their_role(role: str) -> None:
    for name, entry in entry_points(role).items():
        assert all(option.startswith(f"{role}_") for option in entry["options"]), name
    internal = REPO / "roles" / role / "vars" / "main.yml"
    if internal.exists():
        assert all(name.startswith(f"__{role}_") for name in load(internal))


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_has_tasks_and_the_options_of_main(role: str) -> None:
    points = entry_points(role)
    for name, entry in points.items():
        assert (REPO / "roles" / role / "tasks" / f"{name}.yml").exists()
        assert entry["short_description"]
        for option, content in entry["options"].items():
            known = points["main"]["options"][option]
            assert (content["type"], content.get("default")) == (known["type"], known.get("default")), option


@pytest.mark.parametrize("role", ROLES)
def test_secrets_of_roles_are_not_logged(role: str) -> None:
    for entry in entry_points(role).values():
        for name, option in entry["options"].items():
            if re.search(r"(_key|_token|_password)$", name):
                assert option.get("no_log") is True, name


def test_action_groups() -> None:
    groups = load(REPO / "meta" / "runtime.yml")["action_groups"]
    assert groups["all"] == MODULES
    for name, members in groups.items():
        assert members == sorted(set(members) & set(MODULES)), name
    for module in MODULES:
        documented = documentation(module)["attributes"]["action_group"]["membership"]
        assert sorted(documented) == sorted(
            f"{COLLECTION}.{name}" for name, members in groups.items() if module in members
        )


def documentation(module: str) -> dict[str, Any]:
    """Return a module's documentation, the options of its fragments filled in."""
    beside = REPO / "plugins" / "modules" / f"{module}.yml"
    if beside.exists():
        content: dict[str, Any] = load(beside)["DOCUMENTATION"]
    else:
        content = read(
            importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}").DOCUMENTATION
        )
    assert content["module"] == module
    for fragment in content.get("extends_documentation_fragment", []):
        name, _dot, part = fragment[len(COLLECTION) + 1 :].partition(".")
        home = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.doc_fragments.{name}")
        more = read(getattr(home.ModuleDocFragment, part.upper() or "DOCUMENTATION"))
        content["options"] = {**more.get("options", {}), **content["options"]}
    return content


def contract(options: dict[str, Any], nested: str) -> dict[str, Any]:
    """Return what both sides say of each option: its type, whether it is required, default, choices, suboptions."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": contract(option.get(nested, {}), nested),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("module", MODULES)
def test_documented_options_are_the_options(module: str) -> None:
    spec = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}").ARGUMENT_SPEC
    assert contract(documentation(module)["options"], "suboptions") == contract(spec, "options")


@pytest.mark.parametrize("module", MODULES)
def test_secrets_of_modules_are_not_logged(module: str) -> None:
    spec = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}").ARGUMENT_SPEC
    for name, option in spec.items():
        if re.search(r"(_key|_token|_password|credentials?)$", name):
            assert option.get("no_log") is True, name


@pytest.mark.parametrize(
    ("fragment", "options"),
    [
        (container_fragment, CONTAINER_OPTIONS),
        (endpoint_fragment, ENDPOINT_OPTIONS),
        (openshell_fragment, OPENSHELL_OPTIONS),
        (wait_fragment, WAIT_OPTIONS),
    ],
    ids=["managed_container", "endpoint", "openshell", "wait"],
)
def test_a_fragment_has_the_shared_options(fragment: Any, options: dict[str, Any]) -> None:
    documented = read(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    assert contract(documented, "suboptions") == contract(options, "options")


@functools.cache
def raised_codes() -> dict[str, str]:
    """Return each failure code that stands in the plugins' source, and where."""
    found = {}
    for path in sorted((REPO / "plugins").rglob("*.py")):
        file = path.relative_to(REPO)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found.update({code: f"{file}:{getattr(node, 'lineno', 0)}" for code in _codes_in(node)})
    return found


def _codes_in(node: ast.AST) -> Iterator[str]:
    found: list[ast.AST | None] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Failure":
        found += node.args[:1]
    elif isinstance(node, ast.Dict):
        found += [
            value for key, value in zip(node.keys, node.values) if isinstance(key, ast.Constant) and key.value == "code"
        ]
    elif (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.endswith("FAILURE_CODES")
    ):
        found += node.value.values if isinstance(node.value, ast.Dict) else []
    elif isinstance(node, ast.Assign):
        targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        found += [value for target, value in zip(targets, values) if getattr(target, "attr", "") == "code"]
    yield from (one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str))


def documented_codes() -> list[str]:
    page = (REPO / "docs" / "failure-codes.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)


def test_every_failure_code_is_documented_and_no_other() -> None:
    raised = raised_codes()
    documented = documented_codes()
    assert len(raised) > 40, "the search for codes found too few to be right"
    assert {code: where for code, where in raised.items() if code not in documented} == {}
    assert sorted(set(documented) - set(raised)) == []
    assert len(documented) == len(set(documented))


def test_codes_that_decide_something_exist() -> None:
    raised = set(raised_codes())
    assert raised >= FINAL_CODES
    assert raised >= set(check._STATES)


# Where citations stand; documents that are not in the repository, by the names that they once had.
_CITING = ("plugins", "roles", "playbooks", "docs", "tests", "molecule", "bin", "examples")
_ELSEWHERE = re.compile(r"(?:nemoclaw|openshell)-facts|\b[Pp]ains[ .]|\b[Dd]esign[ ]section")
_FACT = r"[NOP]\d+"
_CITATION = re.compile(rf"upstream-facts(?![.(])(?: ({_FACT}(?:(?:,| and| to) {_FACT})*))?")


def cited_lines() -> Iterator[tuple[str, str]]:
    """Return place and text of each line that may cite something; reports of tests and caches are none of ours."""
    for folder in _CITING:
        for path in sorted((REPO / folder).rglob("*")):
            file = path.relative_to(REPO)
            if path.is_file() and file.parts[:2] != ("tests", "output") and path.suffix not in (".pyc", ".gz"):
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                yield from ((f"{file}:{number}", line) for number, line in enumerate(lines, 1))


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    assert [place for place, line in cited_lines() if _ELSEWHERE.search(line)] == []


def test_every_fact_that_is_cited_is_there_and_no_other() -> None:
    page = (REPO / "docs" / "upstream-facts.md").read_text(encoding="utf-8")
    facts = re.findall(rf"^### ({_FACT}) \S", page, re.MULTILINE)
    assert len(facts) == len(set(facts))
    cited: set[str] = set()
    for place, line in cited_lines():
        for citation in _CITATION.findall(line):
            named = re.findall(_FACT, citation)
            assert named, f"{place} cites no section"
            assert set(named) <= set(facts), place
            first, last = (facts.index(named[index]) for index in (0, -1))
            cited.update(facts[first : last + 1] if " to " in citation else named)
    assert set(facts) - cited == set()


def test_the_security_page_names_tests_that_are_there() -> None:
    """C(.../) stands for the folders in between, C(host) for the file that the page says at its beginning."""
    page = (REPO / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|molecule)/[\w./]+|host|test_\w+\.py)(?:: (test_\w+))?`", page)
    assert len(named) > 25
    for path, test in named:
        pattern = "tests/real/test_playbooks_hosts.py" if path == "host" else path.replace("...", "**")
        files = list(REPO.glob(pattern if "/" in pattern else f"tests/**/{pattern}"))
        assert files, f"there is no {path}"
        assert not test or any(f"def {test}(" in file.read_text(encoding="utf-8") for file in files), (
            f"{path} has no {test}"
        )


def sentences() -> Iterator[tuple[str, str]]:
    """Yield the place and the words of each failure that is raised or returned on a host."""
    for path in (REPO / "plugins" / "module_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Failure":
                words = (one.value for one in ast.walk(node) if isinstance(one, ast.Constant))
                yield f"{path.relative_to(REPO)}:{node.lineno}", " ".join(one for one in words if isinstance(one, str))


def test_who_runs_a_role_is_told_of_its_variables_and_not_of_a_modules_options_alone() -> None:
    """C(wait_timeout), where the inventory has vllm_wait_timeout and nim_wait_timeout."""
    variables = {name for role in ROLES for name in entry_points(role)["main"]["options"]}
    options = {name.partition("_")[2] for name in variables}
    known = variables | WIZARD.keys()
    found = []
    for place, words in sentences():
        named = set(re.findall(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w(])", words))
        if named & options and not named & known:
            found.append(f"{place}: {', '.join(sorted(named & options))}")
    assert found == []
