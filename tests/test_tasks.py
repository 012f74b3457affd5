"""The tasks beside one label for each text, from the table to the answer, with a small model."""

import csv
import json
import random
import re
import runpy

import pytest
from workshop import SMALL_GATE, Project, grow

pytestmark = pytest.mark.slow

FILLER = "the film a story an actor this scene and but plot is of with".split()
SIGNAL = {"warm": "warm tender moving".split(), "loud": "loud hollow stale".split()}
MILLION, STEP = 1_000_000, 5000  # large beside what they differ by, so that the last bit of float32 is 1/16


def sentence(draw: random.Random, **counts: int) -> str:
    """Filler, and so many words that tell of each quality."""
    words = draw.choices(FILLER, k=draw.randint(3, 8))
    for quality, count in counts.items():
        words += draw.choices(SIGNAL[quality], k=count)
    draw.shuffle(words)
    return " ".join(words)


def labelled(draw: random.Random, task: str) -> dict[str, object]:
    """One row: the qualities that are there, or their difference, or the quality of the second of two texts."""
    warm, loud = draw.randint(0, 2), draw.randint(0, 2)
    if task == "multi_label":
        label = ";".join(name for name, count in (("warm", warm), ("loud", loud)) if count)
        return {"text": sentence(draw, warm=warm, loud=loud), "label": label}
    if task == "regression":
        return {"text": sentence(draw, warm=warm, loud=loud), "label": MILLION + STEP * (warm - loud)}
    first, second = draw.choices([*SIGNAL], k=2)
    return {"text": sentence(draw, **{first: 2}), "second": sentence(draw, **{second: 2}), "label": second}


