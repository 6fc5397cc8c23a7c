# Copyright: (c) 2026, nemoclaw.local_inference contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
Render docs/awx-survey.json, a survey for job templates of AWX, from the argument_specs and defaults of the roles.

    python tests/tools/render_survey.py           writes it
    python tests/tools/render_survey.py --check   exits 1 where it is not what it would write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from render_variables import REPO, WIZARD, settings

TARGET = Path("docs") / "awx-survey.json"
# AWX wants limits of each text and number: its own for a text, and what the settings' own check refuses by itself.
_LONGEST_TEXT, _LARGEST = 1024, 2**31 - 1


def survey(repo: Path) -> dict[str, Any]:
    """Return the survey: a question for each setting of the wizard that is no secret.

    No question has a default, or must be answered: AWX hands both on as extra variables, which win over the inventory of every host, an
    empty text as well.
    """
    questions = []
    for setting in settings(repo):
        one = WIZARD.get(setting.name)
        if one is not None and not one.secret:
            default = f" Default: {setting.default}." if setting.default else ""
            about = f"{setting.about.replace('`', '')}{default}"
            questions.append(_question(one, about))
    return {"name": "nemoclaw.local_inference", "description": "Settings of NemoClaw's wizard", "spec": questions}


def _question(one: Any, about: str) -> dict[str, Any]:
    question = {
        "question_name": one.name,
        "question_description": about,
        "variable": one.name,
        "type": "text",
        "required": False,
    }
    if one.kind == "int":
        question.update(type="integer", min=one.least or 0, max=_LARGEST)
    elif one.kind == "bool" or one.choices:
        choices = ["true", "false"] if one.kind == "bool" else list(one.choices)
        question.update(type="multiplechoice", choices=choices)
    else:
        question.update(min=0, max=_LONGEST_TEXT)
    return question


def main(arguments: list[str], repo: Path = REPO) -> int:
    """Return 0 when the survey is what it should be, 1 when --check found that it is not."""
    text = json.dumps(survey(repo), indent=2) + "\n"
    path = repo / TARGET
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"{TARGET} is not as the roles have it. Run: python tests/tools/render_survey.py", file=sys.stderr)
        return 1
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
