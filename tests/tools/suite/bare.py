"""The unit tests on a host that has nothing: no network, IPv6, Docker or user of uid 1000; as anybody, and as root what only root can.

What a unit test needs of a host it has to bring along, or it passes on the machine alone that it was written on.
"""

from __future__ import annotations

import secrets
import shutil
import xml.etree.ElementTree

from . import docker, paths, tree, venvs
from .model import Counts, StageSkipped
from .pytests import PYTEST, judge, units_on
from .run import PYTEST_FAULTS, Run

_HERE = paths.Path("/opt/bare")
_AS_ROOT = 'userdel --remove lab 2>/dev/null; exec "$@"'
_AS_USER = (
    "userdel --remove lab 2>/dev/null; useradd --uid 4321 --create-home tester"
    ' && exec setpriv --reuid 4321 --regid 4321 --init-groups --inh-caps=-all env HOME=/home/tester "$@"'
)


def units(run: Run) -> None:
    """Run tests/unit with the oldest core that we support, in containers of the image of a test host."""
    programs = venvs.venv(run, "units-oldest")
    try:
        docker.require_engine(run)
        image = docker.host_image(run)
        if not _packages(programs).exists():
            raise StageSkipped("the image has Python 3.11, and this machine has none to make its environment with")
    except StageSkipped as reason:
        run.counts.add(Counts(skipped=1, reasons=[f"no unit tests on a bare host: {reason}"]))
        units_on(run, programs)
        return
    root = tree.copy(run, run.name)
    report = _in_container(run, image, programs, root, "user", _AS_USER, ["tests/unit"])
    left = _skipped(report)
    # The other stages run all of them as root.
    run.counts.skipped, run.counts.reasons = 0, []
    if left:
        _in_container(run, image, programs, root, "root", _AS_ROOT, left)
    run.highlight(PYTEST_FAULTS)


def _in_container(
    run: Run, image: str, programs: paths.Path, root: paths.Path, name: str, shell: str, tests: list[str]
) -> paths.Path:
    folder = paths.CACHE / "bare" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # the user in the container is nobody here
    inside = _HERE / paths.COLLECTION_FOLDER
    container = f"nemoclaw-test-bare-{secrets.token_hex(4)}"
    argv = [
        *("docker", "run", "--rm", "--name", container, "--network", "none"),
        *(
            "--volume",
            f"{root}:{inside}:ro",
            "--volume",
            f"{_packages(programs)}:/opt/packages:ro",
            "--volume",
            f"{folder}:/opt/report",
        ),
        *("--env", f"PYTHONPATH={_HERE}:/opt/packages", "--env", "LC_ALL=C.UTF-8", "--workdir", inside),
        *(image, "sh", "-c", shell, "sh", "python3", "-B", *PYTEST),
        *("--junit-xml=/opt/report/report.xml", "--override-ini=junit_family=xunit1", *tests),
    ]
    try:
        judge(run, run.execute(argv), folder / "report.xml")
    finally:
        docker.remove_containers(container)
    return folder / "report.xml"


def _packages(programs: paths.Path) -> paths.Path:
    return programs.parent / "lib" / "python3.11" / "site-packages"


def _skipped(report: paths.Path) -> list[str]:
    """Return the tests that were skipped, as pytest names them."""
    cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    return [f"{case.get('file')}::{case.get('name')}" for case in cases if case.find("skipped") is not None]
