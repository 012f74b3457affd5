"""What cleaning does; a rule that a user adds reaches training and prediction. Run in a grown project."""

import shutil
import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_sentiment.inference.classifier import OnnxClassifier
from review_sentiment.text import cleaning
from small_project import PACKAGE, ROOT, WRITERS, bytes_of, report, run_python, run_stage, write_params

REPAIRED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
REPLACED = REPAIRED | dict.fromkeys([*range(0x20), 0x7F], " ")


def exactly_cleaned(text: str) -> str:
    """What cleaning is, without its fast path."""
    return " ".join(unicodedata.normalize("NFC", text.translate(REPLACED)).split())


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\t words\n", "two words"),
        ("Cafe\u0301", "Café"),
        ("it\u0092s \u0093fine\u0094\u0085", "it’s “fine”…"),
        ("a\x00b\x07c", "a b c"),
        ("\u3000全角　空白", "全角 空白"),
        ("", ""),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert cleaning.clean(raw) == clean


@given(st.text())
def test_the_fast_path_of_cleaning_is_exact(text: str) -> None:
    assert cleaning.clean(text) == exactly_cleaned(text)


def test_every_character_is_cleaned() -> None:
    characters = map(chr, [*range(0x3100), *range(0xF900, 0x10000), *range(0x10000, 0x110000, 997)])
    texts = [form.format(character) for character in characters for form in ("{0}", "a{0}b {0}", "{0} a")]
    assert [text for text in texts if cleaning.clean(text) != exactly_cleaned(text)] == []


# As a user would add a rule: every caller of `clean` must get it.
RULE = """

_without_the_rule = clean


def clean(text: str) -> str:
    return _without_the_rule(text).replace("film", "FILMX")
"""


WITHOUT_PUNCTUATION = """

_without_the_rule = clean


def clean(text: str) -> str:
    return _without_the_rule("".join(letter for letter in text if letter.isalnum() or letter == " "))
"""


def test_a_rule_added_to_clean_is_for_texts_alone(tmp_path: Path, base_model: Path) -> None:
    source = shutil.copytree(ROOT / "src", tmp_path / "src")
    with (source / PACKAGE / "text/cleaning.py").open("a", encoding="utf-8") as file:
        file.write(WITHOUT_PUNCTUATION)
    rows = range(90)
    table = pl.DataFrame(
        {
            "the.text": [f"text number {n}" for n in rows],
            "thetext": ["another column"] * 90,
            "label": [("C", "C++", "C#")[n % 3] for n in rows],
            "target": [f"{n}.25" for n in rows],
            "group": [("a.b", "ab", "a-b", "a_b")[n % 4] + str(n // 8) for n in rows],
            "time": [f"2024-01-{n // 3 + 1:02}" for n in rows],
        }
    )
    settings = {
        "label": {"group_column": "group"},
        "target": {"time_column": "time"},
    }
    for column, prepare in settings.items():
        changes = {f"prepare__{key}": value for key, value in prepare.items()}
        changes |= {"prepare__text_column": "the.text ", "prepare__label_column": column}
        found = []
        for sources in (ROOT / "src", source):
            project = tmp_path / column / str(len(found))
            (project / "data/raw").mkdir(parents=True)
            table.write_csv(project / "data/raw/table.csv")
            task = "regression" if column == "target" else "single_label"
            write_params(project / "params.yaml", base_model, task=task, **changes)
            done = run_stage(project, "prepare", PYTHONPATH=str(sources))
            assert done.returncode == 0, done.stderr
            found.append(bytes_of(project))
        assert found[0] == found[1]


@pytest.mark.slow
def test_prepared_texts_are_measured_as_they_are(tmp_path: Path, trained: Path) -> None:
    project = shutil.copytree(trained, tmp_path / "project")
    source = shutil.copytree(ROOT / "src", tmp_path / "src")
    with (source / PACKAGE / "text/cleaning.py").open("a", encoding="utf-8") as file:
        file.write(RULE.replace('.replace("film", "FILMX")', ' + " dull" * 5'))
    done = run_stage(project, "evaluate", PYTHONPATH=str(source))
    assert done.returncode == 0, done.stderr
    assert report(project, "metrics.json") == report(trained, "metrics.json")


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
