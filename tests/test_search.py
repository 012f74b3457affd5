"""A search with a small model: killed in the middle, it ends as if it had not been."""

import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from workshop import TEMPLATE, Project, grow

pytestmark = pytest.mark.slow

SPACE = """fine_tune.learning_rate: {low: 0.00001, high: 0.1, log: true}
fine_tune.epochs: [2]
"""
TRIALS = 4
SEED = 8  # draws a learning rate of 0.09 for trial 4, after three that are better
SECONDS = 120


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    """The small project with a space of its own to search in."""
    project = small.copy(tmp_path)
    text = project.text("params.yaml").replace("seed: 42", f"seed: {SEED}", 1)
    (project.path / "params.yaml").write_text(text, encoding="utf-8")
    (project.path / "search.yaml").write_text(SPACE, encoding="utf-8")
    project.commit("Search in another space")
    return project


def test_the_tests_of_its_parts_and_of_comparisons_pass(tmp_path: Path) -> None:
    """Those of tests/grown_team, which hold what an owner may change freely, as those of tests/grown do for lean."""
    project = grow(tmp_path, scope="team")
    grown = TEMPLATE / "tests/grown_team"
    shutil.copytree(grown, project.path / "tests", dirs_exist_ok=True)
    files = (f"tests/{path.name}" for path in sorted(grown.glob("*.py")))
    assert " passed" in project.run("pytest", "-q", "-n", "0", *files)


def kill_in_trial(project: Project, number: int) -> None:
    """Begin the search and end all of its processes at once when a trial has begun to train."""
    process = subprocess.Popen(["make", "search", f"TRIALS={TRIALS}"], cwd=project.path, env=project.env)
    deadline = time.monotonic() + SECONDS
    while not (
        list((project.path / ".tools/search").glob(f"*-{number:02}.log"))
        and list((project.path / ".tools/search/clone/.checkpoints").glob("*/best.safetensors"))
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    parent = psutil.Process(process.pid)
    for child in [parent, *parent.children(recursive=True)]:
        child.kill()
    process.wait()


def test_a_killed_search_ends_as_one_that_was_not(project: Project, tmp_path: Path) -> None:
    (project.path / "notes.txt").write_text("not committed", encoding="utf-8")
    refused = project.try_to("make", "search")
    assert refused.returncode != 0
    assert "the workspace is not committed" in refused.stderr
    assert "notes.txt" in refused.stderr
    (project.path / "notes.txt").unlink()
    assert "there is nothing to apply" in project.try_to("make", "search-apply").stderr

    kill_in_trial(project, 3)
    said = project.run("make", "--silent", "search", f"TRIALS={TRIALS}")
    assert "trial 3: " in said
    assert "trial 2: " not in said
    table = said[said.index("\ntrial  validation accuracy") :]
    assert project.run("git", "status", "--porcelain") == ""

    # What the same parameters gave comes from DVC's run cache; other parameters would be trained, and show.
    unbroken = project.copy(tmp_path / "unbroken")
    assert table in unbroken.run("make", "--silent", "search", f"TRIALS={TRIALS}")

    rows = [line.split() for line in table.splitlines()[2:] if "fine_tune" in line]
    assert "fine_tune.learning_rate=0.001 fine_tune.epochs=2" in " ".join(rows[0])  # those of params.yaml
    assert [row[0] for row in rows] == [str(number) for number in range(1, TRIALS + 1)]
    complete = [row for row in rows if "ended" not in row]
    assert 1 <= len(complete) < TRIALS, table
    shown = project.run("dvc", "exp", "list", "--name-only").split()
    assert sorted(name.split("-", 2)[2] for name in shown) == [f"{int(row[0]):02}-{row[1]}" for row in complete]

    best = next(row for row in rows if "best" in row)
    assert float(best[1]) == max(float(row[1]) for row in complete)
    before = project.text("params.yaml").splitlines()
    project.run("make", "search-apply")
    after = project.text("params.yaml").splitlines()
    given = dict(part.removeprefix("fine_tune.").split("=") for part in best if "=" in part)
    expected = {f"  {name}: {value}" for name, value in given.items()}
    assert {line.partition("  #")[0] for line in after if line not in before} <= expected
    assert expected <= {line.partition("  #")[0] for line in after}
    assert len(before) == len(after)
    assert "didn't change" not in project.run("dvc", "repro", "--dry", "fine_tune").splitlines()[-1]
