"""What several test modules share: the default project is trained once, and it says which tests stay together."""

import random
import runpy

import pytest
from workshop import Project, grow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let two processes run the tests side by side and yet make each project once; the bakes are made in a second."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "baked" not in fixtures:
            shared = next((name for name in ("demo", "small") if name in fixtures), item.path.stem)
            item.add_marker(pytest.mark.xdist_group(shared))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default project after `make repro` and a commit."""
    project = grow(tmp_path_factory.mktemp("demo"))
    project.commit("Begin")
    project.run("make", "repro")
    project.commit("Run the pipeline")
    return project


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a small model and labels that are hard to learn, run and committed; copy it before you commit."""
    folder = tmp_path_factory.mktemp("small")
    project = grow(folder, data_source="files")
    make = runpy.run_path(str(project.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    cheap = {"compute__threads": 1, "export_onnx__text_graph": False}
    make["write_params"](project.path / "params.yaml", folder / "model", **cheap)
    draw = random.Random(3)
    rows = [(text, label if draw.random() < 0.75 else "good") for text, label in make["sentences"](300, seed=1)]
    make["write_table"](project.path / "data/raw/table.csv", rows)
    project.run("dvc", "add", "data/raw")
    project.commit("Begin")
    project.run("make", "repro")
    project.commit("Run the pipeline")
    return project
