"""Experiments as the project's docs/experiments.md has them: a queued grid, the table, a branch, a record."""

import csv
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from workshop import Project, grow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project after a queue of two experiments, which only have to evaluate again."""
    project = small.copy(tmp_path_factory.mktemp("experiments"))
    queued = project.run("make", "exp", "QUEUE=1", "SET=evaluate.calibration_bins=10,20")
    assert queued.count("Queued experiment") == 2
    project.run("make", "queue")
    return project


def experiments(project: Project) -> dict[str, str]:
    """The names of the experiments by their number of bins, from DVC's own table."""
    table = project.run("dvc", "exp", "show", "--csv")
    rows = csv.DictReader(io.StringIO(table[table.index("Experiment,") :]))
    return {row["evaluate.calibration_bins"]: row["Experiment"] for row in rows if row["typ"].startswith("branch")}


def test_a_queued_grid_runs_beside_the_workspace(project: Project) -> None:
    assert set(experiments(project)) == {"10", "20"}
    assert project.run("git", "status", "--porcelain") == ""
    processes = [process.info for process in psutil.process_iter(["cmdline", "cwd"])]
    workers = [info["cwd"] or "" for info in processes if "queue-worker" in (info["cmdline"] or [])]
    assert not [folder for folder in workers if folder.startswith(str(project.path))]


def test_the_table_has_scores_and_what_differs(project: Project) -> None:
    header, workspace, *rows = project.run("make", "--silent", "exp").splitlines()
    assert header.split() == ["experiment", "accuracy", "macro_f1", "changed", "parameters"]
    shipped = json.loads(project.text("reports/metrics.json"))["onnx_int8"]
    scores = [f"{shipped[name]:.4f}" for name in ("accuracy", "macro_f1")]
    assert workspace.split() == ["workspace", *scores, "-"]
    changed = {name: ["evaluate.calibration_bins=" + bins] for bins, name in experiments(project).items()}
    assert {row.split()[0]: row.split()[3:] for row in rows} == changed
    assert all(row.split()[1:3] == scores for row in rows)


def test_an_experiment_becomes_a_branch(project: Project) -> None:
    project.run("dvc", "exp", "branch", experiments(project)["10"], "fewer-bins")
    assert "calibration_bins: 10" in project.run("git", "show", "fewer-bins:params.yaml")
    assert "calibration_bins: 15" in project.run("git", "show", "HEAD:params.yaml")


def test_a_record_is_filled_from_facts(project: Project) -> None:
    name = experiments(project)["20"]
    asked = ["NAME=Twice as many bins!", f"EXP={name}", "HYPOTHESIS=The error's estimate does not move."]
    file = Path(project.run("make", "--silent", "record", *asked).strip())
    assert file.as_posix() == "experiments/001-twice-as-many-bins/README.md"
    text = project.text(str(file))
    assert "The error's estimate does not move." in text
    commits = [project.run("git", "rev-parse", rev).strip() for rev in ("HEAD", "fewer-bins^")]
    assert commits[0] == commits[1]
    assert f"| commit | `{commits[0][:12]}` |" in text
    assert "| `evaluate.calibration_bins` | 15 | 20 |" in text
    assert "| `seed` | 42 | 42 |" in text
    assert "fine_tune.learning_rate" not in text
    torch = json.loads(project.text("reports/metrics.json"))["torch"]
    measured = f"{torch['accuracy']:.4f} [{torch['accuracy_low']:.4f}, {torch['accuracy_high']:.4f}]"
    assert f"| torch | accuracy | {measured} | {measured} | +0.0000 |" in text
    assert text.endswith("## Conclusion\n\n*To be written.*\n")
    again = project.run("make", "--silent", "record", "NAME=Twice", f"EXP={name}").strip()
    assert again == "experiments/002-twice/README.md"


