"""Every table that users bring by mistake, prepared by a grown project: a message that helps, or counted repairs."""

import ast
import atexit
import csv
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from table_cases import CASES, GOOD, JSON, PARQUET, Accepted, Case, Refused, csv_of
from workshop import grow, guide, never_printed

PARTS = ("expected:", "found:", "fix:")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A project with the user's own tables, and the modules of it that are tried here."""
    project = grow(tmp_path_factory.mktemp("grown"), data_source="files")
    sys.path.insert(0, str(project.path / "src"))
    names = ("config", "errors", "stages.prepare", "tables", "tables.discovery", "tables.parquet_reader")
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
        (folder / "data/raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data/raw" / name).write_bytes(content)


def nothing_was_written(folder: Path) -> bool:
    left = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[!.]*/*") if path.name != "raw")
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


# A command or a parameter in a fix.
COMMAND = re.compile(r"""\b((?:python|iconv|tr|mv|jq|gzip|bzip2|xz|zstd|unzip|pip) (?:'[^']*'|"[^"]*"|[^'";(])+)""")
PARAMETER = re.compile(r"set prepare\.(\w+)(?: in params\.yaml to |: )('[^']*'|quarantine)")


def typed(message: str) -> list[str | dict[str, object]]:
    """The ways out that a message offers, as commands or parameters."""
    fix = message.partition("\n  fix:")[2]
    commands = [command.strip() for command in COMMAND.findall(fix)]
    commands = [command for command in commands if "review_sentiment.predict" not in command]
    return [*commands, *({key: value.strip("'")} for key, value in PARAMETER.findall(fix))]


REFUSALS: list[str] = []  # of the cases below
LOGGED: list[str] = []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_table_has_its_outcome(
    grown: SimpleNamespace,
    folder: Path,
    case: Case,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(folder, case.files)
    if not (isinstance(case.outcome, Refused) and "cannot be read" in " ".join(case.outcome.words)):
        monkeypatch.setattr(grown.parquet_reader, "_check", lambda *_: None)  # a process for files that are damaged
    if isinstance(case.outcome, Accepted):
        has_its_rows(prepared(grown, folder, **case.params), case.outcome)
        assert [word for word in case.outcome.logged if word not in caplog.text] == [], caplog.text
        assert bool(case.outcome.logged) == bool(caplog.records)
        LOGGED.append(caplog.text)
        return
    message = refusal(grown, folder, **case.params)
    assert [word for word in case.outcome.words if word not in message] == [], message
    REFUSALS.append(message)
    assert len(message) < 2000
    assert "\u200b" not in message
    kept = {}
    for fix in typed(message) + ([case.outcome.edit] if case.outcome.edit else []):
        shutil.rmtree(folder / "data/raw")
        put(folder, case.files)
        kept[str(fix)] = leads_to(grown, folder, fix, case.params)
    assert {*kept.values()} == {*case.outcome.fixed}, f"{kept}\n{message}"


# What a refusal says here is its cause too, so that the guide has nothing to add.
WITHOUT_ROW = """cannot be read
    a split would be empty
    is not in UTF-8
    float32 cannot hold the targets
    gives no rows
    has no column
    has no labels, so nothing can be measured on it
    has two columns
    holds lists without column names
    holds objects of several lines
    holds one object around all rows
    holds one object of columns
    holds several tables
    is Parquet in a compressed file
    is a pointer of Git LFS, not the file itself
    is empty
    is not what its name says
    prepare.label_names does not fit the labels of the data
    cannot be used
    the files of one table in
    there are more than 10,000 labels""".split("\n    ")


def test_the_guide_names_only_what_is_printed_and_all_that_does_not_explain_itself() -> None:
    if len(REFUSALS + LOGGED) < len(CASES):
        pytest.skip("needs all cases of the test before it")
    printed = [message.partition("\n  fix:")[0] for message in REFUSALS] + LOGGED
    assert never_printed("Reading data", printed) == []
    heads = {message.partition("\n")[0] for message in REFUSALS}
    rows = [one for row, _ in guide("Reading data") for one in row]
    without = [head for head in heads if not any(one.search(head) for one in rows)]
    assert [head for head in without if not any(part in head for part in WITHOUT_ROW)] == []
    assert [part for part in WITHOUT_ROW if not any(part in head for head in without)] == []


def leads_to(grown: SimpleNamespace, folder: Path, fix: str | dict[str, object], params: dict[str, object]) -> int:
    """How many rows are kept after a fix; 0 where another message comes."""
    changes: dict[str, object] = {}
    for part in fix.split(" && ") if isinstance(fix, str) else []:
        words = shlex.split(part)
        if words[:2] == ["pip", "install"]:
            install(*words[2:])
        elif words[:2] == ["python", "-c"] and len(words) == 3:  # as the command does, without its start
            exec(words[2], {})
        else:
            done = subprocess.run(part, shell=True, cwd=folder, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), fix
    for name, value in fix.items() if isinstance(fix, dict) else []:
        if value is None:
            (folder / "data/raw" / name).unlink()
        elif isinstance(value, bytes):
            put(folder, {name: value})
        else:
            changes[name] = value
    try:
        return kept_of(prepared(grown, folder, **params | changes))
    except grown.errors.UserError as error:
        print(error)
        return 0


@cache
def install(*packages: str) -> None:
    """Install packages where only these tests find them."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, *packages]
    if subprocess.run(command, check=False).returncode:
        pytest.skip(f"{packages} cannot be installed here")
    sys.path.append(folder)


def kept_of(profile: dict) -> int:
    return sum(profile[split]["rows"] for split in ("train", "validation", "test"))


def has_its_rows(profile: dict, outcome: Accepted) -> None:
    kept = kept_of(profile)
    assert kept == outcome.rows
    for key, expected in outcome.counts.items():
        found = profile
        for part in key.split(".") if not key.startswith("quarantined.") else key.split(".", 1):
            found = found[part]
        assert found == expected, key
    assert profile["read"] == kept + sum(profile["dropped"].values()) + sum(profile["quarantined"].values())


def test_the_documented_code_makes_tables_of_another_form(grown: SimpleNamespace, folder: Path) -> None:
    [code] = re.findall(
        "## Tables of another form.*?```python\n(.*?)```", grown.project.text("docs/data.md"), re.DOTALL
    )
    imports, of_lines, of_columns = code.split("\n\n")
    texts = [f'text {n}\t"of\u2028{n}' for n in range(60)]
    put(
        folder,
        {
            "train_text.txt": "\n".join(texts).encode(),
            "train_labels.txt": b"".join(b"01"[n % 2 :][:1] + b"\n" for n in range(60)),
        },
    )
    exec(f"{imports}\n{of_lines}", {})
    assert kept_of(prepared(grown, folder)) == 60
    shutil.rmtree(folder / "data/raw")
    put(folder, {})
    (folder / "data/raw").mkdir()
    header, empty = "comment_text,toxic,insult,threat\n", "fine,0,0,\n"
    rows = [f"text {n},1,{n % 2},{int(n == 7)}\n" for n in range(60)]
    (folder / "a.csv").write_text("".join([header, *rows, empty]), encoding="utf-8")
    exec(f"{imports}\n{of_columns}", made := {})
    found = prepared(grown, folder, task="multi_label", text_column="comment_text")
    assert kept_of(found) == 61
    splits = [found[split] for split in ("train", "validation", "test")]
    assert sum(split["without_any_label"] for split in splits) == 1
    assert [sum(split["per_label"].get(name, 0) for split in splits) for name in ("toxic", "insult")] == [60, 30]
    titles = pl.DataFrame({"Title": ["a", None], "Text": ["b", "c"]})
    assert titles.with_columns(text=made["text"])["text"].to_list() == ["a\nb", "c"]
    nested = pl.read_ndjson(b'{"message": {"body": "a"}}\n')
    assert nested.with_columns(text=made["body"])["text"].to_list() == ["a"]


def test_labels_with_another_separator_are_asked_about(
    grown: SimpleNamespace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(folder, {"a.csv": csv_of([(f"text {n}", ("good; new", "old", "")[n % 3]) for n in range(60)])})
    for separator, asked in ((",", True), (";", False)):
        prepared(grown, folder, task="multi_label", label_separator=separator)
        assert ("is prepare.label_separator that of the file?" in capsys.readouterr().err) == asked
    prepared(grown, folder)
    assert "no text has two labels" not in capsys.readouterr().err


def test_a_directory_named_like_a_table_is_refused(grown: SimpleNamespace, folder: Path) -> None:
    (folder / "data/raw/a.csv").mkdir()
    message = refusal(grown, folder)
    assert "a.csv cannot be read" in message
    assert "Is a directory" in message


def test_a_file_that_may_not_be_read_is_refused(grown: SimpleNamespace, folder: Path) -> None:
    put(folder, {"a.csv": GOOD})
    (folder / "data/raw/a.csv").chmod(0)
    user = os.geteuid()
    if user == 0:  # may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(grown.errors.UserError, match=r"a.csv cannot be read") as refused:
            read(grown, Path("data/raw/a.csv"), "text", "label")
    finally:
        os.seteuid(user)
    assert "Permission denied" in str(refused.value)


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


@pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs is not installed (apt-get install git-lfs)")
def test_git_lfs_pull_gives_the_table(grown: SimpleNamespace, folder: Path) -> None:
    put(folder, {"a.csv": GOOD})
    made = f"""git init --quiet --bare .store && git init --quiet --initial-branch=main
    git remote add origin file://{folder}/.store && git lfs install --local && git lfs track data/raw/a.csv
    git add .gitattributes data/raw && git commit --quiet --message Begin && git push --quiet origin main
    rm -r .git/lfs data/raw && GIT_LFS_SKIP_SMUDGE=1 git checkout --quiet data/raw"""
    subprocess.run(made, shell=True, cwd=folder, env=grown.project.env, check=True)
    fix = refusal(grown, folder).partition("\n  fix:")[2].partition(",")[0]
    subprocess.run(fix, shell=True, cwd=folder, env=grown.project.env, check=True)
    assert kept_of(prepared(grown, folder)) == 60


EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))  # `make fuzz` tries more
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
    examples = max(5, EXAMPLES // 60) if suffix == ".parquet" else EXAMPLES  # each of Parquet starts a process
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
        assert lines == sorted(lines if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[") else set(lines))
        for row in malformed:
            assert row.reason.startswith("expected ")
            row.content.encode()
        for row in found:
            if not isinstance(row, grown.tables.MalformedRow):
                row[0].encode()

    read()


FUZZ = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=EXAMPLES)
WORDS = st.lists(st.sampled_from(['"', '""', "'", "she said", " ", "it", ",", ";", ", ", "é"]), min_size=1, max_size=6)
TEXT = WORDS.map("".join).filter(lambda text: text.strip())
LABEL = st.sampled_from(["good", "bad"])


def read(grown: SimpleNamespace, path: Path, *names: str) -> tuple[list, list]:
    """The rows of a file, and the malformed ones."""
    columns = [grown.tables.Column(name, "--column") for name in names]
    found = list(grown.tables.read_rows(path, columns, lambda *values: values))
    malformed = [row for row in found if isinstance(row, grown.tables.MalformedRow)]
    return [row for row in found if row not in malformed], malformed


def test_quotes_of_tsv_merge_no_rows(grown: SimpleNamespace, tmp_path: Path) -> None:
    """Without quoting: all rows, or a line that is named. Prediction reads the same."""
    path = tmp_path / "table.tsv"

    @FUZZ
    @given(st.lists(st.tuples(TEXT, LABEL), min_size=1, max_size=12), st.booleans())
    def try_it(rows: list[tuple[str, str]], turned: bool) -> None:
        names = ("label", "text") if turned else ("text", "label")
        lines = [names, *(row[::-1] if turned else row for row in rows)]
        path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
        found, malformed = read(grown, path, "text", "label")
        if not malformed:
            assert len(found) == len(rows)
            unquoted = [text[1:-1].replace('""', '"') if WHOLE.fullmatch(text) else text for text, _ in rows]
            assert found == list(zip(unquoted, [label for _, label in rows], strict=True))
        texts, others = read(grown, path, "text")
        assert (texts, len(others)) == ([(text,) for text, _ in found], len(malformed))

    try_it()


WHOLE = re.compile('"(?:[^"]|"")*"')
CELL = st.lists(st.sampled_from(['"', "\n", "\r\n", "\t", ",", ", ", ";", "it is", "x"]), max_size=8).map("".join)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_is_quoted_rightly_is_read_so(grown: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"

    @FUZZ
    @given(st.lists(st.tuples(CELL, LABEL), max_size=12), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    def try_it(rows: list[tuple[str, str]], quoting: Literal[0, 1]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", quoting=quoting)
            writer.writerows([("text", "label"), *rows])
        found, malformed = read(grown, path, "text", "label")
        assert [row for row in rows if row in found] == found
        assert len(found) + len(malformed) == len(rows)
        assert suffix == ".tsv" or not malformed
        assert all(row.reason.startswith("expected quotes that enclose one cell") for row in malformed)

    try_it()


INVISIBLE = st.text(st.sampled_from(" \t\u00a0\u200b\u200e\ufeff\u2060\u00ad"), max_size=3)
NAME = st.text(st.characters(exclude_characters='",\r\n\0;|\t', exclude_categories=("Cs", "Cf", "Cc")), min_size=1)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_column_is_found_or_the_message_helps(grown: SimpleNamespace, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"

    @FUZZ
    @given(NAME, NAME, INVISIBLE, INVISIBLE, st.booleans())
    def try_it(wanted: str, other: str, before: str, after: str, decompose: bool) -> None:
        written = before + (unicodedata.normalize("NFD", wanted) if decompose else wanted) + after
        row = {written: "a", other + "!": "b"}
        csv_file = f"{','.join(row)}\na,b\n"
        path.write_text(csv_file if suffix == ".csv" else json.dumps(row) + "\n", encoding="utf-8")
        if wanted.strip():
            assert read(grown, path, wanted) == ([("a",)], [])
        with pytest.raises(grown.errors.UserError) as refused:
            read(grown, path, wanted + other + "?!")
        message = str(refused.value)
        assert message.replace("\n", "").isprintable()
        assert "add a first line" not in message or suffix == ".csv"
        if offered := re.search("fix:      set --column to (['\"].*)", message):
            assert read(grown, path, ast.literal_eval(offered[1]))[1] == []
        assert len(message) < 2000

    try_it()


PART = st.sampled_from(
    "train Training dev val valid test testing eval a b data 1 02 -00000-of-00002 -00001-of-00002 é .".split()
)
SIGN = st.sampled_from(["", "-", "_", ".", " ", "/"])
ENDING = st.sampled_from(
    [".csv", ".CSV", ".tsv", ".json", ".jsonl.gz", ".parquet", ".xlsx", ".txt", "", "~", ".zip", ".swp"]
)
FILE = st.tuples(st.lists(st.tuples(PART, SIGN), min_size=1, max_size=4), ENDING)


def test_whatever_names_files_have_they_are_tables_or_listed(grown: SimpleNamespace, tmp_path: Path) -> None:
    """Also after every printed `mv`, which loses no file."""

    @FUZZ
    @given(st.lists(FILE, max_size=5))
    def try_it(files: list[tuple[list[tuple[str, str]], str]]) -> None:
        shutil.rmtree(tmp_path)
        folder = tmp_path / "raw"
        folder.mkdir(parents=True)
        for parts, ending in files:
            path = folder / ("".join(map("".join, parts)).strip("/ .") + ending)
            with suppress(OSError):  # a folder is a file already
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        made = len(files_in(tmp_path))
        for _ in range(6):
            try:
                tables = grown.discovery.find_tables(folder)
                break
            except grown.errors.UserError as error:
                assert "\n  fix:      " in str(error)
                moves = [str(fix) for fix in typed(str(error)) if str(fix).startswith("mv ")]
            if not moves:
                return
            out = tempfile.mkdtemp(dir=tmp_path)
            subprocess.run(moves[0], shell=True, cwd=out, check=True)
            assert len(files_in(tmp_path)) == made, moves[0]
        found = [path for paths in tables.values() for path in paths]
        assert len(found) == len({*found})
        assert {*found} == {path for path in files_in(folder) if is_table(path.relative_to(folder))}
        assert tables.keys() == {"all"} or "train" in tables

    def files_in(folder: Path) -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file()]

    def is_table(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.parts)
        plain = path.name.removesuffix(".gz").lower()
        return plain.endswith((".csv", ".tsv", ".json", ".jsonl", ".parquet")) and not hidden

    try_it()


LITTER = (
    *(".DS_Store", "Thumbs.db", "a.csv~", ".~lock.a.csv#", "._a.csv", ".a.csv.swp", "desktop.ini", "~$a.xlsx"),
    *(".ipynb_checkpoints/a.csv", "sub/.DS_Store", "__MACOSX/._a.csv"),
)


def test_litter_is_seen_by_nobody(grown: SimpleNamespace, tmp_path: Path) -> None:
    """Git, DVC and the reader; a list for each, and all three the same."""
    project = grow(tmp_path, data_source="files")
    raw = project.path / "data/raw"
    (raw / "sub").mkdir(parents=True)
    (raw / "sub/a.csv").write_bytes(GOOD)
    project.run("dvc", "add", "--quiet", "data/raw")
    project.commit("Begin")
    for name in LITTER:
        for folder in (raw, project.path / "docs"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(GOOD)
    assert project.run("git", "status", "--porcelain", "--untracked-files=all") == ""
    assert "up to date" in project.run("dvc", "status", "data/raw.dvc")
    assert "not read" not in project.run("python", "-m", "review_sentiment", "prepare")
    assert json.loads(project.text("reports/data_profile.json"))["read"] == 60
    (raw / "b.csv").write_bytes(GOOD)
    assert "modified" in project.run("dvc", "status", "data/raw.dvc")
    for name in (".gitignore", ".dvcignore"):
        lines = project.text(name).partition("What systems and editors leave")[2].partition("\n\n")[0].splitlines()[1:]
        assert [line.rstrip("/") for line in lines] == list(grown.discovery.LITTER)
