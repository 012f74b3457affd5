"""What users bring by mistake: every malformed table has its outcome, a message that helps or counted repairs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from small_project import params_with, run_stage, write_params

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.stages import prepare

ROWS = [(f"text number {number}", "good" if number % 2 else "bad") for number in range(60)]
CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS)
JSON = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)
NUMBERED = "".join(f"text number {number},{number % 2}.0\n" for number in range(60))
# The file, its content, parameters, and what the message must hold.
REFUSED: dict[str, tuple[str, str | bytes, dict[str, Any], list[str]]] = {
    "UTF-16": ("a.csv", CSV.encode("utf-16"), {}, ["not in UTF-8", "iconv -f UTF-16 -t UTF-8"]),
    "Latin-1": ("a.csv", CSV.replace("x", "é").encode("latin-1"), {}, ["iconv -f WINDOWS-1252 -t UTF-8"]),
    "one broken line": (
        "a.csv",
        CSV.encode() + b"caf\xe9,good\n",
        {},
        ["line 62: expected UTF-8, found the byte 0xE9"],
    ),
    "empty": ("a.csv", "", {}, ["a.csv is empty", "a header"]),
    "header only": ("a.csv", "text,label\n", {}, ["a.csv gives no rows"]),
    "a cell too few": ("a.csv", CSV + "alone\n", {}, ["line 62: expected 2 columns, found 1", "quarantine"]),
    "seven malformed rows": ("a.csv", CSV + "alone\n" * 7, {}, ["7 rows cannot be read", "line 66", "and 2 more"]),
    "an unclosed quote": ("a.csv", CSV + '"a,good\nb,bad\n', {}, ["line 62: expected quotes that are closed"]),
    "quotes that merge rows": (
        "a.csv",
        CSV + '"Never again,bad\nshe said.",good\n',
        {},
        ["line 62: expected quotes that enclose one cell", "if the quotes of the file are text: python -c"],
    ),
    "another name": ("a.csv", CSV.replace("text,", "Text,"), {}, ["set prepare.text_column in params.yaml to 'Text'"]),
    "no such column": ("a.csv", CSV, {"text_column": "review"}, ["no column 'review'", "prepare.text_column"]),
    "an Excel file": ("a.csv", b"PK\3\4" + bytes(100), {}, ["a ZIP or Excel file"]),
    "no JSON": ("a.jsonl", JSON + "{\n", {}, ["a.jsonl, line 61: expected JSON, found "]),
    "a number as text": ("a.jsonl", JSON + '{"text": 5, "label": "good"}\n', {}, ["line 61: expected text, found 5"]),
    "a key twice": ("a.jsonl", JSON + '{"text": "x", "text": "y"}\n', {}, ["found a key twice"]),
    "one object": (
        "a.json",
        '{"data": [' + JSON.strip().replace("\n", ",") + "]}",
        {},
        ["one object around all rows", "python -c"],
    ),
    "no Parquet": ("a.parquet", CSV, {}, ["a.parquet cannot be read", "whole file of Parquet"]),
    "a pointer": ("a.csv", "version https://git-lfs.github.com/spec/v1\n", {}, ["pointer of Git LFS"]),
    "one label": ("a.csv", CSV.replace("bad", "good"), {}, ["nothing to tell apart", "'good' alone"]),
    "two spellings": ("a.csv", CSV + "more,Good\n", {}, ["upper and lower case", "'Good' and 'good'"]),
    "too few rows": ("a.csv", CSV[:80], {}, ["a split would be empty", "rows in every split"]),
    "nothing kept": ("a.csv", CSV, {"keep": {"column": "text", "value": "x"}}, ["gives no rows with 'x' in"]),
    "no such column to keep by": (
        "a.csv",
        CSV,
        {"keep": {"column": "source", "value": "x"}},
        ["no column 'source'", "prepare.keep.column"],
    ),
    "no table": ("a.txt", CSV, {}, ["no table"]),
    "only a test table": ("test.csv", CSV, {}, ["found:    test.csv"]),
    "two tables": ("b.jsonl", JSON, {}, ["cannot tell the tables", "a.csv, b.jsonl"]),
    "words for numbers": ("a.csv", CSV, {"task": "regression"}, ["line 2: expected a finite number, found 'bad'"]),
    "a label without a name": (
        "a.csv",
        CSV,
        {"label_names": {"good": "yes"}},
        ["without a name: 'bad'", "label_names"],
    ),
    "a name without a label": (
        "a.csv",
        CSV,
        {"label_names": {"good": "yes", "bad": "no", "Bad": "never"}},
        ["in no row: 'Bad'", "a name for each of the labels 'bad', 'good', and for no other"],
    ),
}
# The file, its content, parameters, rows that are kept, and what the data profile must hold.
ACCEPTED: dict[str, tuple[str, str | bytes, dict[str, Any], int, dict[str, object]]] = {
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + CSV.encode(), {}, 60, {"repaired.byte_order_marks": 1}),
    "mangled characters": ("a.csv", CSV + "it\u0092s,good\n", {}, 61, {"repaired.mangled_characters": 1}),
    "control characters": ("a.csv", CSV + "a\0b,good\n", {}, 61, {"repaired.control_characters": 1}),
    "semicolons": ("a.csv", CSV.replace(",", ";"), {}, 60, {"read": 60}),
    "what Excel writes": ("a.csv", "\ufeffsep=;\r\n" + CSV.replace(",", ";"), {}, 60, {"repaired.byte_order_marks": 1}),
    "quotes without pairs": ("a.tsv", (CSV + '"Never,bad\nshe said.",good\n').replace(",", "\t"), {}, 62, {"read": 62}),
    "an odd header": ("a.csv", CSV.replace("text,label", "\u200btext , label\u00a0"), {}, 60, {"read": 60}),
    "an array": ("a.json", json.dumps([json.loads(line) for line in JSON.splitlines()]), {}, 60, {"read": 60}),
    "compressed": ("a.csv.gz", gzip.compress(CSV.encode()), {}, 60, {"read": 60}),
    "line ends of Windows": ("a.csv", CSV.replace("\n", "\r\n"), {}, 60, {"read": 60}),
    "quoted line ends": ("a.csv", CSV + '"one, two\nthree",good\n', {}, 61, {"read": 61}),
    "repeated": ("a.csv", CSV + "more,good\n" * 3, {}, 61, {"dropped.duplicates": 2}),
    "two labels": ("a.csv", CSV + "more,good\n more ,bad\n", {}, 60, {"dropped.contradicting_labels": 2}),
    "no text, no label": ("a.csv", CSV + " ,good\nx,\n", {}, 60, {"dropped.without_text": 1}),
    "floats that are whole": ("a.csv", "text,label\n" + NUMBERED, {}, 60, {"repaired.whole_number_labels": 60}),
    "several labels": ("a.csv", CSV + "more,\n", {"task": "multi_label"}, 61, {"dropped.without_label": 0}),
    "ragged rows": (
        "a.csv",
        CSV + "alone\na,b,c\n",
        {"malformed_rows": "quarantine"},
        60,
        {"quarantined": {"expected 2 columns": 2}},
    ),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with what an earlier run left."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/processed/labels.json", "reports/data_profile.json", "data/raw/a.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("as before", encoding="utf-8")
    return tmp_path


def put(project: Path, name: str, content: str | bytes) -> None:
    """Write the only table; a second one beside a.csv if its name begins with b."""
    if not name.startswith("b"):
        (project / "data/raw/a.csv").unlink()
    (project / "data/raw" / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def refusal(project: Path, **changes: Any) -> str:
    """The message that `prepare` ends with; what an earlier run left is untouched."""
    with pytest.raises(UserError) as refused:
        prepare.run(params_with(**changes))
    left = [path for path in project.glob("[dr]*/**/*") if path.is_file() and "raw" not in path.parts]
    assert sorted(path.name for path in left) == ["data_profile.json", "labels.json"]
    assert {path.read_text(encoding="utf-8") for path in left} == {"as before"}
    return str(refused.value)


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_cannot_be_used_is_refused(project: Path, case: str) -> None:
    name, content, params, words = REFUSED[case]
    put(project, name, content)
    message = refusal(project, **params)
    assert [word for word in [*words, "\n  expected:", "\n  found:", "\n  fix:"] if word not in message] == [], message


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_can_be_repaired_is_counted(project: Path, case: str) -> None:
    name, content, params, kept, counts = ACCEPTED[case]
    put(project, name, content)
    prepare.run(params_with(**params))
    profile = json.loads((project / "reports/data_profile.json").read_text(encoding="utf-8"))
    assert sum(profile[split]["rows"] for split in ("train", "validation", "test")) == kept
    assert profile["read"] == kept + sum(profile["dropped"].values()) + sum(profile["quarantined"].values())
    for key, expected in counts.items():
        found = profile
        for part in key.split("."):
            found = found[part]
        assert found == expected, key
    assert sorted(path.name for path in (project / "data").iterdir()) == ["processed", "raw"]


def test_names_of_labels_change_no_row(project: Path) -> None:
    put(project, "a.csv", "text,label\n" + NUMBERED)
    tables, labels, counts = [], [], []
    for names in (None, {"1": "better", "0": "worse"}):
        prepare.run(params_with(label_names=names))
        tables.append([path.read_bytes() for path in sorted(project.glob("data/processed/*.parquet"))])
        labels.append(json.loads((project / "data/processed/labels.json").read_text(encoding="utf-8")))
        profile = json.loads((project / "reports/data_profile.json").read_text(encoding="utf-8"))
        counts.append(profile["train"]["per_label"])
    assert labels == [["0", "1"], ["worse", "better"]]
    assert counts[1] == {"worse": counts[0]["0"], "better": counts[0]["1"]}
    assert tables[0] == tables[1]


def test_malformed_rows_are_kept_with_all_that_is_known(project: Path) -> None:
    put(project, "train.csv", CSV + "alone\n")
    (project / "data/raw/test.csv").write_bytes(b"text,label\nnew,good\ncaf\xe9 one,good\n")
    prepare.run(params_with(malformed_rows="quarantine"))
    lines = (project / "data/processed/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"file": "train.csv", "line": 62, "reason": "expected 2 columns, found 1", "content": "alone"},
        {
            "file": "test.csv",
            "line": 3,
            "reason": "expected UTF-8, found the byte 0xE9",
            "content": "caf\\xe9 one,good",
        },
    ]


def test_the_command_prints_the_same_without_a_traceback(project: Path, base_model: Path) -> None:
    write_params(project / "params.yaml", base_model)
    put(project, "a.csv", CSV.replace("\n", "\n\xff\n").encode("latin-1"))
    done = run_stage(project, "prepare")
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert done.stderr.startswith("error: data/raw/a.csv is not in UTF-8\n  expected:")