def test_a_record_needs_reports_of_the_model_that_was_trained(project: Project) -> None:
    assert (
        "nothing-like names no one experiment or commit"
        in project.try_to("make", "record", "NAME=a", "EXP=nothing-like").stderr
    )
    project.run("dvc", "exp", "run", "--name", "half", "-S", "embeddings.probe_c=[0.01]", "embeddings")
    project.run("git", "reset", "--quiet", "--hard")
    refused = project.try_to("make", "record", "NAME=a", "EXP=half")
    assert refused.returncode != 0
    assert "half did not run to its end" in refused.stderr
    assert "fine_tune has not run since models/probe changed" in refused.stderr
    assert "half did not run to its end" in project.try_to("make", "compare", "A=HEAD", "B=half").stderr
    shown = {row.split()[0]: row.split()[1:] for row in project.run("make", "--silent", "exp").splitlines()}
    assert shown["half"] == ["-", "-", "embeddings.probe_c=[0.01]"]
    before = project.run("git", "rev-parse", "HEAD").strip()
    project.set_params(evaluate__calibration_bins=7)
    project.commit("Change a parameter, and run nothing")
    assert "the results are stale" in project.try_to("make", "compare", "A=HEAD^", "B=workspace").stderr
    asked = ["make", "record", "NAME=a"]
    for more in ([], ["EXP=fewer-bins", "BASE=HEAD"]):
        assert "evaluate has not run since evaluate.calibration_bins changed" in project.try_to(*asked, *more).stderr
    project.run("git", "reset", "--quiet", "--hard", before)
    assert not list((project.path / "experiments").glob("003-*"))


def test_data_that_git_brought_are_not_taken_for_an_edit(project: Project) -> None:
    before, table = project.run("git", "rev-parse", "HEAD").strip(), project.path / "data/raw/table.csv"
    with table.open("a", encoding="utf-8") as file:
        file.write("a film that nobody has seen,good\n")
    for command in ("repro", "exp SET=seed=7", "seeds SEEDS=7", "folds K=2"):
        refused = project.try_to("make", *command.split())
        assert "error: data differ from data/raw.dvc\n  fix: make pull" in refused.stderr
        assert "Running stage" not in refused.stdout
    project.run("dvc", "add", "data/raw")
    dead = "stages:\n  fetch@data:\n    cmd: any\n    params: {params.yaml: {fetch.data.into: data/raw}}\n"
    (project.path / "dvc.lock").write_text(project.text("dvc.lock").replace("stages:\n", dead), encoding="utf-8")
    project.commit("More rows, and run nothing")
    assert "prepare has not run since data/raw changed" in project.try_to("make", "compare", "A=HEAD^", "B=HEAD").stderr
    assert project.run("make", "--silent", "exp").splitlines()[1].split() == ["workspace", "-"]
    project.run("git", "reset", "--quiet", "--hard", before)
    assert "error: data differ" in project.try_to("make", "repro").stderr
    project.run("dvc", "checkout")
    project.run("make", "repro")


def state(project: Project) -> tuple[str, ...]:
    """The branch, what differs from its commit, and what differs from dvc.lock."""
    return tuple(
        project.try_to(*command).stdout
        for command in (("git", "rev-parse", "--abbrev-ref", "HEAD"), ("git", "status", "--short"), ("dvc", "status"))
    )


REFUSED = {
    "fine_tune.learning_rate=-1": "fine_tune.learning_rate: Input should be greater than 0, found -1",
    "fine_tune.epochs=2 fine_tune.lr=1": "expected: fine_tune.lora, fine_tune.epochs, fine_tune.learning_rate",
    "fine_tune.lora={rank: 8, alpha: 16} seed=1,2": "fine_tune.lora.dropout: missing",
    "fine_tune.epochs": "expected: NAME=VALUE",
}


def test_parameters_are_refused_before_anything_is_removed(small: Project) -> None:
    before = state(small)
    for changes, words in REFUSED.items():
        refused = small.try_to("make", "exp", f"SET={changes}")
        assert refused.returncode != 0, changes
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "+fine_tune" not in refused.stderr
    assert state(small) == before


