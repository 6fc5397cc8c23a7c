# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of variables: what a cell says, and that a stale table is noticed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "tools"))

import render_variables

SPECS = """\
argument_specs:
  main:
    short_description: Do it
    options:
      x_model:
        description: [Model ID., Defaults to C(nemoclaw_model).]
        type: str
        default: tiny
      x_key:
        description: The key.
        type: str
        no_log: true
"""
DEFAULTS = """\
x_model: "{{ lookup('nemoclaw.local_inference.setting', 'nemoclaw_model', default='tiny') }}"
x_key: "{{ lookup('nemoclaw.local_inference.setting', 'hf_token') }}"
"""
PAGE = f"# A page\n\n{render_variables.START}\n{render_variables.END}\n\nThe end.\n"


@pytest.fixture
def repo(tmp_path):
    """Return a repository with one role and the pages, their tables not rendered yet."""
    for name, text in {
        "roles/x/meta/argument_specs.yml": SPECS,
        "roles/x/defaults/main.yml": DEFAULTS,
        "playbooks/site.yml": "---\n# nemoclaw_other is only mentioned\n- name: Go\n  vars:\n    a: '{{ nemoclaw_model }}'\n",
        "roles/x/README.md": PAGE,
        "docs/variables.md": PAGE,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("markup", "markdown"),
    [
        (
            "The option O(base_url) or V(http://localhost:8000/v1).",
            "The option `base_url` or `http://localhost:8000/v1`.",
        ),
        ("C(a) and E(NEMOCLAW_MODEL), see M(ns.col.module).", "`a` and `NEMOCLAW_MODEL`, see `ns.col.module`."),
        ("As RV(ns.col.status#module:failure.code).", "As `failure.code`."),
        ("V(closing\\) parenthesis) stays.", "`closing) parenthesis` stays."),
        (
            "I(slanted), B(strong), L(a page,https://example.com/).",
            "*slanted*, **strong**, [a page](https://example.com/).",
        ),
        ("either V(a|b)\nor more", "either `a\\|b` or more"),
        (
            "Plain words (in parentheses) stay, as does the unit GiB(s).",
            "Plain words (in parentheses) stay, as does the unit GiB(s).",
        ),
    ],
)
def test_markup_becomes_markdown(markup, markdown):
    assert render_variables.to_markdown(markup) == markdown


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ({"required": True}, "required"),
        ({}, ""),
        ({"default": ""}, "empty"),
        ({"default": 180}, "`180`"),
        ({"default": 0}, "`0`"),
        ({"default": False}, "`false`"),
        ({"default": []}, "`[]`"),
        (
            {"default": "{{ lookup('nemoclaw.local_inference.setting', 'nemoclaw_vllm_port') }}"},
            "`nemoclaw_vllm_port`, then `NEMOCLAW_VLLM_PORT`, then `8000`",
        ),
        (
            {"default": "{{ lookup('nemoclaw.local_inference.setting', 'nemoclaw_yes') }}"},
            "`nemoclaw_yes`, then `NEMOCLAW_YES`, then `false`",
        ),
        (
            {
                "default": "{{ lookup('nemoclaw.local_inference.setting', 'compatible_api_key') if a == 'b' "
                "else lookup('nemoclaw.local_inference.setting', 'VLLM_API_KEY') }}"
            },
            "one of `compatible_api_key`, `COMPATIBLE_API_KEY`, `NEMOCLAW_PROVIDER_KEY`, `VLLM_API_KEY`",
        ),
    ],
)
def test_default_is_readable(option, shown):
    assert render_variables.readable_default(option) == shown


def test_check_notices_a_stale_table_and_writes_nothing(repo, capsys):
    assert render_variables.main(["--check"], repo) == 1
    assert "+| `x_model` | str | `nemoclaw_model`, then `NEMOCLAW_MODEL`, then `tiny` |" in capsys.readouterr().out
    assert (repo / "roles/x/README.md").read_text(encoding="utf-8") == PAGE


def test_what_was_written_passes_the_check(repo):
    assert render_variables.main([], repo) == 0
    assert render_variables.main(["--check"], repo) == 0
    for name in ("roles/x/README.md", "docs/variables.md"):
        text = (repo / name).read_text(encoding="utf-8")
        assert text.startswith("# A page\n") and text.endswith("\n\nThe end.\n")
    row = "| `nemoclaw_model` | `NEMOCLAW_MODEL` | `tiny` | Model ID. | `x_model`, playbook `site` |"
    assert row in (repo / "docs" / "variables.md").read_text(encoding="utf-8")


def test_secret_without_a_specified_default_shows_what_it_looks_at(repo):
    render_variables.main([], repo)
    text = (repo / "roles/x/README.md").read_text(encoding="utf-8")
    assert "| `x_key` | str | `hf_token`, then `HF_TOKEN`, then `HUGGING_FACE_HUB_TOKEN` | The key. |" in text


def test_page_without_markers_is_refused(repo):
    (repo / "roles/x/README.md").write_text("# A page\n", encoding="utf-8")
    with pytest.raises(ValueError, match="variables:start"):
        render_variables.main([], repo)


def test_every_setting_of_the_code_is_documented():
    """Settings that only a playbook or a module's sentence names are described by hand: none may be forgotten."""
    page = (REPO / "docs" / "variables.md").read_text(encoding="utf-8")
    named = set()
    for folder in ("roles", "playbooks", "plugins"):
        for path in sorted((REPO / folder).rglob("*")):
            if path.suffix in (".yml", ".py"):
                named |= set(
                    re.findall(
                        r"(?<!\$)\b(?:nemoclaw|compatible|NEMOCLAW|COMPATIBLE)_[A-Za-z_]+\b",
                        path.read_text(encoding="utf-8"),
                    )
                )
    # Modules and failure codes may begin like settings; with a dollar sign it is a variable of nginx.
    named -= {path.stem for path in (REPO / "plugins" / "modules").glob("*.py")}
    # What the playbooks register is no setting.
    named -= {"nemoclaw_begun", "nemoclaw_ended", "nemoclaw_results"}
    # What ends with an underscore begins the names of metrics, or of variables that a pattern finds.
    named = {name for name in named if not name.endswith("_")}
    named -= set(re.findall(r"^\| `(\w+)` \|", (REPO / "docs" / "failure-codes.md").read_text("utf-8"), re.MULTILINE))
    assert {name for name in named if f"`{name}`" not in page} == set()
