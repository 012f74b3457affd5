"""`predict`: a fix for each mistake, pipes, encodings, threads; how any command fails. Run in a grown project."""

import errno
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import polars as pl
import pytest
from review_sentiment import predict as command
from review_sentiment.common import cores
from review_sentiment.errors import run_command
from review_sentiment.tables.writer import write_rows
from small_project import PACKAGE, run_python

pytestmark = pytest.mark.slow

# What a user types, words of the message, and the same repaired as the message says.
WRONG = {
    "no folder": (["--rejects", "no where/r"], "mkdir -p 'no where'", ["--rejects", "no where/r"]),
    "a folder": (
        ["--output", "folder.csv"],
        "'folder.csv/predictions.csv'",
        ["--output", "folder.csv/predictions.csv"],
    ),
    "a spreadsheet": (["--output", "a.xlsx"], "--output a.csv", ["--output", "a.csv"]),
    "no ending": (["--output", "a"], "--output a.csv", ["--output", "a.csv"]),
    "no threads": (["--threads", "0"], "leave --threads out", []),
    "no tokens": (["--batch-tokens", "0"], "leave --batch-tokens out", ["--batch-tokens", "1"]),
    "onto itself": (["--output", "./texts.csv"], "name another for --output", ["--output", "b.csv"]),
    "two into one": (
        ["--output", "a.csv", "--rejects", "a.csv"],
        "name another",
        ["--output", "a.csv", "--rejects", "r"],
    ),
    "no column": (["--column", "x"], "set --column to", ["--column", "text"]),
    "no model": (
        ["--directory", "."],
        "{}/manifest.json\n  found:    no such file\n  fix:      run it in the project's root; if the file is missing",
        [],
    ),
    "no model yet": (["--directory", "models/new"], "if the file is missing there: dvc checkout --force, or", []),
    "no model there": (["--directory", "/nowhere"], "fix:      take the whole directory again from where it was", []),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_has_a_fix_that_works(
    trained: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong, fix, repaired = WRONG[name]
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\na warm film\n", encoding="utf-8")
    Path("folder.csv").mkdir()
    Path("models").symlink_to(trained / "models")
    monkeypatch.setattr("sys.argv", ["predict", "texts.csv", *wrong])
    assert command.main() == 1
    message = capfd.readouterr().err
    assert [line.split(":")[0].strip() for line in message.splitlines()[-4:]] == ["error", "expected", "found", "fix"]
    assert fix.format(tmp_path) in message
    assert Path("texts.csv").read_text(encoding="utf-8") == "text\na warm film\n"
    for made in re.findall(r"mkdir -p '(.+?)'", message):
        Path(made).mkdir()
    monkeypatch.setattr("sys.argv", ["predict", "texts.csv", *repaired])
    assert command.main() == 0, capfd.readouterr().err


def test_whoever_has_read_enough_may_go(trained: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.csv"
    many.write_text("text\n" + "a warm film\n" * 20_000, encoding="utf-8")
    pipe = ("bash", "-c", 'set -o pipefail; "$@" | head -2', "bash")
    done = run_python(trained, "-m", f"{PACKAGE}.predict", many, prefix=pipe)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 2, "")


LONG = """
import re, sys
from pathlib import Path
from review_sentiment.text.tokenization import encode, load_tokenizer
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
tokenizer, texts = load_tokenizer(Path(sys.argv[1]), 64), ["a warm funny film " * 2500] * 320
before = peak()
encode(tokenizer, texts, "")
print(peak() - before)
"""


def test_long_texts_take_memory_a_few_at_a_time(trained: Path) -> None:
    grown = int(run_python(trained, "-c", LONG, str(trained / "models/onnx/tokenizer.json")).stdout)
    assert grown < 200_000  # kB; 105,000 are usual, 465,000 if all texts are tokens at once


MAC = f"""
import select
from {PACKAGE}.errors import run_command
class Poll:
    def __init__(self): self.asked, self.poll_here = {{}}, select_poll()
    def register(self, file, events): self.asked[file] = events; self.poll_here.register(file, events)
    def poll(self, timeout): return [(file, event) for file, event in self.poll_here.poll(timeout) if self.asked[file]]
select_poll, select.poll = select.poll, Poll
def fail(): raise BrokenPipeError("another pipe")
import sys
sys.exit(run_command(fail if sys.argv[1:] else lambda: print("a\\n" * 99999)))
"""


def test_on_a_mac_too(tmp_path: Path) -> None:
    """Its kernel says nothing about a file of which nothing is asked."""
    pipe = ("bash", "-c", 'set -o pipefail; "$@" | head -2', "bash")
    done = run_python(tmp_path, "-c", MAC, prefix=pipe)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\na\n", "")
    done = run_python(tmp_path, "-c", MAC, "whose output is still read")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("environment", [("PYTHONIOENCODING=latin-1",), ("LC_ALL=C", "PYTHONUTF8=0")])
def test_another_encoding_loses_no_letter(trained: Path, environment: tuple[str, ...]) -> None:
    text = "caf\u00e9 \U0001f600"
    prefix = ("env", "PYTHONCOERCECLOCALE=0", *environment)
    done = run_python(trained, "-m", f"{PACKAGE}.predict", "--text", text, prefix=prefix)
    assert json.loads(done.stdout)["text"] == text, done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_threads_are_those_of_the_cores_that_it_may_use(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"from {PACKAGE}.inference import OnnxClassifier as C; from pathlib import Path; "
    code += "c = C(Path('models/onnx')); print(c.session.get_session_options().intra_op_num_threads)"
    one = str(min(os.sched_getaffinity(0)))
    done = run_python(trained, "-c", code, prefix=("taskset", "-c", one))
    assert (done.stdout, done.stderr) == ("1\n", "")
    monkeypatch.setattr(cores, "CPUS", tmp_path)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    quotas = {None: 8, "max 100000": 8, "150000 100000": 2, "400000 100000": 4, "1000 100000": 1}
    for quota, expected in quotas.items():
        if quota:
            (tmp_path / "cpu.max").write_text(quota + "\n", encoding="utf-8")
        assert cores.usable_cores() == expected
    for cpu in range(8):
        (tmp_path / f"cpu{cpu}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}/topology/thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}", encoding="utf-8")
    (tmp_path / "cpu.max").unlink()
    assert cores.usable_cores() == 4


def test_a_bug_keeps_its_traceback_in_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for error, problem in (
        (TypeError("no such thing"), "this command has a bug"),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "the disk is full"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "the disk is read-only"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory is used up"),
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), "a file is missing"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "a"), "a permission is missing"),
        (MemoryError(), "memory is used up"),
        (RuntimeError("CUDA error: out of memory"), "memory is used up"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"), "memory is used up"),
        (RuntimeError("Last error: Cuda failure 2 'out of memory'"), "memory is used up"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "the system, or a program, refused"),
        (subprocess.CalledProcessError(3, ["dvc"]), "the system, or a program, refused"),
    ):

        def fail(error: Exception = error) -> None:
            raise error

        assert run_command(fail) == 1
        shown = capfd.readouterr().err
        assert shown.startswith(f"error: {problem}\n")
        assert f"found:    {type(error).__name__}: {error}\n" in shown
        log = Path(shown.rpartition("log:      ")[2].strip())
        assert "Traceback" in log.read_text(encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        assert run_command(lambda: 1 // 0) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err.rpartition("Traceback")[2]


def test_a_large_number_among_fractions_keeps_its_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows: list[dict[str, object]] = [{"id": 2**53 + 1, "n": 2**53 + 1, "x": 1}, {"id": 0.5, "n": 1, "x": 0.5}]
    write_rows(rows, path, {}, dict)
    assert pl.read_parquet(path).to_dicts() == [
        {"id": "9007199254740993", "n": 2**53 + 1, "x": 1.0},
        {"id": "0.5", "n": 1, "x": 0.5},
    ]
