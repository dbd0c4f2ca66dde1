from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manifests import KUBERNETES, Rendered, objects_of_the_guide, render

OVERLAYS = ["demo", "example"]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The demo, with secrets made up by its own script."""
    copy = tmp_path_factory.mktemp("deploy") / "kubernetes"
    shutil.copytree(KUBERNETES, copy, ignore=shutil.ignore_patterns("*.secret.env"))
    script = copy / "overlays/demo/secrets.sh"
    subprocess.run([script], check=True)
    made = {file.name: file.read_text() for file in script.parent.glob("*.secret.env")}
    subprocess.run([script], check=True)
    assert {name: Path(script.parent, name).read_text() for name in made} == made, "made once, then kept"
    return render(script.parent)


@pytest.fixture(scope="session")
def example() -> Rendered:
    """The pattern for overlays, with what the guide says to make."""
    return Rendered([*render(KUBERNETES / "overlays/example").objects, *objects_of_the_guide().objects])


@pytest.fixture(params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return request.getfixturevalue(request.param)