CASES = {
    "multi_label": ({"prepare__label_separator": ";"}, "micro_f1", {"calibration", "per_class"}),
    "regression": ({}, "r2", {"calibration", "predictions"}),
    "pair": (
        {"prepare__second_text_column": "second", "fine_tune__epochs": 5},
        "accuracy",
        {"calibration", "confusion_matrix", "per_class"},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of each task, run and committed."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    grown = grow(folder, scope="team", data_source="files", task=task)
    small = runpy.run_path(str(grown.path / "tests/small_project.py"))
    small["write_base_model"](folder / "model")
    draw = random.Random(7)
    rows = [labelled(draw, task) for _ in range(700)]
    path = grown.path / "data/raw/table.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    limits = {"export_onnx__max_int8_drop": 0.2}
    grown.set_params("gate.yaml", **SMALL_GATE | {"max_int8_loss": 0.2, "max_calibration_error": 0.9})
    small["write_params"](
        grown.path / "params.yaml", folder / "model", task=task, compute__threads=1, **limits, **CASES[task][0]
    )
    grown.run("dvc", "add", "data/raw")
    grown.run_pipeline()
    grown.commit("Run the pipeline")
    return grown


def task_of(project: Project) -> str:
    return json.loads(project.text("models/onnx/manifest.json"))["task"]


def test_every_model_learns_and_onnx_says_what_torch_says(project: Project) -> None:
    _, score, _ = CASES[task_of(project)]
    metrics, parity = (json.loads(project.text(f"reports/{name}.json")) for name in ("metrics", "parity"))
    assert metrics["torch"][score] > 0.7
    assert metrics["torch"][f"{score}_low"] <= metrics["torch"][score] <= metrics["torch"][f"{score}_high"]
    assert metrics["onnx_fp32"][score] == pytest.approx(metrics["torch"][score], abs=1e-4)
    assert metrics["onnx_int8"][score] >= metrics["torch"][score] - 0.2
    assert parity["fp32_logit_difference_below"] <= 1e-5
    if task_of(project) != "regression":
        assert metrics["onnx_fp32"]["label_disagreements_with_torch"] == 0


def test_the_reports_are_those_of_the_task(project: Project) -> None:
    task = task_of(project)
    _, _, tables = CASES[task]
    assert {path.stem for path in (project.path / "reports/evaluation").iterdir()} == tables
    card = project.text("reports/model_card.md")
    assert {"multi_label": "exact match", "regression": "R²", "pair": "second_text"}[task] in card
    assert "-0.0000" not in card
    shown = project.run("make", "--silent", "results").splitlines()
    assert [line[:17].strip() for line in shown[3:7]] == ["linear probe", "fine-tuned, torch", "ONNX fp32", "ONNX int8"]
    assert shown[-1].startswith(verdict_on(json.loads(project.text("reports/metrics.json"))["onnx_int8"]))
    project.run("dvc", "plots", "show")
    assert project.run("dvc", "status", "--quiet") == ""


def verdict_on(shipped: dict[str, float]) -> str:
    """How the last line of the results begins."""
    [p] = [value for name, value in shipped.items() if name.endswith("_p_against_probe")]
    if p >= 0.05:
        return "No gain over the probe is shown (p "
    return (
        "WORSE than the probe (p "
        if shipped["gain_over_probe"] < 0
        else "The shipped model is better than the probe (p "
    )


def test_the_gate_and_the_comparison_follow_the_task(project: Project) -> None:
    summary = project.path.parent / "summary.md"
    shown = project.run("make", "gate", "BASE=HEAD", f"SUMMARY={summary}")
    assert " 0 failed, " in shown
    table = summary.read_text(encoding="utf-8")
    assert "| against HEAD | not worse with p < 0.05 | " in table
    checks = {"multi_label": 12, "regression": 10, "pair": 13}[task_of(project)]
    assert len(re.findall(r"^\|.*\| (passed|not checked) \|$", table, re.MULTILINE)) == checks
    project.set_params("gate.yaml", min_score=1.5)
    failed = project.try_to("make", "gate")
    project.run("git", "restore", "gate.yaml")
    assert failed.returncode != 0
    assert re.search(rf"^{CASES[task_of(project)][1]} .* FAILED$", failed.stdout, re.MULTILINE)
    score = {"multi_label": "micro-F1", "regression": "mean absolute error", "pair": "accuracy"}[task_of(project)]
    compared = project.run("make", "compare", "A=HEAD", "B=workspace")
    assert f"\n{score}; rows on which" in compared
    assert "workspace: no difference shown; p = 1.0000" in compared


def test_a_text_graph_is_for_one_text_and_its_labels(project: Project) -> None:
    pytest.importorskip("onnxruntime_extensions")  # no wheel for Python 3.14 yet
    task = task_of(project)
    done = project.try_to("make", "--silent", "text-graph")
    if task == "multi_label":
        assert done.returncode == 0, done.stderr
        assert re.search(r"the probabilities of the fp32 model on all \d+ test rows", done.stdout)
        assert project.run("git", "status", "--porcelain") == ""
    else:
        assert done.returncode != 0
        assert f"found:    task {task}\n" in done.stderr


def test_the_page_shows_what_the_task_has(project: Project) -> None:
    project.run("make", "look")
    page = project.text("plots/look.html")
    several, doubtful = "Looked for where every text has one label", {"Most uncertain", "Most confidently wrong"}
    lines = {
        "multi_label": {"A row for each label", several, *doubtful},
        "regression": {"Numbers have none", several, "Largest errors"},
        "pair": {"Rows: the label", "training rows may have the wrong label", "Characters of a second text", *doubtful},
    }
    assert {line for line in set().union(*lines.values()) if line in page} == lines[task_of(project)]


def test_the_answers_are_those_of_the_task(project: Project) -> None:
    task = task_of(project)
    warm, loud = "the warm tender story is moving", "a loud hollow plot and a stale film"
    texts = [(loud, warm), (warm, loud)] if task == "pair" else [warm, loud]
    keys = ("text", "second")
    given = [dict(zip(keys, text if task == "pair" else [text], strict=False)) for text in texts]
    source, table = project.path.parent / f"{task}.jsonl", project.path.parent / f"{task}.csv"
    source.write_text("".join(json.dumps(line) + "\n" for line in given), encoding="utf-8")
    command = ["python", "-m", "review_sentiment.predict", str(source)]
    command += ["--second-column", "second"] if task == "pair" else []
    answers = [json.loads(line) for line in project.run(*command).splitlines()]
    project.run(*command, "--output", str(table))
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    headers = []
    for lines in (source.read_text(encoding="utf-8"), ""):  # a day without texts
        source.write_text(lines, encoding="utf-8")
        project.run(*command, "--output", str(table), "--only")
        headers.append(table.read_text(encoding="utf-8").partition("\n")[0])
    assert headers[0] == headers[1]
    if task == "multi_label":
        assert [answer["labels"] for answer in answers] == [["warm"], ["loud"]]
        assert [row["labels"] for row in rows] == ["warm", "loud"]
    elif task == "regression":
        assert 4 > (answers[0]["value"] - MILLION) / STEP > 0.5
        assert -4 < (answers[1]["value"] - MILLION) / STEP < -0.5
        assert [float(row["value"]) for row in rows] == [answer["value"] for answer in answers]
    else:
        assert [answer["label"] for answer in answers] == ["warm", "loud"]
        assert [(row["text"], row["second"], row["label"]) for row in rows] == [
            (loud, warm, "warm"),
            (warm, loud, "loud"),
        ]


def test_the_readme_predicts(project: Project) -> None:
    readme = project.text("README.md")
    [line] = re.findall(r"^make (predict .*?)  +#", readme, re.M)
    assert '"truncated": false' in project.run("sh", "-c", f"make --silent {line}")
    [code] = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert "'truncated': False" in project.run("python", "-c", code)
