"""A rule that a user adds to the cleaning reaches training and prediction. Run in a grown project."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from review_sentiment.inference.classifier import OnnxClassifier
from small_project import PACKAGE, ROOT, WRITERS, run_python, run_stage, write_params

# As a user would add a rule: every caller of `clean` must get it.
RULE = """

_without_the_rule = clean


def clean(text: str) -> str:
    return _without_the_rule(text).replace("film", "FILMX")
"""


@pytest.mark.slow
def test_a_rule_added_to_clean_reaches_training_and_prediction(
    tmp_path: Path, untrained: Path, trained: Path, base_model: Path
) -> None:
    source = shutil.copytree(ROOT / "src", tmp_path / "src")
    with (source / PACKAGE / "text/cleaning.py").open("a", encoding="utf-8") as file:
        file.write(RULE)
    table = pl.read_csv(untrained / "data/raw/table.csv")
    expected = {text.replace("film", "FILMX") for text in table["text"]}
    assert expected != set(table["text"])
    for suffix in WRITERS:
        project = tmp_path / suffix
        (project / "data/raw").mkdir(parents=True)
        WRITERS[suffix](table, project / f"data/raw/table{suffix}")
        write_params(project / "params.yaml", base_model)
        done = run_stage(project, "prepare", PYTHONPATH=str(source))
        assert done.returncode == 0, done.stderr
        assert set(pl.concat(map(pl.read_parquet, project.glob("data/processed/*.parquet")))["text"]) == expected
    texts = table["text"][:20].to_list()
    pl.DataFrame({"text": texts}).write_ndjson(tmp_path / "texts.jsonl")
    predict = ("-m", f"{PACKAGE}.predict", "texts.jsonl", "--output", "found.jsonl")
    done = run_python(tmp_path, *predict, "--directory", trained / "models/onnx", PYTHONPATH=str(source))
    assert done.returncode == 0, done.stderr
    found = pl.read_ndjson(tmp_path / "found.jsonl")["probabilities"].struct.field("good").to_list()
    shipped = OnnxClassifier(trained / "models/onnx")
    replaced, plain = (
        [row["probabilities"]["good"] for row in shipped.predict(given)]
        for given in ([text.replace("film", "FILMX") for text in texts], texts)
    )
    assert found == pytest.approx(replaced, abs=1e-5)
    assert found != pytest.approx(plain, abs=1e-5)
