"""The inputs that users bring by mistake, made by code, each with what must come of it."""

import bz2
import datetime
import gzip
import io
import json
import lzma
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import polars as pl

ROWS = [(f"text number {number}", "good" if number % 2 else "bad") for number in range(60)]


def csv_of(rows: Sequence[tuple[object, ...]], header: str = "text,label", delimiter: str = ",") -> bytes:
    """A table without quotes."""
    lines = [header, *(delimiter.join(map(str, row)) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def jsonl_of(rows: Sequence[tuple[object, object]]) -> bytes:
    """JSON Lines with the keys text and label."""
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def parquet_of(rows: Sequence[tuple[object, object]], **schema: Any) -> bytes:
    """Parquet with the columns text and label."""
    return written(pl.DataFrame(rows, schema=["text", "label"], schema_overrides=schema, orient="row"))


def written(table: pl.DataFrame, **options: object) -> bytes:
    """The bytes of Parquet."""
    file = io.BytesIO()
    table.write_parquet(file, **options)
    return file.getvalue()


def arrow_of(rows: Sequence[tuple[object, object]], *, stream: bool) -> bytes:
    """Arrow with the columns text and label: a stream, as datasets saves it, or the file of Feather."""
    file = io.BytesIO()
    table = pl.DataFrame(rows, schema=["text", "label"], orient="row")
    (table.write_ipc_stream if stream else table.write_ipc)(file)
    return file.getvalue()


def zipped(files: dict[str, str | bytes]) -> bytes:
    """A ZIP archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


GOOD = csv_of(ROWS)
HELD = csv_of([(f"held {text}", label) for text, label in ROWS[:20]])
JSON = jsonl_of(ROWS)
PARQUET = parquet_of(ROWS)
# Cut anywhere, it ends like an object of several lines.
LONG_LINE = b'{"text": "' + b"," * 70_000 + b'", "label": "good"}\n'
ARRAY = b"[" + JSON.strip().replace(b"\n", b",\n") + b"]"
TAB = GOOD.replace(b",", b"\t")
NEXT = (0,)  # the fix of a file leads to another message, with the next fix


def excel() -> bytes:
    """The smallest workbook with the good rows."""
    cell = '<c t="inlineStr"><is><t>{}</t></is></c>'
    rows = "".join(f"<row>{''.join(map(cell.format, row))}</row>" for row in [("text", "label"), *ROWS])
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/s.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Target="xl/workbook.xml"'
        f' Type="{office}/officeDocument"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="s"'
        f' Target="s.xml" Type="{office}/worksheet"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="s"/>'
        "</sheets></workbook>",
        "xl/s.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    return zipped(parts)


def zstandard(content: bytes) -> bytes:
    """A frame of one block that is stored as it is."""
    return (
        b"\x28\xb5\x2f\xfd\xa0"
        + struct.pack("<I", len(content))
        + struct.pack("<I", len(content) << 3 | 1)[:3]
        + content
    )


EXCEL = excel()


@dataclass(frozen=True)
class Refused:
    """A message with all of these words, and nothing written; and the rows kept after what its fix says was done.

    Commands and parameters in the message are typed as they are printed. edit: what the user does where the fix is in
    words: files of data/raw as they are then, None for one that is taken out, and parameters.
    """

    words: tuple[str, ...]
    fixed: tuple[int, ...]
    edit: dict[str, object] | None


@dataclass(frozen=True)
class Accepted:
    """These counts in the data profile, by dotted key; so many rows kept in all; and words that are logged."""

    rows: int
    counts: dict[str, object] = field(default_factory=dict)
    logged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """Files of data/raw and changed parameters."""

    files: dict[str, bytes]
    outcome: Refused | Accepted
    params: dict[str, object] = field(default_factory=dict)


def refused(
    files: dict[str, bytes],
    *words: str,
    fixed: tuple[int, ...] = (60,),
    edit: dict[str, object] | None = None,
    **params: object,
) -> Case:
    """A case that ends with a message; its fixes lead to these numbers of rows."""
    return Case(files, Refused(words, fixed, edit), params)


def accepted(files: dict[str, bytes], rows: int, counts: dict[str, object] | None = None, **params: object) -> Case:
    """A case that is prepared."""
    return Case(files, Accepted(rows, counts or {}), params)


def reported(files: dict[str, bytes], rows: int, *logged: str, **params: object) -> Case:
    """A case that is prepared, with what was found out about it on the screen."""
    return Case(files, Accepted(rows, {}, logged), params)


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


COLUMNS = pl.DataFrame(ROWS, schema=["text", "label"], orient="row")


def typed(label: Callable[[int], object], dtype: object) -> bytes:
    """Parquet with labels of a type."""
    labels = pl.Series("label", [label(number) for number in range(60)], dtype=dtype)
    return written(COLUMNS.with_columns(labels))


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
    "Latin-1 in JSON Lines": refused({"a.jsonl": JSON.replace(b"number", b"num\xe9ro")}, "iconv"),
    "Latin-1, compressed": refused(
        {"a.csv.gz": gzip.compress(accents("latin-1"))}, "gzip -d data/raw/a.csv.gz && iconv"
    ),
    "Latin-1 in a name with a blank": refused({"my table.csv": accents("latin-1")}, "'data/raw/my table.csv'"),
    "one broken line": refused(
        {"a.csv": GOOD + b"caf\xe9,bad\n"},
        "a.csv, line 62: expected UTF-8, found the byte 0xE9",
        "iconv",
        fixed=(60, 61),
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
    "empty file": refused({"a.csv": b""}, "a.csv is empty", "a header", edit={"a.csv": GOOD}),
    "header only": refused({"a.csv": b"text,label\n"}, "a.csv gives no rows", edit={"a.csv": GOOD}),
    "header only in one of two": refused(
        {"train.csv": GOOD, "test.csv": b"text,label\n"}, "test.csv gives no rows", fixed=(80,), edit={"test.csv": HELD}
    ),
    "a cell too few": refused(
        {"a.csv": GOOD + b"alone\n"},
        "a.csv, line 62: expected 2 columns, found 1",
        "quarantine",
        fixed=(60, 61),
        edit={"a.csv": GOOD + b"alone,good\n"},
    ),
    "a cell too many": refused({"a.csv": GOOD + b"a,b,c\n"}, "line 62: expected 2 columns, found 3"),
    "a cell too many in every row": refused(
        {"a.csv": csv_of([(n, *row) for n, row in enumerate(ROWS)])},
        "60 rows cannot be read, not one can",
        "name all columns in line 1 of data/raw/a.csv",
        edit={"a.csv": csv_of([(n, *row) for n, row in enumerate(ROWS)], "id,text,label")},
    ),
    "no row to keep apart": refused(
        {"a.csv": csv_of([(text,) for text, _ in ROWS])},
        "60 rows cannot be read, not one can",
        "line 2: expected 2 columns, found 1",
        edit={"a.csv": GOOD},
        malformed_rows="quarantine",
    ),
    "seven malformed rows": refused({"a.csv": GOOD + b"alone\n" * 7}, "7 rows cannot be read", "line 66", "and 2 more"),
    "ragged rows kept apart": quarantined({"a.csv": GOOD + b"alone\na,b,c\n"}, 60, "expected 2 columns", 2),
    "blank lines": accepted({"a.csv": GOOD.replace(b"\n", b"\n\n")}, 60, {"read": 60}),
    "an unclosed quote": refused(
        {"a.csv": GOOD + b'"never closed,good\n' + csv_of([("later", "bad")])},
        "line 62: expected quotes that are closed, found the end of the file at line 64",
        fixed=(62,),
    ),
    "an unclosed quote kept apart": quarantined(
        {"a.csv": GOOD + b'"never closed,good\n' + b"later,bad\n" * 3}, 61, "expected quotes that are closed"
    ),
    "a quote inside quotes": refused(
        {"a.csv": GOOD + b'"a "b" c",good\n'}, "line 62: expected a row of CSV", "expected after"
    ),
    "an unclosed quote in the header": refused(
        {"a.csv": b'"text,label\n' + GOOD}, "no header can be read", "line 1", edit={"a.csv": GOOD}
    ),
    "semicolons": reported({"a.csv": GOOD.replace(b",", b";")}, 60, "separated by ';'"),
    "tabs in CSV": reported({"a.csv": GOOD.replace(b",", b"\t")}, 60, "separated by '\\t'"),
    "commas in TSV": reported({"a.tsv": GOOD}, 60, "separated by ','"),
    "semicolons, all quoted": reported(
        {"a.csv": b'"text";"label"\r\n' + "".join(f'"{text}; it is";"{label}"\r\n' for text, label in ROWS).encode()},
        60,
        "separated by ';'",
    ),
    "bars": reported({"a.csv": GOOD.replace(b",", b"|")}, 60, "separated by '|'"),
    "semicolons and commas in the texts": reported(
        {"a.csv": csv_of([(f"one, two, {text}", label) for text, label in ROWS], "text;label", ";")}, 60, "by ';'"
    ),
    "semicolons and no such column": refused(
        {"a.csv": GOOD.replace(b",", b";").replace(b"text;", b"review;", 1)},
        "no column 'text'",
        "the columns review, label",
        edit={"text_column": "review"},
    ),
    "semicolons in shards of two kinds": reported(
        {"a-00000-of-00002.csv": csv_of(ROWS[:30]), "a-00001-of-00002.csv": csv_of(ROWS[30:], "text;label", ";")},
        60,
        "a-00001-of-00002.csv: columns separated by ';'",
    ),
    "Excel's first line": accepted({"a.csv": b"sep=;\r\n" + GOOD.replace(b",", b";")}, 60),
    "Excel's first line with a comma": accepted({"a.csv": b"sep=,\n" + GOOD}, 60),
    "Excel's first line with a tab": accepted({"a.csv": b"sep=\t\n" + GOOD.replace(b",", b"\t")}, 60),
    "Excel's first line in quotes": accepted({"a.csv": b'"sep=;"\n' + GOOD.replace(b",", b";")}, 60),
    "Excel's first line after a mark": accepted(
        {"a.csv": b"\xef\xbb\xbfSEP=;\n" + GOOD.replace(b",", b";")}, 60, {"repaired.byte_order_marks": 1}
    ),
    "Excel's first line that is wrong": reported({"a.csv": b"sep=;\n" + GOOD}, 60, "separated by ','"),
    "Excel's first line and a malformed row": refused(
        {"a.csv": b"sep=;\n" + GOOD.replace(b",", b";") + b"alone\n"}, "line 63: expected 2 columns, found 1"
    ),
    "Excel's first line alone": refused({"a.csv": b"sep=;\n"}, "a.csv is empty", edit={"a.csv": GOOD}),
    "a column named sep": accepted(
        {"a.csv": csv_of([(text, label, 1) for text, label in ROWS], "text,label,sep=")}, 60
    ),
    "no such column": refused(
        {"a.csv": GOOD},
        "no column 'review'",
        "prepare.text_column",
        "text, label",
        edit={"text_column": "text"},
        text_column="review",
    ),
    "no header": refused(
        {"a.csv": GOOD.partition(b"\n")[2]}, "no column 'text'", "text number 0, bad", edit={"a.csv": GOOD}
    ),
    "a column twice": refused(
        {"a.csv": GOOD.replace(b"text,label", b"text,label,label").replace(b"d\n", b"d,x\n")},
        "two columns 'label'",
        edit={"a.csv": GOOD.replace(b"text,label", b"text,label,other").replace(b"d\n", b"d,x\n")},
    ),
    "old Macintosh": refused({"a.csv": GOOD.replace(b"\n", b"\r")}, "carriage return", "tr '\\r' '\\n'"),
    "line ends of Windows": accepted({"a.csv": GOOD.replace(b"\n", b"\r\n")}, 60),
    "no line end at the end": accepted({"a.csv": GOOD[:-1]}, 60),
    "quoted line ends and commas": accepted({"a.csv": GOOD + b'"one, two\nthree",good\n'}, 61),
    "an Excel file": refused({"a.csv": EXCEL}, "a ZIP or Excel file", "mv data/raw/a.csv data/raw/a.xlsx", fixed=NEXT),
    "a ZIP archive": refused({"a.csv": zipped({"a.csv": GOOD})}, "mv data/raw/a.csv data/raw/a.zip", fixed=NEXT),
    "a compressed file": refused({"a.csv": gzip.compress(GOOD)}, "a gzip file", "mv data/raw/a.csv data/raw/a.csv.gz"),
    "Parquet called CSV": refused({"a.csv": PARQUET}, "a Parquet file", "mv data/raw/a.csv data/raw/a.parquet"),
}
JSON_LINES = {
    "no JSON": refused({"a.jsonl": JSON + b"{\n"}, "a.jsonl, line 61: expected JSON, found "),
    "no JSON kept apart": quarantined({"a.jsonl": JSON + b"{\n"}, 60, "expected JSON"),
    "a column inside an object": refused(
        {"a.jsonl": JSON.replace(b'"text": ', b'"text": {"body": ').replace(b", ", b"}, ")},
        "found:    the columns label",
        'docs/data.md, "Tables of another form"',
        edit={"a.jsonl": JSON, "text_column": "text"},
        text_column="text.body",
    ),
    "no object": refused({"a.jsonl": JSON + b"5\n"}, "line 61: expected an object, found 5"),
    "one array": accepted({"a.jsonl": ARRAY}, 60, {"read": 60}),
    "an object as text": refused(
        {"a.jsonl": JSON + b'{"text": {"de": "x"}, "label": "good"}\n'}, "expected text, found an object"
    ),
    "a number as text": refused({"a.jsonl": JSON + b'{"text": 5, "label": "good"}\n'}, "expected text, found 5"),
    "a list as label": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": ["good"]}\n'}, "expected a label", "found a list"
    ),
    "infinity as label": refused({"a.jsonl": JSON + b'{"text": "x", "label": -Infinity}\n'}, "found -inf"),
    "NaN as label": refused({"a.jsonl": JSON + b'{"text": "x", "label": NaN}\n'}, "expected a label", "found nan"),
    "a key twice": refused({"a.jsonl": JSON + b'{"text": "x", "text": "y", "label": "good"}\n'}, "found a key twice"),
    "brackets without end": refused({"a.jsonl": JSON + b'{"a": ' + b"[" * 100_000 + b"\n"}, "line 61: expected JSON"),
    "a number of 5,000 digits": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": ' + b"9" * 5000 + b"}\n"}, "expected JSON"
    ),
    "a key that is never there": refused(
        {"a.jsonl": JSON},
        "no column 'stars'",
        "prepare.label_column",
        edit={"label_column": "label"},
        label_column="stars",
    ),
    "a key that is missing once": accepted({"a.jsonl": JSON + b'{"text": "x"}\n'}, 60, {"dropped.without_label": 1}),
    "numbers and truths as labels": accepted(
        {"a.jsonl": jsonl_of([(text, label == "good") for text, label in ROWS])}, 60
    ),
    "an array on many lines": accepted({"a.json": json.dumps(json.loads(ARRAY), indent=2).encode()}, 60, {"read": 60}),
    "an array after a mark": accepted({"a.json": b"\xef\xbb\xbf \n" + ARRAY}, 60, {"repaired.byte_order_marks": 1}),
    "an array of all that text can hold": accepted(
        {"a.json": ARRAY[:-1] + b', {"text": "], } \\" \\\\", "more": [{"a": "]"}], "label": "good"} ]\n'}, 61
    ),
    "an array cut off": refused({"a.json": ARRAY[:-20]}, "line 60: expected JSON", fixed=(59,)),
    "an array that is not closed": refused({"a.json": ARRAY[:-1]}, "line 60: expected JSON"),
    "an array with a broken element": refused(
        {"a.json": ARRAY.replace(b'{"text": "text number 3"', b'{"text" "text number 3"')},
        "line 4: expected JSON",
        fixed=(59,),
    ),
    "an array of other things": refused({"a.json": ARRAY[:-1] + b', 5, ["x"]]'}, "found 5", "found a list"),
    "an array and more": refused({"a.json": ARRAY + b"\nmore"}, "line 61: expected JSON"),
    "an empty array": refused({"a.json": b"[]"}, "a.json gives no rows", edit={"a.json": ARRAY}),
    "an element of 17 million": refused(
        {"a.json": ARRAY[:-1] + b', {"text": "' + b"x" * 17_000_000 + b'"}]'},
        "line 60: expected at most 16,777,216 bytes",
    ),
    "JSON Lines called JSON": accepted({"a.json": JSON}, 60),
    "rows below a key": refused({"a.json": b'{"version": 1, "data": ' + ARRAY + b"}"}, "one object around all rows"),
    "rows below two keys": refused(
        {"a.json": json.dumps({"hits": {"total": {"value": 60}, "hits": json.loads(ARRAY)}}).encode()},
        '["hits"]["hits"]',
    ),
    "rows below two keys, on many lines": refused(
        {"a.json.gz": gzip.compress(json.dumps({"hits": {"hits": json.loads(ARRAY)}}, indent=1).encode())},
        '["hits"]["hits"]',
    ),
    "rows beside a schema": refused(
        {
            "a.json": json.dumps(
                {"schema": {"fields": [{"name": "text"}, {"name": "label"}] * 40}, "data": json.loads(ARRAY)}
            ).encode()
        },
        '["data"]',
    ),
    "tables of lists in one object": refused(
        {"train.jsonl": json.dumps({"train": ROWS, "test": [(f"held {n}", "good") for n in range(20)]}).encode()},
        "train.jsonl holds several tables",
        'dict(zip(["text", "label"], row))',
        fixed=(80,),
    ),
    "tables of objects in one object, on many lines": refused(
        {
            "a.json": json.dumps(
                {"dev": [{"text": f"held {n}", "label": "good"} for n in range(20)], "train": json.loads(ARRAY)},
                indent=1,
            ).encode()
        },
        "a.json holds several tables",
        fixed=(80,),
    ),
    "tables in one object, compressed": refused(
        {"a.json.gz": gzip.compress(json.dumps({"train": ROWS, "test": [("held", "good")]}).encode())},
        "a.json.gz holds several tables",
        fixed=(61,),
    ),
    "an array of lists": refused(
        {"a.json": json.dumps(ROWS, indent=1).encode()}, "a.json holds lists without column names"
    ),
    "an array of objects and lists": refused(
        {"a.json": ARRAY[:-1] + b', ["more", "good"]]'}, "expected an object, found a list"
    ),
    "columns with an index": refused(
        {
            "a.json": json.dumps(
                {name: {str(n): row[name] for n, row in enumerate(json.loads(ARRAY))} for name in ("text", "label")}
            ).encode()
        },
        "holds one object of columns",
    ),
    "objects of several lines": refused(
        {"a.jsonl": b"".join(json.dumps(json.loads(line), indent=1).encode() + b"\n" for line in JSON.splitlines())},
        "objects of several lines",
        "jq -c .",
    ),
    "a first line longer than what is read at once": accepted({"a.jsonl": LONG_LINE + JSON}, 61),
    "the same, compressed": accepted({"a.jsonl.gz": gzip.compress(LONG_LINE + JSON)}, 61),
    "columns in one object": refused(
        {"a.json": json.dumps({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}).encode()},
        "holds one object of columns",
    ),
    "a number that is too large": refused(
        {"a.jsonl": b'{"text": "x", "label": 1e999}\n' + jsonl_of([(text, len(text)) for text, _ in ROWS[:40]])},
        "line 1: expected a finite number, found inf",
        fixed=(40,),
        task="regression",
    ),
    "a whole number that is too large": refused(
        {"a.jsonl": jsonl_of([("x", 10**400), *((text, n) for n, (text, _) in enumerate(ROWS))])},
        "line 1: expected a finite number, found 1000",
        task="regression",
    ),
    "large whole numbers as labels": accepted(
        {"a.jsonl": jsonl_of([(text, 2**70 + n % 2) for n, (text, _) in enumerate(ROWS)])}, 60
    ),
    "line ends of Windows in JSON": accepted({"a.jsonl": JSON.replace(b"\n", b"\r\n")}, 60),
    "separators of lines inside a text": accepted(
        {"a.jsonl": JSON + '{"text": "a\u2028b\x85c", "label": "bad"}\n'.encode()}, 61
    ),
    "blank lines in JSON": accepted({"a.jsonl": JSON.replace(b"\n", b"\n \n")}, 60, {"read": 60}),
}
PARQUETS = {
    "cut off": refused(
        {"a.parquet": PARQUET[:-100]}, "a.parquet cannot be read", "whole file of Parquet", edit={"a.parquet": PARQUET}
    ),
    "its middle gone": refused(
        {"a.parquet": PARQUET[:50] + bytes(200) + PARQUET[250:]},
        "a.parquet cannot be read",
        edit={"a.parquet": PARQUET},
    ),
    "no Parquet at all": refused({"a.parquet": GOOD}, "a.parquet cannot be read", edit={"a.parquet": PARQUET}),
    "an empty file of Parquet": refused({"a.parquet": b""}, "a.parquet cannot be read", edit={"a.parquet": PARQUET}),
    "no rows": refused(
        {"a.parquet": parquet_of([], text=pl.String, label=pl.String)},
        "a.parquet gives no rows",
        edit={"a.parquet": PARQUET},
    ),
    "numbers as texts": refused(
        {"a.parquet": parquet_of([(number, number % 2) for number in range(60)], text=pl.Int32)},
        "the column 'text' of data/raw/a.parquet cannot be used",
        "Int32",
    ),
    "bytes as texts": refused(
        {"a.parquet": parquet_of([(t.encode(), label) for t, label in ROWS])}, "'text'", "Binary"
    ),
    "a wrong column": refused(
        {"a.parquet": PARQUET}, "no column 'stars'", "text, label", edit={"label_column": "label"}, label_column="stars"
    ),
    "whole numbers as floats": accepted(
        {"a.parquet": parquet_of([(text, float(label == "good")) for text, label in ROWS])},
        60,
        {"repaired.whole_number_labels": 60},
    ),
    "decimals without places": accepted({"a.parquet": typed(lambda n: Decimal(n % 2), pl.Decimal(38, 0))}, 60),
    "decimals of 38 digits": accepted({"a.parquet": typed(lambda n: Decimal(10**37 + n % 2), pl.Decimal(38, 0))}, 60),
    "decimals with places as labels": accepted(
        {"a.parquet": typed(lambda n: Decimal(n % 2), pl.Decimal(10, 2))}, 60, {"repaired.whole_number_labels": 60}
    ),
    "decimals as numbers": accepted(
        {"a.parquet": typed(lambda n: Decimal(n) / 10, pl.Decimal(10, 3))},
        60,
        {"train.target.p0": 0.0},
        task="regression",
    ),
    "decimals and a null": accepted(
        {"a.parquet": typed(lambda n: Decimal(n % 2) if n else None, pl.Decimal(38, 0))},
        59,
        {"dropped.without_label": 1},
    ),
    "decimals as texts": refused(
        {"a.parquet": written(COLUMNS.with_columns(text=pl.int_range(60).cast(pl.Decimal(9, 1))))},
        "the column 'text'",
        "Decimal",
    ),
    "dates as labels": refused(
        {"a.parquet": typed(lambda n: datetime.date(2024, 1, 1 + n % 2), pl.Date)},
        "the column 'label' of data/raw/a.parquet cannot be used",
        "Date; of such a type: text",
    ),
    "objects as texts": refused(
        {"a.parquet": written(COLUMNS.with_columns(text=pl.struct("text"), plain="text"))},
        "the column 'text'",
        "Struct",
        "type: label, plain",
        edit={"text_column": "plain"},
    ),
    "lists as labels": refused(
        {"a.parquet": written(COLUMNS.with_columns(label=pl.concat_list("label"), plain="label"))},
        "the column 'label'",
        "List(String)",
        edit={"label_column": "plain"},
    ),
    "lists as several labels": accepted(
        {"a.parquet": written(COLUMNS.with_columns(label=pl.concat_list("label")))}, 60, task="multi_label"
    ),
    "lists of objects": refused(
        {"a.parquet": written(COLUMNS.with_columns(label=pl.concat_list(pl.struct("label"))))},
        "60 rows cannot be read, not one can",
        "an object",
        edit={"a.parquet": written(COLUMNS.with_columns(label=pl.concat_list("label")))},
        task="multi_label",
    ),
    "a nested column that nobody reads": accepted(
        {"a.parquet": written(COLUMNS.with_columns(more=pl.struct("text")))}, 60
    ),
    "a dictionary": accepted(
        {"a.parquet": written(COLUMNS.cast({"text": pl.Categorical, "label": pl.Categorical}))}, 60
    ),
    "an enumeration": accepted({"a.parquet": written(COLUMNS.cast({"label": pl.Enum(["good", "bad"])}))}, 60),
    "row groups of one row": accepted({"a.parquet": written(COLUMNS, row_group_size=1)}, 60),
    "truths as labels": accepted({"a.parquet": written(COLUMNS.with_columns(pl.col("label") == "good"))}, 60),
    "a column of nulls": refused(
        {"a.parquet": typed(lambda _: None, pl.Null)}, "60 without label", edit={"a.parquet": PARQUET}
    ),
    "NaN among the labels": refused(
        {"a.parquet": typed(lambda n: float("nan") if n == 7 else n % 2, pl.Float64)},
        "line 8: expected a label (text or a number), found nan",
        fixed=(59,),
    ),
    "128 bits": accepted({"a.parquet": typed(lambda n: 2**100 + n % 2, pl.Int128)}, 60),
    "a null": accepted({"a.parquet": parquet_of([*ROWS, (None, "good")])}, 60, {"dropped.without_text": 1}),
}
LABELS = {
    "a label without a name": refused(
        {"a.csv": GOOD},
        "without a name: 'bad'",
        edit={"label_names": {"good": "yes", "bad": "no"}},
        label_names={"good": "yes"},
    ),
    "one label": refused(
        {"a.csv": labelled(lambda _: "good")}, "nothing to tell apart", "'good' alone", edit={"a.csv": GOOD}
    ),
    "two spellings": refused(
        {"a.csv": GOOD + b"more,Good\n"},
        "upper and lower case",
        "'Good' and 'good'",
        fixed=(61,),
        edit={"a.csv": GOOD + b"more,good\n"},
    ),
    "more labels than 10,000": refused(
        {"a.csv": csv_of([(f"text {n}", f"id{n}", n % 2) for n in range(10_001)], "text,label,kind")},
        "more than 10,000 labels",
        "label_column",
        fixed=(10_001,),
        edit={"label_column": "kind"},
    ),
    "more numbers than 10,000": refused(
        {"a.csv": csv_of([(f"text {n}", n / 4) for n in range(10_001)])},
        "for numbers, task: regression",
        fixed=(10_001,),
        edit={"task": "regression"},
    ),
    "minus zero": accepted(
        {"a.jsonl": jsonl_of([(text, -0.0 if n % 2 else 1.0) for n, (text, _) in enumerate(ROWS)])},
        60,
        {"train.per_label.0": 24},
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
    "no label in any row": refused(
        {"a.csv": labelled(lambda _: "")}, "gives no rows", "60 without label", edit={"a.csv": GOOD}
    ),
    "formulas": accepted({"a.csv": labelled(lambda n: ("=SUM(A1)", "@x", "-1+1")[n % 3])}, 60),
    "signs of YAML and paths": accepted({"a.csv": labelled(lambda n: ("no", "null", "../x", "a: b #")[n % 4])}, 60),
    "the names of other types": accepted({"a.csv": labelled(lambda n: ("true", "NaN", "None")[n % 3])}, 60),
    "a label of 10,000 letters": accepted({"a.csv": labelled(lambda n: "x" * (9_999 + n % 2))}, 60),
    "invisible differences": accepted({"a.csv": labelled(lambda n: ("good", "good\u00a0", "bad")[n % 3])}, 60),
    "ideographs and emoji": accepted({"a.csv": labelled(lambda n: ("好", "\U0001f600")[n % 2])}, 60),
    "leading zeros": accepted({"a.csv": labelled(lambda n: ("01", "1")[n % 2])}, 60, {"train.per_label.01": 19}),
    "a decimal comma": refused(
        {"a.csv": csv_of([(text, f"{n},5") for n, (text, _) in enumerate(ROWS)], "text;label", ";")},
        "60 rows cannot be read, not one can",
        "found '0,5'",
        "(0.5, not 0,5)",
        edit={"a.csv": csv_of([(text, f"{n}.5") for n, (text, _) in enumerate(ROWS)], "text;label", ";")},
        task="regression",
    ),
    "a label of one row, in training": accepted(
        {"a.csv": GOOD + b"lonely row 1,rare\n"}, 61, {"train.per_label.rare": 1}
    ),
    "a label of one row, held out": refused(
        {"a.csv": GOOD + b"lonely row 4,rare\n"},
        "'rare' (train: 0, validation: ",
        "training rows",
        fixed=(62,),
        edit={"a.csv": GOOD + b"lonely row 4,rare\nlonely row 1,rare\n"},
    ),
    "numbers as labels": refused(
        {"a.csv": labelled(lambda n: n / 4)},
        "some labels cannot be learned",
        "set prepare.label_column in params.yaml to another column; for numbers, task: regression",
        edit={"task": "regression"},
    ),
    "several labels in a cell": refused(
        {"a.csv": GOOD + b"lonely row 4,good; bad\n"},
        "'good; bad' (train: 0, ",
        "; for several labels in a cell, task: multi_label",
        fixed=(61,),
        edit={"task": "multi_label", "label_separator": ";"},
    ),
    "one row per annotator": refused(
        {"a.csv": csv_of([(text, label) for text, _ in ROWS for label in ("good", "bad")])},
        "no row is left",
        "found:    120 rows of a text that has several labels",
        "write one row for each text",
        edit={"a.csv": GOOD},
    ),
    "a label that only the test has": refused(
        {"train.csv": GOOD, "test.csv": csv_of([("other", "new")])},
        "'new' (train: 0, validation: 0, test: 1)",
        edit={"test.csv": None},
    ),
}
TEXTS = {
    "empty": accepted({"a.csv": GOOD + b",good\n"}, 60, {"dropped.without_text": 1}),
    "white space": accepted({"a.csv": GOOD + "\u3000 \t,good\n".encode()}, 60, {"dropped.without_text": 1}),
    "only control characters": accepted({"a.csv": GOOD + b"\1\2\x7f,good\n"}, 60, {"dropped.without_text": 1}),
    "a million and quotes": accepted({"a.csv": GOOD + b'"' + b"word " * 200_000 + b'",good\n'}, 61),
    "one of 17 million": refused(
        {"a.csv": GOOD + b"x" * 17_000_000 + b",good\n"}, "line 62: expected cells of at most 16,777,216"
    ),
    "one of 10 MB": accepted({"a.csv": GOOD + b"x" * 10_000_000 + b",good\n"}, 61),
    "one of 10 MB in JSON": accepted({"a.jsonl": JSON + jsonl_of([("x" * 10_000_000, "good")])}, 61),
    "all rows equal": refused({"a.csv": b"text,label\n" + b"more,good\n" * 60}, "'good' alone", edit={"a.csv": GOOD}),
    "one row": refused({"a.csv": csv_of(ROWS[:1])}, "'bad' alone", edit={"a.csv": GOOD}),
    "two rows": refused({"a.csv": csv_of(ROWS[:2])}, "a split would be empty", edit={"a.csv": GOOD}),
    "the header again": accepted(
        {"a.csv": GOOD.replace(b"text number 9,", b"text,label\ntext number 9,") + b"y,label\n"}, 62
    ),
    "three times the same": accepted({"a.csv": GOOD + b"more,good\n" * 3}, 61, {"dropped.duplicates": 2}),
    "two labels": accepted({"a.csv": GOOD + b"more,good\n more ,bad\n"}, 60, {"dropped.contradicting_labels": 2}),
}
SPLITS = {
    "a text in two tables": accepted(
        {"train.csv": GOOD, "test.csv": csv_of(ROWS[:2])}, 60, {"dropped.in_another_split": 2, "test.rows": 2}
    ),
    "too few rows": refused(
        {"a.csv": csv_of(ROWS[:4])}, "a split would be empty", "rows in every split", edit={"a.csv": GOOD}
    ),
    "no share for the test": refused(
        {"a.csv": GOOD}, "a split would be empty", "test: 0", edit={"test_fraction": 0.1}, test_fraction=0.0
    ),
    "one date": refused(
        {"a.csv": csv_of([(*row, "2024-01-05") for row in ROWS], "text,label,day")},
        "a split would be empty",
        "set prepare.time_column to null",
        edit={"a.csv": csv_of([(*row, n) for n, row in enumerate(ROWS)], "text,label,day")},
        time_column="day",
    ),
    "one group": refused(
        {"a.csv": csv_of([(*row, "x") for row in ROWS], "text,label,who")},
        "a split would be empty",
        "set prepare.group_column to null",
        edit={"a.csv": csv_of([(*row, n) for n, row in enumerate(ROWS)], "text,label,who")},
        group_column="who",
    ),
    "nothing kept": refused(
        {"a.csv": csv_of([(*row, "ours") for row in ROWS], "text,label,source")},
        "a.csv gives no rows with 'x' in the column 'text'",
        edit={"keep": {"column": "source", "value": "ours"}},
        keep={"column": "text", "value": "x"},
    ),
    "no such column to keep by": refused(
        {"a.csv": csv_of([(*row, "ours") for row in ROWS], "text,label,source")},
        "no column 'sources'",
        "set prepare.keep.column in params.yaml to 'source'",
        edit={"keep": {"column": "source", "value": "ours"}},
        keep={"column": "sources", "value": "ours"},
    ),
    "rows kept by a number": accepted(
        {"a.parquet": written(COLUMNS.with_columns(kind=pl.int_range(60) // 2 % 2 * 1.0))},
        30,
        keep={"column": "kind", "value": "1"},
    ),
    "a shard missing": refused(
        {f"train-0000{n}-of-00003.csv": GOOD for n in (0, 2)},
        "do not belong together",
        "-00002-of-00003",
        edit={"train-00001-of-00003.csv": GOOD},
    ),
    "all shards": accepted(
        {f"train-0000{n}-of-00002.csv": csv_of(ROWS[30 * n : 30 * n + 30]) for n in (0, 1)}, 60, {"read": 60}
    ),
    "no table": refused({"readme.txt": b""}, "no table", edit={"a.csv": GOOD}),
}
# Sentences with quotes that open in one line and close in the next, as a table without quoting has them.
UNPAIRED = [row for n in range(10) for row in ((f'"I never saw {n}', "bad"), (f'and {n}, she said."', "good"))]
UNCLOSED = [('"I never saw it', "bad"), ('and she said."', "good")]
QUOTES = {
    "unpaired quotes in TSV": reported(
        {"a.tsv": csv_of([*ROWS, *UNPAIRED], "text\tlabel", "\t")}, 80, "read as text (10 lines, first line 62)"
    ),
    "unpaired quotes, the label first": reported(
        {"a.tsv": csv_of([(label, text) for text, label in [*ROWS, *UNPAIRED]], "label\ttext", "\t")}, 80, "as text"
    ),
    "unpaired quotes over many rows": reported(
        {"a.tsv": csv_of([*ROWS[:9], UNPAIRED[0], *ROWS[9:], UNPAIRED[1]], "text\tlabel", "\t")},
        62,
        "(1 lines, first line 11)",
    ),
    "unpaired quotes over all rows": refused(
        {"a.tsv": csv_of([UNPAIRED[0], *ROWS, UNPAIRED[1]], "text\tlabel", "\t")},
        "a.tsv, line 2: expected quotes that enclose one cell, found whole rows inside one of 62 lines",
        fixed=(0, 62),
    ),
    "unpaired quotes in TSV with a number of its own": reported(
        {"a.tsv": csv_of([(n, *row) for n, row in enumerate([*ROWS, *UNPAIRED])], "id\ttext\tlabel", "\t")},
        80,
        "as text",
    ),
    "a quote that is never closed in TSV": reported(
        {"a.tsv": TAB + b'"never closed\tgood\nlater\tbad\n'}, 62, "read as text (1 lines, first line 62)"
    ),
    "quotes inside quotes in TSV": reported({"a.tsv": TAB + b'"a "b" c\tgood\n'}, 61, "read as text"),
    "a quoted word at the beginning in TSV": reported({"a.tsv": TAB + b'"Heat" is hot\tgood\n'}, 61, "read as text"),
    "quotes inside a cell of TSV": accepted({"a.tsv": TAB + b'he said "no" to 5" nails\tgood\n'}, 61),
    "quotes around a cell of TSV": accepted({"a.tsv": TAB + b'"text number 1"\tgood\n'}, 60, {"dropped.duplicates": 1}),
    "quoted line ends in TSV": accepted({"a.tsv": TAB + b'"one\ntwo"\tgood\n'}, 61, {"read": 61}),
    "quoted tabs in TSV": accepted({"a.tsv": TAB + b'"one\ttwo"\tgood\n'}, 61),
    "quoted tabs and line ends in TSV": refused(
        {"a.tsv": TAB + b'"one\ttwo\nthree\tfour\nfive"\tgood\n'},
        "a.tsv, line 62: expected quotes that enclose one cell, found whole rows inside one of 3 lines",
        "if the quotes of the file are text: python",
        "if they enclose cells: python",
        fixed=(60, 61, 63),
    ),
    "quoted tabs and line ends, each line with as many": refused(
        {"a.tsv": TAB + b'"one\ttwo\nthree"\tgood\n'},
        "line 62: expected quotes that enclose one cell",
        fixed=(60, 61, 62),
    ),
    "quoted tabs and line ends kept apart": quarantined(
        {"a.tsv": TAB + b'"one\ttwo\nthree"\tgood\n'}, 60, "expected quotes that enclose one cell"
    ),
    "a torn quote and a row too long in TSV": refused(
        {"a.tsv": TAB + b'"one\n' + TAB.partition(b"\n")[2] + b'two"\tgood\n'},
        "line 62: expected quotes",
        fixed=(60, 61),
    ),
    "unpaired quotes in CSV": refused(
        {"a.csv": csv_of([*ROWS, ('"I never saw it', "bad"), ('and she said."', "good")])},
        "a.csv, line 62: expected quotes that enclose one cell, found whole rows",
        fixed=(60, 61, 62),
    ),
    "unpaired quotes in CSV, the label first": refused(
        {
            "a.csv": csv_of([(label, text) for text, label in [*ROWS, *UNPAIRED[:2]]], "label,text").replace(
                b", she", b" she"
            )
        },
        "line 62: expected quotes that enclose one cell",
        fixed=(60, 61, 62),
    ),
    **{
        f"unpaired quotes in CSV, {name}": refused(
            {name: pack(csv_of([*ROWS, *UNCLOSED]))},
            "line 62: expected quotes that enclose one cell",
            f"mv data/raw/{name} 'data/raw/{name}~'",
            fixed=(60, 61, 62),
        )
        for name, pack in {"a.csv.gz": gzip.compress, "a.csv.bz2": bz2.compress, "a.csv.xz": lzma.compress}.items()
    },
    "unpaired quotes in a name with brackets": refused(
        {"a[1].csv": csv_of([*ROWS, *UNCLOSED])}, "line 62: expected quotes", fixed=(60, 61, 62)
    ),
    "unpaired quotes after Excel's first line": refused(
        {"a.csv": b"sep=;\n" + csv_of([*ROWS, *UNCLOSED], "text;label", ";")},
        "line 63: expected quotes that enclose one cell",
        fixed=(60, 61, 62),
    ),
    "unpaired quotes and commas in a name": refused(
        {"a.csv": csv_of([(*row, 1) for row in [*ROWS, *UNCLOSED]], 'text;label;"a,b,c,d"', ";")},
        "line 62: expected quotes that enclose one cell",
        fixed=(60, 61, 62),
    ),
    "letters in CSV": accepted(
        {"a.csv": GOOD + b'"Hi, John\nthanks for it, really\nBest, Ann",good\n"Dear all, hi\nso, good",bad\n'}, 62
    ),
    "letters in CSV, some rows without a label": accepted(
        {"a.csv": GOOD + b'x,\ny,\n"Dear team,\nit is late",good\n"Hi,\nso good",bad\n'},
        62,
        {"dropped.without_label": 2},
    ),
    "numbers with commas in CSV": accepted({"a.csv": GOOD + b'"It costs 1,000\nor 2,000",good\n'}, 61),
    "doubled quotes": accepted({"a.csv": GOOD + b'"he said ""no"", twice",good\n'}, 61),
    "single quotes": accepted({"a.csv": GOOD + b"'it's fine',good\n"}, 61),
    "blanks before quotes": accepted(
        {"a.csv": csv_of([(f'"{text}, it is"', f' "{label}"') for text, label in ROWS], '"text", "label"')},
        60,
        {"train.per_label.good": 21},
    ),
    "a quoted word after a blank": accepted(
        {"a.csv": csv_of([("good", ' "no" she said'), *(row[::-1] for row in ROWS)], "label,text")}, 61
    ),
    "another delimiter than the comma before a quoted word": reported(
        {"a.csv": csv_of([('I said, "hello", and left', "good"), (' "Great" film', "good"), *ROWS], "text;label", ";")},
        62,
        "columns separated by ';'",
    ),
    "commas and blanks before quotes that end": accepted(
        {"a.csv": csv_of([('"Hello, "', '"good"'), ('"he said, ""no"", "', "bad"), *ROWS])}, 62
    ),
    "a quoted header": accepted({"a.csv": GOOD.replace(b"text,label", b'"text","label"', 1)}, 60),
    "a line end in the header": accepted({"a.csv": csv_of([(*row, 1) for row in ROWS], 'text,label,"a\nb"')}, 60),
}
HEADERS = {
    name: accepted({"a.csv": GOOD.replace(b"text,label", header.encode(), 1)}, 60)
    for name, header in {
        "blanks around": " text , label ",
        "a no-break space": "text\u00a0,\u00a0label",
        "a zero-width space": "\u200btext,label\u200b",
        "a byte order mark inside": "text,\ufefflabel",
        "a mark of direction": "\u200etext,label",
        "a soft hyphen": "te\u00adxt,label",
        "a tab at the end": "text,label\t",
        "line ends of Windows": "text,label\r",
    }.items()
} | {
    "a decomposed accent": accepted(
        {"a.csv": GOOD.replace(b"label", "e\u0301tiquette".encode(), 1)}, 60, label_column="\u00e9tiquette"
    ),
    "a decomposed accent in the parameter": accepted(
        {"a.csv": GOOD.replace(b"label", "\u00e9tiquette".encode(), 1)}, 60, label_column="e\u0301tiquette"
    ),
    "a decomposed accent in JSON": accepted(
        {"a.jsonl": JSON.replace(b'"label"', '"e\u0301tiquette "'.encode())}, 60, label_column="\u00e9tiquette"
    ),
    "a blank in some keys of JSON": accepted({"a.jsonl": JSON + b'{"text ": "x", " label": "good"}\n'}, 61),
    "a key in two spellings": refused(
        {"a.jsonl": JSON + b'{"text ": "x", " text": "y", "label": "good"}\n'}, "line 61: expected every key once"
    ),
    "a blank in Parquet": accepted({"a.parquet": written(COLUMNS.rename({"text": "text "}))}, 60),
    "as it is written, and with a blank": accepted(
        {"a.csv": csv_of([(*r, "x") for r in ROWS], "text,label, text ")}, 60
    ),
    "twice with blanks": refused(
        {"a.csv": csv_of([(*row, 1) for row in ROWS], " text,label,text ")},
        "two columns 'text'",
        edit={"a.csv": csv_of([(*row, 1) for row in ROWS], "text,label,other")},
    ),
    "upper case": refused(
        {"a.csv": GOOD.replace(b"text,", b"Text,", 1)}, "prepare.text_column in params.yaml to 'Text'"
    ),
    "a typing error": refused({"a.csv": GOOD.replace(b"label", b"lable", 1)}, "label_column in params.yaml to 'lable'"),
    "a plural": refused({"a.csv": GOOD.replace(b"label", b"labels", 1)}, "label_column in params.yaml to 'labels'"),
    "letters that look alike": refused(
        {"a.csv": GOOD.replace(b"text", "t\u0435xt".encode(), 1)}, "text_column in params.yaml to 't\u0435xt'"
    ),
    "a typing error in JSON": refused({"a.jsonl": JSON.replace(b'"label"', b'"Labels"')}, "in params.yaml to 'Labels'"),
    "a typing error in Parquet": refused(
        {"a.parquet": written(COLUMNS.rename({"text": "texts"}))}, "text_column in params.yaml to 'texts'"
    ),
    "a typing error, and tabs": refused(
        {"a.csv": GOOD.replace(b"text,label", b"texts\t\t,label")}, "text_column in params.yaml to 'texts'"
    ),
    "3,000 columns": refused(
        {"a.csv": csv_of([(*row, *[0] * 2998) for row in ROWS[:30]], ",".join(f"c{n}" for n in range(3000)))},
        "c0, c1, ",
        "and 2,990 more",
        fixed=(30,),
        edit={"text_column": "c0", "label_column": "c1"},
    ),
    "a name of 100,000 letters": refused(
        {"a.csv": b"x" * 100_000 + b",label\na,b\n"}, "x" * 40 + "\u2026, label", edit={"a.csv": GOOD}
    ),
    "invisible characters elsewhere": refused(
        {"a.csv": GOOD.replace(b"text,label", "re\u200bview,sta\u00a0rs".encode(), 1)},
        r"'re\u200bview', 'sta\xa0rs'",
        edit={"text_column": "re\u200bview", "label_column": "sta\u00a0rs"},
    ),
    "no name": refused(
        {"a.csv": GOOD.replace(b"text,label", b",", 1)}, "found:    the columns '', ''", edit={"a.csv": GOOD}
    ),
    "an index without name": accepted({"a.csv": csv_of([(n, *row) for n, row in enumerate(ROWS)], ",text,label")}, 60),
    "a column named index": accepted(
        {"a.csv": csv_of([(n, *row) for n, row in enumerate(ROWS)], "index,text,label")}, 60
    ),
    "the index as the text": refused(
        {"a.parquet": written(COLUMNS.with_row_index("index"))}, "the column 'index'", "UInt32", text_column="index"
    ),
    "names that are reserved elsewhere": accepted(
        {"a.jsonl": JSON.replace(b'"text"', b'"class"')}, 60, text_column="class"
    ),
}
UNLABELLED = csv_of([(n, text) for n, (text, _) in enumerate(ROWS[:9])], "id,text")
SHARD = "-00000-of-00001-a09b74b3ef9c3b56"
NAMES = {
    name: accepted(dict.fromkeys([train], GOOD) | dict.fromkeys([other], HELD), 80, {f"{split}.rows": 20})
    for name, (train, other, split) in {
        "dev": ("train.csv", "dev.csv", "validation"),
        "valid": ("train.csv", "valid.csv", "validation"),
        "val": ("train.csv", "val.csv", "validation"),
        "testing": ("training.csv", "testing.csv", "test"),
        "eval": ("train.csv", "eval.csv", "test"),
        "upper case": ("TRAIN.CSV", "Test.Csv", "test"),
        "a word before": ("sst2_train.csv", "sst2_test.csv", "test"),
        "a word behind": ("train-v1.1.csv", "dev-v1.1.csv", "validation"),
        "numbers without a sign between": ("train2017.csv", "val2017.csv", "validation"),
        "points": ("reviews.train.csv", "reviews.test.csv", "test"),
        "a blank, brackets and NFD": ("train (1).csv", unicodedata.normalize("NFD", "\u00e9t\u00e9 test.csv"), "test"),
        "folders": ("train/a.csv", "test/b.csv", "test"),
        "folders in folders": ("data/train/0000.csv", "data/dev/0000.csv", "validation"),
        "a configuration": ("default/train/0000.csv", "default/validation/0000.csv", "validation"),
        "a folder and its shards": (f"plain_text/train{SHARD}.csv", f"plain_text/test{SHARD}.csv", "test"),
    }.items()
} | {
    "shards with hashes of Parquet": accepted(
        {f"data/train{SHARD}.parquet": PARQUET, "data/test" + SHARD + ".csv": HELD}, 80, {"test.rows": 20}
    ),
    "numbered files": accepted({f"train_{n}.csv": csv_of(ROWS[6 * n : 6 * n + 6]) for n in range(10)}, 60),
    "numbered files of two formats": accepted(
        {"part-1.parquet": parquet_of(ROWS[:30]), "part-2.csv.gz": gzip.compress(csv_of(ROWS[30:]))}, 60
    ),
    "shards of two formats": accepted(
        {"train-00000-of-00002.parquet": parquet_of(ROWS[:30]), "train-00001-of-00002.csv": csv_of(ROWS[30:])}, 60
    ),
    "numbered files, one torn": refused(
        {"part-1.csv": csv_of([*ROWS[:30], *UNCLOSED]), "part-2.csv": csv_of(ROWS[30:])},
        "part-1.csv, line 32: expected quotes that enclose one cell",
        fixed=(60, 61, 62),
    ),
    "one table in two formats": refused({"a.csv": GOOD, "a.jsonl": JSON}, "do not belong together"),
    "files in a split's folder": accepted({"train/a.csv": csv_of(ROWS[:30]), "train/b.csv": csv_of(ROWS[30:])}, 60),
    "numbered files to be split": accepted({"part-1.csv": csv_of(ROWS[:30]), "part-2.csv": csv_of(ROWS[30:])}, 60),
    "what Spark writes": accepted(
        {f"a.csv/part-0000{n}-1f-c000.csv": csv_of(ROWS[30 * n : 30 * n + 30]) for n in (0, 1)}
        | {"a.csv/._x.crc": b"x"},
        60,
    ),
    "one table with a split's word": accepted({"my_test_data.csv": GOOD}, 60),
    "one table with a training word": accepted({"training-reviews.csv": GOOD}, 60),
    "a word inside another": accepted({"trainers.csv": GOOD}, 60),
    "only a test table": refused(
        {"test.csv": GOOD},
        "cannot tell",
        "found:    test.csv",
        "mv data/raw/test.csv",
        fixed=(60, 80),
        edit={"train.csv": HELD},
    ),
    "only a development table": refused({"dev.csv": GOOD}, "found:    dev.csv"),
    "a table beside the splits": refused(
        {"train.csv": GOOD, "test.csv": HELD, "sample_submission.csv": b"id,label\n"},
        "sample_submission.csv",
        "mv data/raw/sample_submission.csv .",
        fixed=(80,),
    ),
    "a test table of another name": refused(
        {"Training_2025.csv": GOOD, "holdout.csv": HELD},
        "found:    Training_2025.csv, holdout.csv",
        "name them so (test rows: test.*), or take out what is none of them: mv data/raw/holdout.csv .",
        fixed=(60, 80),
        edit={"holdout.csv": None, "test.csv": HELD},
    ),
    "two tables": refused(
        {"a.csv": GOOD, "b.csv": HELD},
        "a.csv, b.csv",
        "mv data/raw/b.csv .",
        fixed=(60, 80),
        edit={"a.csv": None, "b.csv": None, "train.csv": GOOD, "test.csv": HELD},
    ),
    "two forms of one table": refused(
        {"train.csv": GOOD, "train.csv.gz": gzip.compress(GOOD)}, "do not belong together"
    ),
    "three configurations": refused(
        {f"{name}/train/0.csv": GOOD for name in "abc"}, "a/train/0.csv, b/train/0.csv", "mv data/raw/b data/raw/c ."
    ),
    "one name in two folders": refused(
        {"train.csv": GOOD, "b.csv": GOOD, "x/b.csv": GOOD, "x/test.csv": HELD},
        "mv data/raw/b.csv . && mv data/raw/x/b.csv ./x__b.csv",
        fixed=(80,),
    ),
    "only a test folder": refused({"test/0.csv": GOOD}, "mv data/raw/test/0.csv data/raw/table.csv"),
    "names that differ in case": refused({"train_1.csv": GOOD, "Train_1.csv": GOOD}, "do not belong together"),
    "one shard too many": refused(
        {f"train-0000{n}-of-00001.csv": GOOD for n in (0, 1)},
        "take out what is too much: mv data/raw/train-00001-of-00001",
    ),
    "a table and its shards": refused(
        {"train.csv": GOOD} | {f"train-0000{n}-of-00002.csv": GOOD for n in (0, 1)}, "too much: mv data/raw/train.csv ."
    ),
    "shards and another form": refused(
        {"train.jsonl": JSON} | {f"train-0000{n}-of-00002.csv": GOOD for n in (0, 1)}, "mv data/raw/train.jsonl ."
    ),
    "shards in two spellings": accepted({"Train-00001-of-00002.csv": GOOD, "train-00000-of-00002.csv": GOOD}, 60),
    "a shard of two makings": refused(
        {"train-00000-of-00001-a.csv": GOOD, "train-00000-of-00001-b.csv": GOOD}, "too much: mv data/raw/train-00000-of"
    ),
    "a name with a quote": refused({"it's.csv": GOOD.decode().encode("utf-16")}, "iconv"),
    "a name that begins with a sign": refused({"-a b.csv": GOOD.decode().encode("utf-16")}, "iconv"),
    "files about the data": reported(
        {"train.csv": GOOD, "dataset_infos.json": b"{}", "README.md": b"x"},
        60,
        "not read: README.md, dataset_infos.json",
    ),
    "only other files": refused(
        {"notes.txt": b"x", "b.md": b"x"}, "no table; not read: b.md, notes.txt", edit={"a.csv": GOOD}
    ),
    "litter alone": refused({".DS_Store": b"x", "a.csv~": GOOD}, "found:    no table\n", edit={"a.csv": GOOD}),
    "a hidden table": reported({"a.csv": GOOD, ".b.csv": GOOD}, 60, "not read: .b.csv"),
    "litter": accepted(
        {"a.csv": GOOD}
        | dict.fromkeys(
            (".DS_Store", "Thumbs.db", "a.csv~", ".~lock.a.csv#", "._a.csv", ".a.csv.swp", "desktop.ini"), b"x"
        )
        | {".ipynb_checkpoints/a-checkpoint.csv": GOOD, "__MACOSX/a.csv": GOOD, "~$a.csv": b"x"},
        60,
    ),
    "a test table without labels": refused(
        {"train.csv": GOOD, "test.csv": UNLABELLED},
        "test.csv has no labels, so nothing can be measured on it",
        "mv data/raw/test.csv .",
        "python -m review_sentiment.predict test.csv --column text",
    ),
    "a test table with empty labels": refused(
        {"train.csv": GOOD, "test.csv": csv_of([(text, "") for text, _ in ROWS[:9]])},
        "test.csv has no labels",
        "mv data",
    ),
    "a test table of JSON without labels": refused(
        {"train.jsonl": JSON, "test.jsonl": b'{"text": "x"}\n'}, "test.jsonl has no labels", "mv data/raw/test.jsonl ."
    ),
    "a test table of Parquet without labels": refused(
        {"train.parquet": PARQUET, "test.parquet": written(COLUMNS.drop("label"))}, "test.parquet has no labels"
    ),
    "a test table with -1 for all labels": refused(
        {"train.csv": labelled(lambda n: n % 2), "test.csv": csv_of([(f"t {n}", -1) for n in range(9)])},
        "'-1' (train: 0, validation: 0, test: 9)",
        "if test has no labels: take its table out of data/raw",
        edit={"test.csv": None},
    ),
    "no table with labels": refused(
        {"train.csv": UNLABELLED, "test.csv": UNLABELLED},
        "train.csv has no column 'label'",
        "the columns id, text",
        fixed=(80,),
        edit={"train.csv": GOOD, "test.csv": HELD},
    ),
}
COMPRESSED = {
    "gzip": accepted({"a.csv.gz": gzip.compress(GOOD)}, 60),
    "bzip2": accepted({"a.tsv.bz2": bz2.compress(TAB)}, 60),
    "xz": accepted({"a.jsonl.xz": lzma.compress(JSON)}, 60),
    "gzip of an array": accepted({"a.json.gz": gzip.compress(ARRAY)}, 60),
    "gzip and a mark": accepted(
        {"a.csv.gz": gzip.compress(b"\xef\xbb\xbf" + GOOD)}, 60, {"repaired.byte_order_marks": 1}
    ),
    "gzip with semicolons": reported({"a.csv.gz": gzip.compress(GOOD.replace(b",", b";"))}, 60, "separated by ';'"),
    "gzip with unpaired quotes": reported(
        {"a.tsv.gz": gzip.compress(csv_of([*ROWS, *UNPAIRED], "text\tlabel", "\t"))}, 80, "read as text"
    ),
    "shards of gzip": accepted(
        {f"train-0000{n}-of-00002.csv.gz": gzip.compress(csv_of(ROWS[30 * n : 30 * n + 30])) for n in (0, 1)}, 60
    ),
    "cut off": refused(
        {"a.csv.gz": gzip.compress(GOOD)[:-30]},
        "a.csv.gz cannot be read",
        "a whole file that may be read",
        edit={"a.csv.gz": gzip.compress(GOOD)},
    ),
    "cut off in its middle": refused(
        {"a.csv.xz": lzma.compress(GOOD)[:100]}, "a.csv.xz cannot be read", edit={"a.csv.xz": lzma.compress(GOOD)}
    ),
    "not compressed": refused(
        {"a.csv.gz": GOOD}, "a.csv.gz cannot be read", "Not a gzipped file", edit={"a.csv.gz": None, "a.csv": GOOD}
    ),
    "not bzip2": refused({"a.csv.bz2": GOOD}, "compressed as its ending says", edit={"a.csv.bz2": None, "a.csv": GOOD}),
    "empty": refused({"a.csv.gz": gzip.compress(b"")}, "a.csv.gz is empty", edit={"a.csv.gz": gzip.compress(GOOD)}),
    "compressed twice": refused({"a.csv.gz": gzip.compress(gzip.compress(GOOD))}, "a gzip file"),
    "Parquet called CSV": refused({"a.csv.gz": gzip.compress(PARQUET)}, "gzip -d data/raw/a.csv.gz && mv"),
    "Parquet": refused({"a.parquet.gz": gzip.compress(PARQUET)}, "is Parquet in a compressed file", "gzip -d"),
    "Zstandard": refused({"a.csv.zst": zstandard(GOOD)}, "not read: a.csv.zst", "zstd -dq --rm"),
    "ZIP": refused({"a.zip": zipped({"a.csv": GOOD})}, "not read: a.zip", "unzip data/raw/a.zip -d data/raw"),
    "Excel": refused({"a.xlsx": EXCEL}, "no table; not read: a.xlsx", "pip install fastexcel && python"),
    "Excel beside a table": reported({"a.csv": GOOD, "a.xlsx": EXCEL}, 60, "not read: a.xlsx"),
    "what datasets saves": refused(
        {
            "reviews/dataset_dict.json": b"{}",
            "reviews/test/data-00000-of-00001.arrow": arrow_of([(f"held {n}", "good") for n in range(20)], stream=True),
            "reviews/test/state.json": b"{}",
            "reviews/train/data-00000-of-00002.arrow": arrow_of(ROWS[:30], stream=True),
            "reviews/train/data-00001-of-00002.arrow": arrow_of(ROWS[30:], stream=True),
        },
        "no table; not read: reviews/dataset_dict.json, reviews/test/data-00000-of-00001.arrow",
        "read_ipc_stream",
        fixed=(80,),
    ),
    "Feather": refused({"a.feather": arrow_of(ROWS, stream=False)}, "no table; not read: a.feather", "pl.read_ipc("),
    "files of lines": refused(
        {"train_text.txt": b"a\nb\n", "train_labels.txt": b"0\n1\n", "a.label": b"0\n"},
        "no table; not read: a.label, train_labels.txt, train_text.txt",
        'if a line is a text or a label, make a table: docs/data.md, "Tables of another form"',
        edit={"train.csv": GOOD},
    ),
    "CSV called Excel": refused({"a.xlsx": GOOD}, "not read: a.xlsx", "if it is CSV: mv"),
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
FILES = {
    "a pointer of Git LFS": refused({"a.csv": POINTER}, "pointer of Git LFS", "git lfs pull", edit={"a.csv": GOOD}),
    "a pointer for Parquet": refused({"a.parquet": POINTER}, "pointer of Git LFS", edit={"a.parquet": PARQUET}),
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
    "lists of labels in CSV": accepted(
        {"a.csv": csv_of([(text, f'"[""{label}"", ""all""]"') for text, label in ROWS]) + b"more, []\n"},
        61,
        {"train.per_label.all": 43},
        task="multi_label",
    ),
    "labels as Label Studio writes several in CSV": accepted(
        {"a.csv": csv_of([(text, f'"{{""choices"": [""{label}"", ""all""]}}"') for text, label in ROWS])},
        60,
        {"train.per_label.all": 43},
        task="multi_label",
    ),
    "labels as Label Studio writes several in JSON-MIN": accepted(
        {"a.jsonl": jsonl_of([*((text, label) for text, label in ROWS), ("more", {"choices": ["good", "bad"]})])},
        61,
        {"read": 61},
        task="multi_label",
    ),
    "objects that hold more than labels": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": {"choices": [], "by": 1}}\n'},
        "expected a label",
        "an object",
        task="multi_label",
    ),
    "lists of labels as Python prints them": refused(
        {"a.csv": csv_of([(text, f"\"['{label}', 'all']\"") for text, label in ROWS])},
        "60 rows cannot be read, not one can",
        "expected labels separated by ',', or a JSON list, found \"['bad', 'all']\"",
        "fix:      Python printed these lists: write the table as JSON Lines or Parquet (to_json(",
        edit={"a.csv": None, "a.jsonl": jsonl_of([(text, [label, "all"]) for text, label in ROWS])},
        task="multi_label",
    ),
    "lists of labels as Python prints them, some empty": refused(
        {
            "a.csv": csv_of(
                [(text, f"\"['{label}', 'all']\"" if n % 3 else "[]") for n, (text, label) in enumerate(ROWS)]
            )
        },
        "40 rows cannot be read",
        "fix:      Python printed these lists",
        "or its lists with json.dumps",
        edit={
            "a.csv": csv_of(
                [(text, f'"[""{label}"", ""all""]"' if n % 3 else "[]") for n, (text, label) in enumerate(ROWS)]
            )
        },
        task="multi_label",
    ),
    "lists of numbers as NumPy prints them": refused(
        {"a.csv": csv_of([(text, f"[ {n % 2} 27]" if n % 3 else "[27]") for n, (text, _) in enumerate(ROWS)])},
        "40 rows cannot be read",
        "or a JSON list, found '[ 1 27]'",
        edit={"a.csv": csv_of([(text, f"{n % 2},27".join('""')) for n, (text, _) in enumerate(ROWS)])},
        task="multi_label",
    ),
    "labels in brackets": accepted(
        {"a.csv": csv_of([(text, f'"[{label}], [all]"') for text, label in ROWS])},
        60,
        {"train.per_label.[all]": 43},
        task="multi_label",
    ),
    "lists of labels that all hold the separator": refused(
        {"a.jsonl": jsonl_of([(text, [f"so, {label}"]) for text, label in ROWS])},
        "60 rows cannot be read, not one can",
        "set prepare.label_separator in params.yaml to a sign that no label holds",
        edit={"label_separator": "|"},
        task="multi_label",
    ),
    "lists of labels with the separator in one": refused(
        {"a.jsonl": jsonl_of([*((text, [label]) for text, label in ROWS), ("more", ["good", "so, so"])])},
        "line 61: expected labels without prepare.label_separator ',', found 'so, so'",
        fixed=(60, 61),
        edit={"label_separator": "|"},
        task="multi_label",
    ),
    "a test table without one of several labels": refused(
        {"train.csv": GOOD, "test.csv": csv_of([(text, "") for text, _ in ROWS[:9]])},
        "test.csv has no labels, so nothing can be measured on it",
        "mv data/raw/test.csv .",
        task="multi_label",
    ),
    "labels with another separator": refused(
        {"a.csv": GOOD + b"lonely row 4,good; bad\n"},
        "'good; bad' (train: 0, ",
        "; for several labels in a cell, prepare.label_separator",
        fixed=(61,),
        edit={"label_separator": ";"},
        task="multi_label",
    ),
    "lists in lists": refused(
        {"a.jsonl": JSON + b'{"text": "x", "label": [["a"]]}\n'}, "expected a label", "a list", task="multi_label"
    ),
    "no label anywhere": refused(
        {"a.csv": labelled(lambda _: "")}, "nothing to tell apart", edit={"a.csv": GOOD}, task="multi_label"
    ),
    "numbers": accepted({"a.csv": labelled(lambda n: f"{n}.5")}, 60, {"train.target.p0": 0.5}, task="regression"),
    "words for numbers": refused(
        {"a.csv": GOOD},
        "60 rows",
        "line 2: expected a finite number, found 'bad'",
        edit={"task": "single_label"},
        task="regression",
    ),
    "NaN for a number": refused(
        {"a.csv": labelled(lambda n: "nan" if n == 3 else n)},
        "line 5: expected a finite number",
        fixed=(59,),
        task="regression",
    ),
    "no number": accepted({"a.csv": labelled(lambda n: n or "")}, 59, {"dropped.without_label": 1}, task="regression"),
    "a test table with -1 for all numbers": refused(
        {"train.csv": labelled(lambda n: n), "test.csv": csv_of([(f"t {n}", -1) for n in range(9)])},
        "nothing to tell apart",
        "-1.0 in every row of test",
        "if test has no labels: take its table out of data/raw",
        edit={"test.csv": None},
        task="regression",
    ),
    "two numbers": accepted(
        {"a.csv": labelled(lambda n: n) + b"text number 0,0.0\ntext number 1,7\n"},
        59,
        {"dropped.contradicting_labels": 2, "dropped.duplicates": 1},
        task="regression",
    ),
    "numbers too close": refused(
        {"a.csv": labelled(lambda n: 1e9 + n % 7)},
        "float32 cannot hold the targets",
        edit={"a.csv": labelled(lambda n: n % 7)},
        task="regression",
    ),
    "numbers too large": refused(
        {"a.csv": labelled(lambda n: 1e35 * n)},
        "float32 cannot hold the targets",
        edit={"a.csv": labelled(lambda n: n % 7)},
        task="regression",
    ),
    "one number": refused(
        {"a.csv": labelled(lambda _: 3)},
        "nothing to tell apart",
        edit={"a.csv": labelled(lambda n: n % 7)},
        task="regression",
    ),
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
    "pairs in five columns": reported(
        {
            "a.tsv": csv_of(
                [(f"{n}n", "fiction", text, f'"other {n}', label) for n, (text, label) in enumerate(ROWS)],
                "pairID\tgenre\tsentence1\tsentence2\tgold_label",
                "\t",
            )
        },
        60,
        "read as text (60 lines",
        task="pair",
        text_column="sentence1",
        second_text_column="sentence2",
        label_column="gold_label",
    ),
    "pairs without the second column": refused(
        {"a.csv": csv_of([(*row, n) for n, row in enumerate(ROWS)], "text,label,other")},
        "no column 'second'",
        "prepare.second_text_column",
        edit={"second_text_column": "other"},
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
        "quotes": QUOTES,
        "headers": HEADERS,
        "names": NAMES,
        "compressed": COMPRESSED,
        "files": FILES,
        "tasks": TASKS,
    }.items()
    for name, case in cases.items()
}
