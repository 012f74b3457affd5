"""The inputs that users bring by mistake, made by code, each with what must come of it."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

ROWS = [(f"text number {number}", "good" if number % 2 else "bad") for number in range(60)]
LONG = "word " * 200_000


def csv_of(rows: Sequence[tuple[object, ...]], header: str = "text,label", delimiter: str = ",") -> bytes:
    """A table without quotes."""
    lines = [header, *(delimiter.join(map(str, row)) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def jsonl_of(rows: Sequence[tuple[object, object]]) -> bytes:
    """JSON Lines with the keys text and label."""
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def parquet_of(rows: Sequence[tuple[object, object]], **schema: Any) -> bytes:
    """Parquet with the columns text and label."""
    file = io.BytesIO()
    pl.DataFrame(rows, schema=["text", "label"], schema_overrides=schema, orient="row").write_parquet(file)
    return file.getvalue()


GOOD = csv_of(ROWS)
JSON = jsonl_of(ROWS)
PARQUET = parquet_of(ROWS)


@dataclass(frozen=True)
class Refused:
    """A message with all of these words, and nothing written."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Accepted:
    """These counts in the data profile, by dotted key; and so many rows kept in all."""

    rows: int
    counts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Files of data/raw and changed parameters; a file of a function is made by it."""

    files: dict[str, bytes]
    outcome: Refused | Accepted
    params: dict[str, object] = field(default_factory=dict)


def refused(files: dict[str, bytes], *words: str, **params: object) -> Case:
    """A case that ends with a message."""
    return Case(files, Refused(words), params)


def accepted(files: dict[str, bytes], rows: int, counts: dict[str, object] | None = None, **params: object) -> Case:
    """A case that is prepared."""
    return Case(files, Accepted(rows, counts or {}), params)


def quarantined(files: dict[str, bytes], rows: int, reason: str, count: int = 1, **params: object) -> Case:
    """A case whose malformed rows are kept apart."""
    return accepted(files, rows, {f"quarantined.{reason}": count}, malformed_rows="quarantine", **params)


def accents(encoding: str) -> bytes:
    """A table with an accent in every row."""
    return (
        csv_of([(f"café numéro {number}", label) for number, (_, label) in enumerate(ROWS)]).decode().encode(encoding)
    )


def labelled(label: Callable[[int], object]) -> bytes:
    """The good rows with other labels."""
    return csv_of([(text, label(number)) for number, (text, _) in enumerate(ROWS)])


ENCODINGS = {
    "byte order mark": accepted({"a.csv": b"\xef\xbb\xbf" + GOOD}, 60, {"repaired.byte_order_marks": 1}),
    "byte order mark before JSON": accepted({"a.jsonl": b"\xef\xbb\xbf" + JSON}, 60, {"repaired.byte_order_marks": 1}),
    "byte order mark before a quoted name": accepted(
        {"a.csv": b"\xef\xbb\xbf" + GOOD.replace(b"text,", b'"text",', 1)}, 60
    ),
    "UTF-16 with a mark": refused(
        {"a.csv": GOOD.decode().encode("utf-16")}, "a.csv", "UTF-16", "iconv -f UTF-16 -t UTF-8"
    ),
    "UTF-16 without a mark": refused({"a.csv": GOOD.decode().encode("utf-16-le")}, "UTF-16LE", "iconv -f UTF-16LE"),
    "UTF-16, big end first": refused({"a.csv": GOOD.decode().encode("utf-16-be")}, "UTF-16BE", "iconv -f UTF-16BE"),
    "UTF-32": refused({"a.csv": GOOD.decode().encode("utf-32")}, "UTF-32", "iconv -f UTF-32"),
    "UTF-32 without a mark": refused({"a.csv": GOOD.decode().encode("utf-32-le")}, "iconv -f UTF-32LE"),
    "UTF-16 in JSON Lines": refused({"a.jsonl": JSON.decode().encode("utf-16")}, "a.jsonl", "iconv -f UTF-16"),
    "Latin-1": refused({"a.csv": accents("latin-1")}, "a.csv", "WINDOWS-1252", "iconv -f WINDOWS-1252 -t UTF-8"),
    "Latin-1 in JSON Lines": refused({"a.jsonl": jsonl_of([("x", "y")] * 3).replace(b"x", b"caf\xe9")}, "iconv"),
    "one broken line": refused(
        {"a.csv": GOOD + b"caf\xe9,good\n"}, "a.csv, line 62: expected UTF-8, found the byte 0xE9", "iconv"
    ),
    "one broken line kept apart": quarantined({"a.csv": GOOD + b"caf\xe9,good\n"}, 60, "expected UTF-8"),
    "one broken line of JSON": quarantined(
        {"a.jsonl": JSON + b'{"text": "caf\xe9", "label": "good"}\n'}, 60, "expected UTF-8"
    ),
    "a broken cell that nobody reads": accepted({"a.csv": GOOD.replace(b"\n", b",x\n") + b"new,good,caf\xe9\n"}, 61),
    "half of a pair of surrogates": refused(
        {"a.jsonl": JSON + b'{"text": "\\ud800", "label": "good"}\n'}, "line 61", "surrogates"
    ),
    "NUL in a text": accepted({"a.csv": GOOD + b"a\0b,good\n"}, 61, {"repaired.control_characters": 1}),
    "mangled Windows characters": accepted(
        {"a.csv": GOOD + "it\u0092s,good\n".encode()}, 61, {"repaired.mangled_characters": 1}
    ),
}
DELIMITED = {
    "empty file": refused({"a.csv": b""}, "a.csv is empty", "a header"),
    "header only": refused({"a.csv": b"text,label\n"}, "a.csv gives no rows"),
    "header only in one of two": refused({"train.csv": GOOD, "test.csv": b"text,label\n"}, "test.csv gives no rows"),
    "a cell too few": refused(
        {"a.csv": GOOD + b"alone\n"}, "a.csv, line 62: expected 2 columns, found 1", "quarantine"
    ),
    "a cell too many": refused({"a.csv": GOOD + b"a,b,c\n"}, "line 62: expected 2 columns, found 3"),
    "seven malformed rows": refused({"a.csv": GOOD + b"alone\n" * 7}, "7 rows cannot be read", "line 66", "and 2 more"),
    "ragged rows kept apart": quarantined({"a.csv": GOOD + b"alone\na,b,c\n"}, 60, "expected 2 columns", 2),
    "blank lines": accepted({"a.csv": GOOD.replace(b"\n", b"\n\n")}, 60, {"read": 60}),
    "an unclosed quote": refused(
        {"a.csv": GOOD + b'"never closed,good\n' + csv_of([("later", "bad")])},
        "line 62: expected quotes that are closed, found the end of the file at line 64",
    ),
    "an unclosed quote kept apart": quarantined(
        {"a.csv": GOOD + b'"never closed,good\n' + b"later,bad\n" * 3}, 61, "expected quotes that are closed"
    ),
    "a quote inside quotes": refused(
        {"a.csv": GOOD + b'"a "b" c",good\n'}, "line 62: expected a row of CSV", "expected after"
    ),
    "an unclosed quote in the header": refused({"a.csv": b'"text,label\n' + GOOD}, "no header can be read", "line 1"),
    "semicolons": refused({"a.csv": GOOD.replace(b",", b";")}, "separated by another sign", "';'", "pl.read_csv('"),
    "tabs in CSV": refused({"a.csv": GOOD.replace(b",", b"\t")}, "separated by another sign", "rename it to a.tsv"),
    "commas in TSV": refused({"a.tsv": GOOD}, "separated by another sign", "rename it to a.csv"),
    "no such column": refused(
        {"a.csv": GOOD},
        "no column 'review'",
        "prepare.text_column",
        "text, label",
        text_column="review",
    ),
    "no header": refused({"a.csv": GOOD.partition(b"\n")[2]}, "no column 'text'", "text number 0, bad"),
    "a column twice": refused(
        {"a.csv": GOOD.replace(b"text,label", b"text,label,label").replace(b"d\n", b"d,x\n")}, "two columns 'label'"
    ),
    "old Macintosh": refused({"a.csv": GOOD.replace(b"\n", b"\r")}, "carriage return", "tr '\\r' '\\n'"),
    "line ends of Windows": accepted({"a.csv": GOOD.replace(b"\n", b"\r\n")}, 60),
    "no line end at the end": accepted({"a.csv": GOOD[:-1]}, 60),
    "quoted line ends and commas": accepted({"a.csv": GOOD + b'"one, two\nthree",good\n'}, 61),
    "an Excel file": refused({"a.csv": b"PK\x03\x04" + bytes(100)}, "a ZIP or Excel file"),
    "a packed file": refused({"a.csv": b"\x1f\x8b" + bytes(range(100))}, "a gzip file"),
}
JSON_LINES = {
    "no JSON": refused({"a.jsonl": JSON + b"{\n"}, "a.jsonl, line 61: expected JSON, found "),
    "no JSON kept apart": quarantined({"a.jsonl": JSON + b"{\n"}, 60, "expected JSON"),
    "no object": refused({"a.jsonl": JSON + b"5\n"}, "line 61: expected an object, found 5"),
    "one array": refused({"a.jsonl": b"[" + JSON.replace(b"\n", b",\n")[:-2] + b"]"}, "holds one JSON array", "jq -c"),
    "an object as text": refused(
        {"a.jsonl": JSON + b'{"text": {"de": "x"}, "label": "good"}\n'}, "expected text, found an object"
    ),
    "a number as text": refused({"a.jsonl": JSON + b'{"text": 5, "label": "good"}\n'}, "expected text, found 5"),
    "a list as label": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": ["good"]}\n'}, "expected a label", "found a list"
    ),
    "NaN as label": refused({"a.jsonl": JSON + b'{"text": "x", "label": NaN}\n'}, "expected a label", "found nan"),
    "a key twice": refused({"a.jsonl": JSON + b'{"text": "x", "text": "y", "label": "good"}\n'}, "found a key twice"),
    "brackets without end": refused({"a.jsonl": JSON + b'{"a": ' + b"[" * 100_000 + b"\n"}, "line 61: expected JSON"),
    "a number of 5,000 digits": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": ' + b"9" * 5000 + b"}\n"}, "expected JSON"
    ),
    "a key that is never there": refused(
        {"a.jsonl": JSON}, "no column 'stars'", "prepare.label_column", label_column="stars"
    ),
    "a key that is missing once": accepted({"a.jsonl": JSON + b'{"text": "x"}\n'}, 60, {"dropped.without_label": 1}),
    "numbers and truths as labels": accepted(
        {"a.jsonl": jsonl_of([(text, label == "good") for text, label in ROWS])}, 60
    ),
    "blank lines in JSON": accepted({"a.jsonl": JSON.replace(b"\n", b"\n \n")}, 60, {"read": 60}),
}
PARQUETS = {
    "cut off": refused({"a.parquet": PARQUET[:-100]}, "a.parquet cannot be read", "whole file of Parquet"),
    "its middle gone": refused({"a.parquet": PARQUET[:50] + bytes(200) + PARQUET[250:]}, "a.parquet cannot be read"),
    "no Parquet at all": refused({"a.parquet": GOOD}, "a.parquet cannot be read"),
    "an empty file of Parquet": refused({"a.parquet": b""}, "a.parquet cannot be read"),
    "no rows": refused({"a.parquet": parquet_of([], text=pl.String, label=pl.String)}, "a.parquet gives no rows"),
    "numbers as texts": refused(
        {"a.parquet": parquet_of([(5, "a"), (6, "b")])}, "2 rows", "line 1: expected text, found 5"
    ),
    "bytes as texts": refused({"a.parquet": parquet_of([(b"x", "a")])}, "expected text, found bytes"),
    "a wrong column": refused({"a.parquet": PARQUET}, "no column 'stars'", "text, label", label_column="stars"),
    "whole numbers as floats": accepted(
        {"a.parquet": parquet_of([(text, float(label == "good")) for text, label in ROWS])},
        60,
        {"repaired.whole_number_labels": 60},
    ),
    "categories": accepted({"a.parquet": parquet_of(ROWS, label=pl.Categorical)}, 60),
    "a null": accepted({"a.parquet": parquet_of([*ROWS, (None, "good")])}, 60, {"dropped.without_text": 1}),
}
LABELS = {
    "one label": refused({"a.csv": labelled(lambda _: "good")}, "nothing to tell apart", "'good' alone"),
    "two spellings": refused({"a.csv": GOOD + b"more,Good\n"}, "upper and lower case", "'Good' and 'good'"),
    "more labels than 10,000": refused(
        {"a.csv": csv_of([(f"text {number}", f"id{number}") for number in range(10_001)])},
        "more than 10,000 labels",
        "label_column",
    ),
    "floats that are whole": accepted(
        {"a.csv": labelled(lambda n: f"{n % 2}.0")}, 60, {"repaired.whole_number_labels": 60}
    ),
    "spaces around": accepted({"a.csv": GOOD + b"more, good \n"}, 61, {"repaired.trimmed_labels": 1}),
    "spaces inside": accepted(
        {"a.csv": labelled(lambda n: ("so so", "so  so", "fine")[n % 3])}, 60, {"repaired.trimmed_labels": 20}
    ),
    "two forms of one accent": accepted(
        {"a.csv": labelled(lambda n: ("\u00e9", "e\u0301", "fine")[n % 3])}, 60, {"repaired.trimmed_labels": 20}
    ),
    "an empty label": accepted({"a.csv": GOOD + b"more,\n"}, 60, {"dropped.without_label": 1, "read": 61}),
    "no label in any row": refused({"a.csv": labelled(lambda _: "")}, "gives no rows", "60 without label"),
    "a label of one row, in training": accepted(
        {"a.csv": GOOD + b"lonely row 1,rare\n"}, 61, {"train.per_label.rare": 1}
    ),
    "a label of one row, held out": refused(
        {"a.csv": GOOD + b"lonely row 4,rare\n"}, "'rare' (train: 0, validation: ", "training rows"
    ),
    "a label that only the test has": refused(
        {"train.csv": GOOD, "test.csv": csv_of([("other", "new")])}, "'new' (train: 0, validation: 0, test: 1)"
    ),
}
TEXTS = {
    "empty": accepted({"a.csv": GOOD + b",good\n"}, 60, {"dropped.without_text": 1}),
    "white space": accepted({"a.csv": GOOD + "\u3000 \t,good\n".encode()}, 60, {"dropped.without_text": 1}),
    "only control characters": accepted({"a.csv": GOOD + b"\1\2\x7f,good\n"}, 60, {"dropped.without_text": 1}),
    "one of a million characters": accepted({"a.csv": GOOD + LONG.encode() + b",good\n"}, 61),
    "a million and quotes": accepted({"a.csv": GOOD + b'"' + LONG.encode() + b'",good\n'}, 61),
    "one of 17 million": refused(
        {"a.csv": GOOD + b"x" * 17_000_000 + b",good\n"}, "line 62: expected cells of at most 16,777,216"
    ),
    "three times the same": accepted({"a.csv": GOOD + b"more,good\n" * 3}, 61, {"dropped.duplicates": 2}),
    "two labels": accepted({"a.csv": GOOD + b"more,good\n more ,bad\n"}, 60, {"dropped.contradicting_labels": 2}),
}
SPLITS = {
    "a text in two tables": accepted(
        {"train.csv": GOOD, "test.csv": csv_of(ROWS[:2])}, 60, {"dropped.in_another_split": 2, "test.rows": 2}
    ),
    "too few rows": refused({"a.csv": csv_of(ROWS[:4])}, "a split would be empty", "rows in every split"),
    "no share for the test": refused({"a.csv": GOOD}, "a split would be empty", "test: 0", test_fraction=0.0),
    "nothing kept": refused(
        {"a.csv": GOOD},
        "a.csv gives no rows with 'x' in the column 'text'",
        keep={"column": "text", "value": "x"},
    ),
    "a shard missing": refused(
        {f"train-0000{n}-of-00003.csv": GOOD for n in (0, 2)}, "do not belong together", "-00002-of-00003"
    ),
    "all shards": accepted(
        {f"train-0000{n}-of-00002.csv": csv_of(ROWS[30 * n : 30 * n + 30]) for n in (0, 1)}, 60, {"read": 60}
    ),
    "a split of another name": refused({"train.csv": GOOD, "dev.csv": GOOD}, "cannot tell the tables", "dev.csv"),
    "a table twice": refused({"train.csv": GOOD, "train.jsonl": JSON}, "do not belong together"),
    "no table": refused({"readme.txt": b""}, "no table"),
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
FILES = {
    "a pointer of Git LFS": refused({"a.csv": POINTER}, "pointer of Git LFS", "git lfs pull"),
    "a pointer for Parquet": refused({"a.parquet": POINTER}, "pointer of Git LFS"),
}
TASKS = {
    "several labels": accepted(
        {
            "train.csv": labelled(lambda n: ("new|good", "good | new|", "old", "")[n % 4]),
            "validation.csv": csv_of([("one", "new"), ("two", "")]),
            "test.csv": csv_of([("three", "new|new")]),
        },
        63,
        {"train.without_any_label": 15, "train.per_label.new": 30, "test.per_label.new": 1},
        task="multi_label",
        label_separator="|",
    ),
    "lists of labels": accepted(
        {"a.jsonl": jsonl_of([(text, [label, "all"]) for text, label in ROWS])}, 60, {"read": 60}, task="multi_label"
    ),
    "lists in lists": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": [["a"]]}\n'}, "expected a label", "a list", task="multi_label"
    ),
    "no label anywhere": refused({"a.csv": labelled(lambda _: "")}, "nothing to tell apart", task="multi_label"),
    "numbers": accepted({"a.csv": labelled(lambda n: f"{n}.5")}, 60, {"train.target.p0": 0.5}, task="regression"),
    "words for numbers": refused(
        {"a.csv": GOOD}, "60 rows", "line 2: expected a finite number, found 'bad'", task="regression"
    ),
    "NaN for a number": refused(
        {"a.csv": labelled(lambda n: "nan" if n == 3 else n)}, "line 5: expected a finite number", task="regression"
    ),
    "no number": accepted({"a.csv": labelled(lambda n: n or "")}, 59, {"dropped.without_label": 1}, task="regression"),
    "two numbers": accepted(
        {"a.csv": labelled(lambda n: n) + b"text number 0,0.0\ntext number 1,7\n"},
        59,
        {"dropped.contradicting_labels": 2, "dropped.duplicates": 1},
        task="regression",
    ),
    "numbers too close": refused(
        {"a.csv": labelled(lambda number: 1e9 + number % 7)}, "float32 cannot hold the targets", task="regression"
    ),
    "numbers too large": refused(
        {"a.csv": labelled(lambda number: 1e35 * number)}, "float32 cannot hold the targets", task="regression"
    ),
    "one number": refused({"a.csv": labelled(lambda _: 3)}, "nothing to tell apart", task="regression"),
    "pairs": accepted(
        {
            "a.csv": csv_of([(text, "other", label) for text, label in ROWS], "text,second,label")
            + b"x,,good\n,x,good\n"
        },
        60,
        {"dropped.without_text": 2},
        task="pair",
        second_text_column="second",
    ),
    "pairs without the second column": refused(
        {"a.csv": GOOD},
        "no column 'second'",
        "prepare.second_text_column",
        task="pair",
        second_text_column="second",
    ),
}
CASES = {
    f"{group}: {name}": case
    for group, cases in {
        "encodings": ENCODINGS,
        "CSV": DELIMITED,
        "JSON Lines": JSON_LINES,
        "Parquet": PARQUETS,
        "labels": LABELS,
        "texts": TEXTS,
        "splits": SPLITS,
        "files": FILES,
        "tasks": TASKS,
    }.items()
    for name, case in cases.items()
}
