"""Values of params.yaml that would do harm, or could not be read. Run in a grown project."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from review_sentiment.config import Params, load_params
from review_sentiment.data.labels import renamed
from review_sentiment.errors import UserError
from review_sentiment.tables.discovery import additional_table
from small_project import params_with, values_with
from test_config import changed


def with_files(*names: str) -> dict[str, Any]:
    return {"into": "models/base", "uri": "model", "sha256": dict.fromkeys(names)}


@pytest.mark.parametrize("name", ["../y.csv", "/etc/y.csv", "a/../../y.csv", "..", "a/..", ".", "a//b", "a/", "a\0b"])
def test_a_file_to_fetch_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ValidationError, match=r"fetch\.model\.sha256"):
        Params.model_validate(values_with(fetch__model=with_files(name)))


def test_a_file_to_fetch_may_have_any_other_name() -> None:
    names = ("a.csv", "data/train-00000-of-00001.parquet", ".hidden", "..a", "a b/c..d", "über.json", "1_Pooling/x")
    assert [*Params.model_validate(values_with(fetch__model=with_files(*names))).fetch.model.sha256] == [*names]


@pytest.mark.parametrize(
    ("uri", "secret"),
    [
        ("https://ada:pw@host/a", True),
        ("http://token@host", True),
        ("s3://key:secret@bucket/a", True),
        ("https://host/a?X-Amz-Signature=00", True),
        ("https://host/a?sv=1&sig=00", True),
        ("https://host/a?key=a&secret=b", True),
        ("ftp://ada:pw@host/a", True),
        ("https://host/a?nextpagetoken=2", False),
        ("hf://gpt2@main", False),
        ("https://host/a@b/c?path=d", False),
    ],
)
def test_an_address_holds_no_secret(uri: str, secret: bool) -> None:
    values = values_with(fetch__model=with_files("a") | {"uri": uri})
    if not secret:
        Params.model_validate(values)
        return
    with pytest.raises(ValidationError, match=r"into ~/\.netrc: machine HOST"):
        Params.model_validate(values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fetch__data": None}, "leave the block out"),
        ({"task": "pair"}, "prepare.second_text_column belongs to task: pair, and only to it; a pair has no number"),
        ({"fine_tune__accumulation": 33}, "accumulation must be at most batch_size"),
        (
            {"fine_tune__lora": {"rank": 4, "alpha": 8, "dropout": 0}, "fine_tune__trainable_layers": 0},
            "lora needs layers that are trained",
        ),
        ({"prepare__label_column": "text"}, "text_column, second_text_column and"),
        ({"prepare__test_fraction": 0.9}, "validation_fraction + test_fraction"),
        ({"prepare__validation_fraction": 0.5, "prepare__fold": {"index": 0, "of": 2}}, "fraction + 1 / fold.of"),
        ({"prepare__group_column": "who", "prepare__time_column": "when"}, "time_column splits by time alone"),
        ({"prepare__text_column": "te\0xt"}, "prepare.text_column"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        Params.model_validate(values_with(**changes))


@pytest.mark.parametrize("number", ["5e-05", "5e-5", "0.00005"])
def test_a_small_number_may_be_written_as_dvc_writes_it(tmp_path: Path, number: str) -> None:
    path = changed(tmp_path, "  learning_rate: ", f"  learning_rate: {number}  # ")
    assert load_params(path).fine_tune.learning_rate == 0.00005


@pytest.mark.parametrize("text", ["seed: [", "seed: 1\nseed: 2\n"])
def test_what_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="is not YAML"):
        load_params(path)


def test_a_missing_file_names_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="project's root"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("value", ["9" * 5001, "[" * 5000 + "]" * 5000])
def test_what_is_too_large_to_read_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(f"seed: {value}\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not YAML"):
        load_params(tmp_path / "params.yaml")


def test_a_folder_is_no_table_of_additions(tmp_path: Path) -> None:
    additions = params_with(additions={"file": str(tmp_path), "sha256": "0" * 64}).prepare.additions
    with pytest.raises(UserError, match=r"found: +no such file"):
        additional_table(additions)


def test_names_of_labels_differ_in_more_than_case_and_blanks() -> None:
    assert renamed(["0", "1"], {"0": "no", "1": "yes"}) == ["no", "yes"]
    with pytest.raises(UserError, match="'Good' and ' good'"):
        renamed(["0", "1", "2"], {"0": "Good", "1": "bad", "2": " good"})
    with pytest.raises(ValidationError, match="label_names must not hold label_separator"):
        params_with(task="multi_label", label_names={"a": "one, two", "b": "three"})
    params_with(label_names={"a": "one, two", "b": "three"})


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, "  epochs: ", "  epoch: ")
    path.write_text(path.read_text(encoding="utf-8").replace("  opset: ", "  opset: 5  # "), encoding="utf-8")
    with pytest.raises(UserError, match="3 wrong"):
        load_params(path)
