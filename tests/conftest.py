"""What several test modules share: the default project is trained once."""

import pytest
from workshop import Project, grow


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default project after `make repro` and a commit."""
    project = grow(tmp_path_factory.mktemp("demo"))
    project.commit("Begin")
    project.run("make", "repro")
    project.commit("Run the pipeline")
    return project
