"""Whatever bytes a table holds, the reader gives rows, rejected rows or a UserError; `make fuzz` tries two minutes."""

import tempfile
from pathlib import Path

import pytest
from bad_inputs import GOOD, JSON, PARQUET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.tables.raw_rows import Column, Rejected
from {{ cookiecutter.package_name }}.tables.rows import read_rows

pytestmark = pytest.mark.slow
SETTINGS = settings(suppress_health_check=list(HealthCheck))
COLUMNS = [Column("text", "text_column"), Column("label", "label_column")]
VALID = {".csv": GOOD, ".tsv": GOOD.replace(b",", b"\t"), ".jsonl": JSON, ".parquet": PARQUET}
# What tables are made of, so that a change hits more than letters.
PIECES = [
    b'"',
    b'""',
    b",",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xe9",
    b"[",
    b"{",
    b'":',
]


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with some of its bytes replaced, cut out or added."""
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 20)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        content = content[:start] + piece * draw(st.integers(1, 3)) + content[end:]
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 3)) == 0 else content


def contents(suffix: str) -> st.SearchStrategy[bytes]:
    """Random bytes, random pieces of tables, and mutated tables."""
    pieces = st.lists(st.sampled_from([*PIECES, b"text,label", b"text", b"a"]), max_size=40).map(b"".join)
    return st.binary(max_size=300) | pieces | mutated(VALID[suffix])


def both(text: object, label: object) -> tuple[str, object]:
    """A row, if it has a text."""
    if not isinstance(text, str):
        raise ValueError("expected text, found something else")
    return text, label


def read(suffix: str, content: bytes) -> None:
    """Read a file of these bytes; what may be wrong with it is told."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"table{suffix}"
        path.write_bytes(content)
        try:
            found = list(read_rows(path, COLUMNS, both))
        except UserError as error:
            assert "\n  fix:      " in str(error)
            return
    lines = [row.line for row in found if isinstance(row, Rejected)]
    assert lines == sorted(set(lines))
    for row in found:
        if isinstance(row, Rejected):
            assert row.reason.startswith("expected ")
            row.content.encode()
        else:
            row[0].encode()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_text(suffix: str) -> None:
    given(contents(suffix))(SETTINGS(lambda content: read(suffix, content)))()


def test_parquet() -> None:
    few = settings(SETTINGS, max_examples=max(5, SETTINGS.max_examples // 60))  # each starts a process
    given(contents(".parquet"))(few(lambda content: read(".parquet", content)))()
