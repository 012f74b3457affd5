"""Rows that are read by the block are those that the exact reader gives, one by one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bad_inputs import params_with
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from {{ cookiecutter.package_name }}.config import Params
from {{ cookiecutter.package_name }}.data.intake import Intake
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.tables import blocks
from {{ cookiecutter.package_name }}.tables.raw_rows import Rejected
from {{ cookiecutter.package_name }}.tables.rows import read_rows
from {{ cookiecutter.package_name }}.text.cleaning import clean

CELLS = [
    "a",
    "word",
    " two  words ",
    "caf\u00e9",
    "Cafe\u0301",
    "it\u0092s",
    "1.5",
    "07",
    "",
    " ",
    "\u3000",
    "\x07",
    "null",
]
ODD = [b'"', b'""', b'"x"', b'" "', b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xe9", b" "]
TASKS = {
    "one label": params_with(),
    "kept rows": params_with(prepare__keep={"column": "kept", "value": "a"}),
    "several labels": params_with(task="multi_label", prepare__label_separator=" "),
    "numbers": params_with(task="regression"),
    "pairs": params_with(task="pair", prepare__second_text_column="kept"),
}


def plain(cell: str) -> bytes:
    """A cell that needs no quotes."""
    return cell.encode()


def quoted(cell: str) -> bytes:
    """A cell in quotes."""
    return b'"' + cell.replace('"', '""').encode() + b'"'


def written(cell: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """A cell as writers of tables write it."""
    inside = cell | st.lists(cell | st.sampled_from([",", "\t", "\n", "\r\n", '"']), max_size=4).map("".join)
    return cell.map(plain) | inside.map(quoted)


@st.composite
def tables(draw: st.DrawFn, delimiter: bytes) -> bytes:
    """A table; in one of two some bytes of it are others."""
    cell = st.sampled_from(CELLS)
    rows = draw(st.lists(st.tuples(*[written(cell)] * 3), max_size=12))
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = [delimiter.join(row) for row in [(b"text", b"label", b"kept"), *rows]]
    table = end.join(lines) + draw(st.sampled_from([b"", end]))
    for _ in range(draw(st.integers(0, 3)) if draw(st.booleans()) else 0):
        place = draw(st.integers(0, len(table)))
        table = table[:place] + draw(st.sampled_from(ODD)) + table[place + draw(st.integers(0, 2)) :]
    return table


def one_by_one(path: Path, params: Params) -> tuple[list, list, object]:
    """The clean rows, the bad ones and the counts of the exact reader."""
    intake = Intake(params)
    found = list(read_rows(path, intake.columns, intake.take))
    return *parted(found), counts(intake)


def by_the_block(path: Path, params: Params) -> tuple[list, list, object]:
    """The same of the quick one."""
    intake = Intake(params)
    found: list = []
    for part in parts_of(path, intake):
        found += part.rows() if isinstance(part, pl.DataFrame) else [part]
    return *parted(found), counts(intake)


def parts_of(path: Path, intake: Intake) -> list[Any]:
    """What the quick reader gives."""
    return list(blocks.read_blocks(path, intake.columns, intake.take, intake.take_all))


def parted(found: list) -> tuple[list, list]:
    return [row for row in found if not isinstance(row, Rejected)], [row for row in found if isinstance(row, Rejected)]


def counts(intake: Intake) -> tuple[int, dict, dict]:
    return intake.accepted, dict(intake.dropped), intake.all_mended()


def outcome(read: Callable[[Path, Params], object], path: Path, params: Params) -> object:
    """What a reader gives, or the message it ends with."""
    try:
        return read(path, params)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_blocks_are_what_the_exact_reader_gives(tmp_path: Path, task: str, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"

    @settings(suppress_health_check=list(HealthCheck))
    @given(tables(b"," if suffix == ".csv" else b"\t"), st.sampled_from([8, 40, 2**20]))
    def compare(table: bytes, bytes_per_block: int) -> None:
        path.write_bytes(table)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "BYTES_PER_BLOCK", bytes_per_block)
            assert outcome(by_the_block, path, TASKS[task]) == outcome(one_by_one, path, TASKS[task])

    compare()


@pytest.mark.parametrize("task", TASKS)
def test_parquet_by_the_block(tmp_path: Path, task: str) -> None:
    cells = [*CELLS, None]
    rows = [{"text": text, "label": label, "kept": kept} for text in cells for label in cells for kept in ("a", None)]
    pl.DataFrame(rows).write_parquet(tmp_path / "table.parquet")
    found = outcome(by_the_block, tmp_path / "table.parquet", TASKS[task])
    assert found == outcome(one_by_one, tmp_path / "table.parquet", TASKS[task])
    assert isinstance(found, tuple)


def test_what_leaves_no_doubt_is_read_by_the_block(tmp_path: Path) -> None:
    rows = "".join(f'"line {n}\n""so"", it said",{n % 2}\r\n' for n in range(1000))
    (tmp_path / "table.csv").write_text(f"text,label\n{rows}caf\u00e9,1\n", encoding="utf-8", newline="")
    found = parts_of(tmp_path / "table.csv", Intake(params_with()))
    assert [part.height for part in found] == [1001]
    assert found[0]["text"][999] == 'line 999 "so", it said'
    (tmp_path / "table.jsonl").write_text(json.dumps({"text": "a", "label": 1}) + "\n", encoding="utf-8")
    found = parts_of(tmp_path / "table.jsonl", Intake(params_with()))
    assert found == [("a", None, "1")]


def test_every_character_is_cleaned_as_in_one_text() -> None:
    characters = map(chr, [*range(0x3100), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 997)])
    texts = [form.format(character) for character in characters for form in ("{0}", "a{0}", "a{0}b", "a {0}b", "{0} a")]
    found = Intake(params_with()).take_all([pl.Series(texts), pl.Series(["good"]).new_from_index(0, len(texts))])
    assert found["text"].to_list() == [text for text in map(clean, texts) if text]


DOUBTS = {
    "quotes inside a cell": b'a "b" c,1\n',
    "a blank before quotes": b' "a",1\n',
    "a blank after quotes": b'"a" ,1\n',
    "letters after quotes": b'"a"b,1\n',
    "quotes without end": b'"a,1\n',
    "a cell too few": b"a\n",
    "one too few and one too many": b"a\nb,1,2\n",
    "a blank line": b"a,1\n\n",
    "a carriage return": b"a\rb,1\n",
    "a zero": b"a\0,1\n",
    "no UTF-8": b"caf\xe9,1\n",
    "a mark": b"\xef\xbb\xbfa,1\n",
    "no end": b"a,1",
}


@pytest.mark.parametrize("block", DOUBTS.values(), ids=DOUBTS)
def test_a_doubt_is_left_to_the_exact_reader(block: bytes) -> None:
    for around in (b"", b"x,0\n"):
        assert blocks.regular(around + block, 2, ",") is None or (around and block.startswith(b"\xef"))
