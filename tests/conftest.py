"""What several test modules share: the default project is trained once, and it says which tests stay together."""

import os
import random
import runpy
from pathlib import Path

import pytest
from filelock import FileLock
from workshop import Project, grow
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# They run in a grown project: test_bakes.py, test_search.py, test_interop.py.
collect_ignore = ["grown", "grown_team", "grown_production", "opened"]

# The modules that use one project; of the others each is a group of its own, of bakes each test is. xdist's own marks
# of groups are lost with pytest 9.2.
DEMO = [f"test_{module}.py" for module in "demo other_runtime interop plots".split()]
# What takes longest begins first, so that in the end no process waits for one that has much left. Seconds on two cores.
SECONDS = {
    "test_all_tests_of_lean_pass[sample-local-slow]": 600,
    "demo": 250,
    "test_sources.py": 200,
    "test_remote.py": 280,
    "test_the_slow_tests_of_the_larger_sizes_pass[files-s3]": 200,
    "test_retrain.py": 230,
    "test_experiments.py": 220,
    "test_environment.py": 215,
    "test_tasks.py": 110,
    "test_monorepo.py": 175,
    "test_service.py": 170,
    "test_search.py": 160,
    "test_deploy.py": 120,
    "test_gpu_check.py": 115,
    "test_all_tests_of_lean_pass[sample-local-not slow]": 90,
    "test_surroundings.py": 106,
    "test_guide.py": 105,
    "test_release.py": 100,
    "test_its_own_tests_pass_with_other_parameters[files-s3-regression-which0]": 85,
    "test_mlflow.py": 60,
    "test_student.py": 60,
    "test_tables.py": 60,
    "test_fetch.py": 50,
    "test_scopes.py": 40,
}


def scope_of(nodeid: str) -> str:
    """What one process does as a whole: the tests of a project or a module, or one test."""
    path, _, test = nodeid.partition("::")
    module = path.rpartition("/")[2]
    if module in DEMO:
        return "demo"
    return test if module == "test_bakes.py" else module


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by when they are to begin."""
    items.sort(key=lambda item: -SECONDS.get(scope_of(item.nodeid), 0))


class ByProject(LoadScopeScheduling):
    """Shares out tests between processes so that each project is made by one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _reschedule(self, node: WorkerController) -> None:
        """Hand out the next scope when a process waits for it: its last test begins once it knows what follows."""
        if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByProject:
    """Let xdist share out the tests so."""
    return ByProject(config, log)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default project after `make repro` and a commit."""
    project = grow(tmp_path_factory.mktemp("demo"))
    project.commit("Begin")
    project.run("make", "repro")
    project.commit("Run the pipeline")
    return project


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a small model and labels that are hard to learn, run and committed; copy it before you commit.

    It is made once, by one of the processes; each module has a copy.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small"
    with FileLock(folder.with_suffix(".lock")):
        made = folder / "made"
        project = make_small(folder) if not made.exists() else Project(folder / "review-sentiment", folder / "home")
        made.touch()
    return project.copy(tmp_path_factory.mktemp("small"))


def make_small(folder: Path) -> Project:
    """Grow it, write its model and its table, and run it."""
    project = grow(folder, scope="team", data_source="files")
    make = runpy.run_path(str(project.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    make["write_params"](project.path / "params.yaml", folder / "model", compute__threads=1)
    draw = random.Random(3)
    rows = [(text, label if draw.random() < 0.75 else "good") for text, label in make["sentences"](300, seed=1)]
    make["write_table"](project.path / "data/raw/table.csv", rows)
    project.run("dvc", "add", "data/raw")
    project.commit("Begin")
    project.run_pipeline()
    project.commit("Run the pipeline")
    return project
