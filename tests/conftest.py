"""What several test modules share: the default project is trained once, and it says which tests stay together."""

import random
import runpy

import pytest
from workshop import Project, grow
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

collect_ignore = ["grown", "opened"]  # they run in a grown project: test_bakes.py, test_interop.py

# The modules that use one project; of the others each is a group of its own, of bakes each test is. xdist's own marks
# of groups are lost with pytest 9.2.
SHARED = {
    "demo": "demo other_runtime interop plots",
    "small": "environment service retrain deploy experiments gpu_check mlflow release reuse search change_it monorepo"
    " look student guide",
}
GROUPS = {f"test_{module}.py": project for project, modules in SHARED.items() for module in modules.split()}


# What takes longest begins first, so that in the end no process waits for one that has much left.
FIRST = (
    "small",
    "demo",
    "test_its_own_slow_tests_pass[lean]",
    "test_sources.py",
    "test_its_own_slow_tests_pass[larger]",
    "test_remote.py",
    "test_the_tests_that_it_does_not_hold_pass[sample-local-slow]",
    "test_tasks.py",
)


def scope_of(nodeid: str) -> str:
    """What one process does as a whole: the tests of a project or a module, or one test."""
    path, _, test = nodeid.partition("::")
    module = path.rpartition("/")[2]
    return test if module == "test_bakes.py" else GROUPS.get(module, module)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by when they are to begin."""
    order = {scope: index for index, scope in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(scope_of(item.nodeid), len(FIRST)))


class ByProject(LoadScopeScheduling):
    """Shares out tests between processes so that each project is made by one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


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


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a small model and labels that are hard to learn, run and committed; copy it before you commit."""
    folder = tmp_path_factory.mktemp("small")
    project = grow(folder, scope="team", data_source="files")
    make = runpy.run_path(str(project.path / "tests/small_project.py"))
    make["write_base_model"](folder / "model")
    make["write_params"](project.path / "params.yaml", folder / "model", compute__threads=1)
    draw = random.Random(3)
    rows = [(text, label if draw.random() < 0.75 else "good") for text, label in make["sentences"](300, seed=1)]
    make["write_table"](project.path / "data/raw/table.csv", rows)
    project.run("dvc", "add", "data/raw")
    project.commit("Begin")
    project.run("make", "repro")
    project.commit("Run the pipeline")
    return project
