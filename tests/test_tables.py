"""Every table that users bring by mistake, prepared by a grown project: a message that helps, or counted repairs."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from table_cases import CASES, GOOD, JSON, PARQUET, Accepted, Case, csv_of
from workshop import grow

PARTS = ("expected:", "found:", "fix:")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A project with the user's own tables, and the modules of it that are tried here."""
    project = grow(tmp_path_factory.mktemp("grown"), data_source="files")
    sys.path.insert(0, str(project.path / "src"))
    names = ("config", "errors", "stages.prepare", "tables")
    modules = {name.split(".")[-1]: importlib.import_module(f"review_sentiment.{name}") for name in names}
    yield SimpleNamespace(project=project, **modules)
    sys.path.remove(str(project.path / "src"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "review_sentiment"]:
        del sys.modules[name]


def params_of(grown: SimpleNamespace, **changes: object) -> dict:
    """The shipped parameters, changed: the task, or keys of `prepare`."""
    values = YAML(typ="safe").load(grown.project.text("params.yaml"))
    return values | {"task": changes.pop("task", "single_label"), "prepare": values["prepare"] | changes}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder without tables, with what an earlier run left."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/processed/labels.json", "reports/data_profile.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("as before", encoding="utf-8")
    (tmp_path / "data/raw").mkdir()
    return tmp_path


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / "data/raw" / name).write_bytes(content)


def nothing_was_written(folder: Path) -> bool:
    left = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.name != "raw")
    return left == ["data/processed", "reports/data_profile.json"] and all(
        path.read_text(encoding="utf-8") == "as before"
        for path in [*folder.glob("data/processed/*"), folder / "reports/data_profile.json"]
    )


def refusal(grown: SimpleNamespace, folder: Path, **changes: object) -> str:
    with pytest.raises(grown.errors.UserError) as refused:
        grown.prepare.run(grown.config.Params.model_validate(params_of(grown, **changes)))
    assert nothing_was_written(folder)
    message = str(refused.value)
    assert all(f"\n  {part}" in message for part in PARTS)
    return message


def prepared(grown: SimpleNamespace, folder: Path, **changes: object) -> dict:
    grown.prepare.run(grown.config.Params.model_validate(params_of(grown, **changes)))
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["processed", "raw"]
    return json.loads((folder / "reports/data_profile.json").read_text(encoding="utf-8"))


def test_there_are_enough() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_table_has_its_outcome(grown: SimpleNamespace, folder: Path, case: Case) -> None:
    put(folder, case.files)
    if not isinstance(case.outcome, Accepted):
        message = refusal(grown, folder, **case.params)
        assert [word for word in case.outcome.words if word not in message] == [], message
        return
    profile = prepared(grown, folder, **case.params)
    kept = sum(profile[split]["rows"] for split in ("train", "validation", "test"))
    assert kept == case.outcome.rows
    for key, expected in case.outcome.counts.items():
        found = profile
        for part in key.split(".") if not key.startswith("quarantined.") else key.split(".", 1):
            found = found[part]
        assert found == expected, key
    assert profile["read"] == kept + sum(profile["dropped"].values()) + sum(profile["quarantined"].values())


def test_a_directory_named_like_a_table_is_refused(grown: SimpleNamespace, folder: Path) -> None:
    (folder / "data/raw/a.csv").mkdir()
    message = refusal(grown, folder)
    assert "a.csv cannot be read" in message
    assert "Is a directory" in message


def test_a_file_that_may_not_be_read_is_refused(grown: SimpleNamespace, folder: Path) -> None:
    put(folder, {"a.csv": GOOD})
    (folder / "data/raw/a.csv").chmod(0)
    for path in (folder, folder / "data"):
        path.chmod(0o777)
    params = grown.config.Params.model_validate(params_of(grown))
    user = os.geteuid()
    if user == 0:  # may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(grown.errors.UserError, match=r"a.csv cannot be read") as refused:
            grown.prepare.run(params)
    finally:
        os.seteuid(user)
    assert "Permission denied" in str(refused.value)
    assert nothing_was_written(folder)


def test_a_missing_directory_is_refused(grown: SimpleNamespace, folder: Path) -> None:
    (folder / "data/raw").rmdir()
    assert "no table" in refusal(grown, folder)


def test_a_full_disk_is_reported(grown: SimpleNamespace, folder: Path) -> None:
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params_of(grown), file)
    put(folder, {"a.csv": csv_of([(f"{number} {'word ' * 50}", number % 2) for number in range(20_000)])})
    (folder / "data/raw").rename(folder / "raw")
    shutil.rmtree(folder / "data")
    (folder / "data").mkdir()
    small = "mount -t tmpfs -o size=2m tmpfs data && mkdir data/raw && mount --bind raw data/raw"
    small += ' && "$@"; echo "left: $(ls -A data)"; exit 1'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small, "sh")
    if subprocess.run([*prefix, "true"], cwd=folder, capture_output=True, check=False).stdout != b"left: raw\n":
        pytest.skip("no small disk can be mounted here (user namespaces are switched off)")
    command = [*prefix, sys.executable, "-m", "review_sentiment", "prepare"]
    done = subprocess.run(command, cwd=folder, env=grown.project.env, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error: the disk is full")
    assert "Traceback" not in done.stderr
    assert done.stdout == "left: raw\n"


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


@pytest.mark.parametrize("suffix", VALID)
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(grown: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    """FUZZ_EXAMPLES=15000 tries about two minutes."""
    examples = int(os.environ.get("FUZZ_EXAMPLES", "100"))
    if suffix == ".parquet":
        examples = max(5, examples // 60)  # each starts a process
    columns = [grown.tables.Column(name, name) for name in ("text", "label")]
    path = tmp_path / f"table{suffix}"

    @settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=examples)
    @given(contents(suffix))
    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = list(grown.tables.read_rows(path, columns, both))
        except grown.errors.UserError as error:
            assert "\n  fix:      " in str(error)
            return
        malformed = [row for row in found if isinstance(row, grown.tables.MalformedRow)]
        lines = [row.line for row in malformed]
        assert lines == sorted(set(lines))
        for row in malformed:
            assert row.reason.startswith("expected ")
            row.content.encode()
        for row in found:
            if not isinstance(row, grown.tables.MalformedRow):
                row[0].encode()

    read()