def interrupted(project: Project, number: signal.Signals) -> str:
    """Begin an experiment, and send its processes a signal while it trains; what was printed."""
    log = project.path.parent / "exp.log"
    with log.open("wb") as output:
        make = subprocess.Popen(
            ["make", "exp", "SET=fine_tune.epochs=200"], cwd=project.path, env=project.env, stdout=output, stderr=output
        )
        while "Running stage 'fine_tune'" not in log.read_text(encoding="utf-8"):
            assert make.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        processes = psutil.Process(make.pid).children(recursive=True)
        for process in [psutil.Process(make.pid), *(processes if number == signal.SIGKILL else [])]:
            process.send_signal(number)
        make.wait(60)
        assert not psutil.wait_procs(processes, timeout=60)[1]
    return log.read_text(encoding="utf-8")


def test_an_experiment_that_was_stopped_or_killed_has_a_way_back(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    before = state(project)
    assert "git stash && dvc checkout" in interrupted(project, signal.SIGTERM)
    assert project.run("git", "rev-parse", "--abbrev-ref", "HEAD") == before[0]
    project.run("git", "stash")
    project.run("dvc", "checkout")
    assert state(project) == before
    interrupted(project, signal.SIGKILL)
    for command in (["make", "exp"], ["make", "release", "VERSION=1.0.0", "STAGE=staging"]):
        refused = project.try_to(*command)
        assert "an experiment was killed and left this checkout on no branch" in refused.stderr
    fix = refused.stderr[refused.stderr.index("fix:") + 4 :].partition(";")[0]
    for command in fix.split("&&"):
        project.run(*shlex.split(command))
    assert state(project) == before
    project.run("make", "exp")
    project.run("git", "switch", "--quiet", "--detach")
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", "On no branch")
    refused = project.try_to("make", "release", "VERSION=1.0.0", "STAGE=staging")
    assert "this commit is on no branch" in refused.stderr


def test_folds_predict_every_row_once(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    before = state(project)
    vectors = {path: path.stat().st_mtime_ns for path in (project.path / ".vectors").rglob("*.float32")}
    folds = "make", "--silent", "folds", "K=2"
    shown = project.try_to(*folds).stdout
    assert state(project) == before
    assert {path: path.stat().st_mtime_ns for path in (project.path / ".vectors").rglob("*.float32")} == vectors != {}

    found = pl.read_parquet(project.path / ".tools/folds/predictions.parquet")
    rows = pl.concat(pl.read_parquet(path) for path in (project.path / "data/processed").glob("*.parquet"))
    keys = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in rows["text"]]
    labels = json.loads(project.text("data/processed/labels.json"))
    expected = dict(zip(keys, (labels[index] for index in rows["label"]), strict=True))
    assert dict(found.select("key", "label").iter_rows()) == expected
    assert len(found) == len(expected)

    ran = project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps/??/**").split()
    assert [project.run("git", "show", f"{one}:reports/robustness.json") for one in ran] == ["{}\n", "{}\n"]
    record = json.loads(project.text(".tools/folds/record.json"))
    assert record["rows"] == [found.filter(fold=fold).height for fold in (0, 1)]
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        is_right = pl.col("label") == pl.col(model)
        right = found.group_by("fold", maintain_order=True).agg(is_right.mean().alias("right"))["right"]
        assert record["scores"][model]["accuracy"]["folds"] == pytest.approx(right.to_list(), abs=1e-6)
        assert f"  {model:<10} {right.mean():.4f} ± {right.std():.4f}" in shown
    counts = found.group_by("fold", "label").len()
    assert record["fewest_rows_of_a_label"]["rows"] == counts["len"].min()

    shutil.rmtree(project.path / ".vectors")
    assert project.try_to(*folds).stdout == shown
    assert not (project.path / ".vectors").exists()  # what has run to its end is not run again
    refused = project.try_to("make", "folds", "K=1")
    assert "usage: make folds K=5" in refused.stderr


STUB = """stages:
  evaluate:
    cmd: sh edit.sh
    params: [seed]
    metrics:
      - reports/metrics.json: {cache: false}
"""
MEASURE = "mkdir -p reports; echo {} > reports/metrics.json; "
EDIT = "echo mine >> README.md; sed -i 's/epochs: .*/epochs: 7/' params.yaml"


def test_edits_made_while_experiments_run_are_kept(tmp_path: Path) -> None:
    project = grow(tmp_path, scope="team")
    (project.path / "dvc.yaml").write_text(STUB, encoding="utf-8")
    (project.path / "edit.sh").write_text(MEASURE + EDIT, encoding="utf-8")
    project.commit("Begin")
    assert "different whole numbers" in project.try_to("make", "seeds", "SEEDS=1 01").stderr
    refused = project.try_to("make", "seeds", "SEEDS=1 2")
    assert project.text("README.md").endswith("mine\n")
    assert "epochs: 7" in project.text("params.yaml")
    assert "files were edited while experiments ran" in refused.stderr
    assert "found:    README.md, params.yaml: left as they are" in refused.stderr
    assert project.run("git", "status", "--porcelain", "-uno").split() == ["M", "README.md", "M", "params.yaml"]
    assert len(project.run("dvc", "exp", "list", "--name-only").splitlines()) == 1  # the second has not begun


def test_seeds_need_no_model_of_the_last_commit(tmp_path: Path) -> None:
    """A fresh clone lacks it, and no remote may hold it."""
    project = grow(tmp_path, scope="team")
    (project.path / "dvc.yaml").write_text(f"{STUB}    outs: [model]\n", encoding="utf-8")
    measure = """cp params.yaml model; mkdir -p reports; echo '{"test_rows": 9, "torch": {}}' > reports/metrics.json"""
    (project.path / "edit.sh").write_text(measure, encoding="utf-8")
    project.run("dvc", "repro")
    project.commit("Begin")
    shutil.rmtree(project.path / ".dvc/cache")
    (project.path / "model").unlink()
    assert "9 test rows, mean ± standard deviation of seeds 1 2" in project.run("make", "seeds", "SEEDS=1 2")


def test_the_queue_fails_with_an_experiment(tmp_path: Path) -> None:
    project = grow(tmp_path, scope="team")
    (project.path / "dvc.yaml").write_text(STUB, encoding="utf-8")
    (project.path / "edit.sh").write_text(MEASURE + "! grep 'seed: 8' params.yaml", encoding="utf-8")
    project.commit("Begin")
    for seed, code in {"8": 2, "5": 0}.items():  # an earlier failure is none of this run
        project.run("make", "exp", "QUEUE=1", f"SET=seed={seed}", f"NAME=seed-{seed}")
        assert project.try_to("make", "queue").returncode == code
    assert "seed-5" in project.run("dvc", "exp", "list", "--name-only")


FAKE = """#!/bin/sh
trap 'sleep 1; touch tidied; exit 130' INT
while :; do sleep 0.1; done
"""


def test_dvc_tidies_up_when_an_experiment_is_stopped(tmp_path: Path) -> None:
    """Killed at once, it would leave HEAD on no branch."""
    project = grow(tmp_path, scope="team")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dvc").write_text(FAKE, encoding="utf-8")
    (tmp_path / "bin/dvc").chmod(0o755)
    code = "from tools.evidence.experiments import run_dvc; print('begun', flush=True); run_dvc('exp', 'run')"
    environment = project.env | {"PATH": f"{tmp_path / 'bin'}:{project.env['PATH']}"}
    command = ["nohup", sys.executable, "-c", code]
    process = subprocess.Popen(
        command, cwd=project.path, env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    process.stdout.readline()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGHUP)  # as a terminal that is closed, which `nohup` outlives
    time.sleep(1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    process.wait(20)
    assert (project.path / "tidied").exists()
