"""The guide of a project, docs/troubleshooting.md: commands print what its rows have, and it has what the code prints.

The tables of its section on reading data are typed in test_tables.py, the faults of remotes in test_remote.py.
"""

import ast
import fcntl
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import NOBODY, PROJECT, Project, grow, guide, never_printed

SECTIONS = ("Prediction and results", "Git and this checkout", "Remotes")
TEXTS = f"""text,label
a warm film,good
,bad
"  ",bad
{"a dull film and " * 60},bad
一部溫暖的電影,good
"""


@pytest.mark.slow
def test_each_row_about_prediction_is_printed(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.env["TMPDIR"] = str(tmp_path)  # where logs go
    printed: list[str] = []

    def typed(*command: str) -> None:
        done = project.try_to(*command)
        printed.append(done.stdout + done.stderr)

    def stage(name: str, **changes: object) -> None:
        project.set_params(**changes)
        typed("python", "-m", "review_sentiment", name)

    def edit(name: str, old: str, new: str) -> None:
        path = project.path / "src/review_sentiment" / name
        code = path.read_text(encoding="utf-8")
        assert old in code
        path.write_text(code.replace(old, new), encoding="utf-8")

    (project.path / "texts.csv").write_text(TEXTS, encoding="utf-8")
    for options in (["--output", f"{'a' * 300}.csv"], ["--column", "text"]):
        typed("python", "-m", "review_sentiment.predict", "texts.csv", *options)
    typed("make", "results")
    edit("export/quantization.py", "from_array(1 / factor", "from_array(0 / factor")
    stage("export_onnx", export_onnx__max_int8_drop=0.1)
    drop, least = map(float, re.search(r"(0\.\d+) on .* at least (0\.\d+)", printed[-1]).groups())
    stage("export_onnx", export_onnx__max_int8_drop=(drop + least) / 2)
    stage("prepare", prepare__test_fraction=0.02)
    edit("stages/prepare.py", "RowParser(params)", "RowParser()")
    stage("prepare")
    assert never_printed("Prediction and results", printed) == []


TORCHRUN = ("torchrun", "--standalone", "--nproc-per-node=2")
KILLED = """
import os, signal, sys
from review_sentiment import __main__ as start
from review_sentiment.training import checkpoints
save = checkpoints.save
checkpoints.save = lambda *given: (save(*given), os.kill(os.getpid(), signal.SIGKILL))
sys.argv[1:] = ["fine_tune"]
start.main()
"""


@pytest.mark.slow
def test_each_row_about_training_is_printed(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    (project.path / "killed.py").write_text(KILLED, encoding="utf-8")
    project.set_params(launcher="python killed.py")
    repro = ("dvc", "repro", "--force", "--single-item", "fine_tune")
    printed = [project.try_to(*repro, SHELL=shell).stderr for shell in ("/bin/sh", "/bin/bash")]
    project.set_params(launcher="python", fine_tune__weight_decay=0.5)
    printed.append(project.try_to(*TORCHRUN, "killed.py").stderr)
    project.set_params(fine_tune__class_weights="{great: 2.0}")
    wrong = project.try_to(*TORCHRUN, "-m", "review_sentiment", "fine_tune")
    printed.append(wrong.stderr)
    assert "error: fine_tune.class_weights names labels" in wrong.stderr.partition("ChildFailedError")[0]
    assert never_printed("Training", printed) == []


EDITING = """
import pathlib, sys, types
from review_sentiment import __main__ as start
path = pathlib.Path("params.yaml")
edit = lambda _: path.write_text(path.read_text().replace("split_seed: 42", "split_seed: 43"))
start.importlib.import_module = lambda *_: types.SimpleNamespace(run=edit)
sys.exit(start.main())
"""


def test_each_row_about_git_and_the_checkout_is_printed(tmp_path: Path) -> None:
    mounted = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    if subprocess.run([*mounted, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here (user namespaces are switched off)")
    printed: list[str] = []
    project = grow(tmp_path)
    project.run("git", "add", ".")
    edited = project.path / "params.yaml"
    edited.write_bytes(edited.read_bytes().replace(b"\n", b"\r\n"))

    def typed(*command: str) -> None:
        printed.append(project.try_to(*command).stderr)

    own = grow(tmp_path, data_source="files", project_slug="own-tables", package_name="review_sentiment")
    printed.append(own.try_to("dvc", "repro", "--single-item", "prepare").stderr)
    theirs = {"PYTHONPATH": str(project.path / "src")}
    printed.append(own.try_to("python", "-m", "review_sentiment", "prepare", **theirs).stderr)
    with (own.path / ".dvc/tmp/stage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed.append(own.try_to("python", "-m", "review_sentiment", "prepare").stderr)
    printed.append(own.try_to("python", "-c", EDITING, "prepare").stderr)
    printed.append(in_conflict(own))
    typed("make", "owners")
    typed(*mounted, "mkdir -p models/base; mount -t tmpfs tmpfs models/base; python -m review_sentiment fetch model")
    (project.path / "reports").symlink_to(tmp_path)
    typed("python", "-m", "review_sentiment", "prepare")
    project.run("chmod", "-R", "a-w", ".dvc")
    typed(*NOBODY, "dvc", "repro")
    project.run("chmod", "-R", "u+w", ".dvc")
    assert never_printed("Git and this checkout", printed) == []


def in_conflict(project: Project) -> str:
    """What `make repro` prints after a merge of two branches that have other data each."""
    project.commit("Begin")
    for branch in ("ada", "bob"):
        project.run("git", "switch", "--quiet", "--create", branch, "main")
        (project.path / "data/raw").mkdir(parents=True, exist_ok=True)
        (project.path / "data/raw/table.csv").write_text(f"text,label\na film for {branch},good\n", encoding="utf-8")
        project.run("dvc", "add", "--quiet", "data/raw")
        project.commit(branch)
    assert "data/raw.dvc" in project.try_to("git", "merge", "ada").stdout
    return project.try_to("make", "repro").stderr


CALLS = {"UserError": 0, "Cause": 0, "_refusal": 0, "mistake": 1}  # which argument is printed first
# What has no row in the guide, and why it needs none.
WITHOUT_ROW = {
    "its fix is what comes before, or what to do first": """no model in …
        … is not the file that was shipped
        … is damaged
        … has no dvc.lock
        has no owner: it is in no commit and on no remote
        there are no results
        the results are stale
        another stage is running in this checkout
        this process does not see the checkpoint of rank 0
        the code of another checkout would run
        has the line ends of Windows here
        … is a link, and DVC keeps nothing behind a link
        … is a mount point, and cannot be put in place as a whole""",
    "a state of this machine, in its own words": """the disk is full
        the disk is read-only
        memory is used up
        a file is missing
        a permission is missing
        a package is missing
        torch finds no GPU that it can use
        more processes than GPUs
        this command has a bug
        the system, or a program, refused
        git … failed
        dvc … failed""",
    "its fix is the parameter or the option to correct": """no … in …
        … is not YAML
        … is refused:
        a batch cannot be divided equally
        text.max_length is more than the model accepts
        … has no … layers that can be trained alone
        … cannot compute its layers again
        … cannot be adapted
        … cannot be trained in bf16
        the … loss is NaN or infinite
        the graph cannot be fused
        the ONNX model is not the torch model
        the exported model is not the torch model
        torch cannot export the model
        the model's predictions depend on padding
        the model card cannot be written
        the model reads pairs of texts
        the model reads one text at a time
        --text cannot be read
        … … cannot be written
        the format of --output … is not known
        the texts, --output and --rejects must be different files
        … is out of range
        the … model is not shipped
        the int8 model loses too much
        fine_tune.class_weights names labels that the data do not have
        fine_tune.row_weights names values that no training row has""",
    "its fix is the command to type": """is too large for Git
        has two owners, DVC and Git LFS
        has two owners, DVC and Git""",
    "what was found says what is wrong with an address or what is there": """cannot fetch …
        … names no revision on the hub
        … is not pinned
        … does not hold what params.yaml says
        … holds no base model that can be used
        … does not hold a transformer encoder
        … holds no tokenizer
        the … of the base model cannot be used
        the base model pools in a way that text.pooling does not have
        belongs to Git LFS, but Git holds its bytes
        is a pointer of Git LFS, but not Git LFS's""",
    "a cause by its name, whose fix is a command or whom to ask": """addresses of this form are not read here
        the certificate of the service is out of date, or the clock of this machine is wrong
        the file of the certificates cannot be read
        AWS's configuration cannot be used
        only half of the keys
        the session token does not belong to the keys
        the transfer broke off
        the service sends from one address to another without end
        this is no region
        the object lies in an archive
        no such file
        the service takes no more data
        the service does not answer""",
    "of a larger size, in its docs/remotes.md": """there is no such remote
        there is no such commit
        the remote is a web address (…)
        the remote keeps files by their names, not objects (…)
        the settings of DVC are refused
        DVC could not …
        DVC could not put everything in its place
        the local cache is corrupt, and nothing was sent
        not everything is in the remote
        not everything could be pulled
        the S3 server did not start
        the disk of … is too full for an S3 server
        SeaweedFS is not installed""",
}


def texts_of(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be; an ellipsis stands for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        parts = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        yield re.sub("…+", "…", parts.strip())
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_of(child)


def test_each_refusal_of_the_code_has_a_row_or_needs_none() -> None:
    """Of a lean project, and of its remotes in the larger sizes; not of tables, which test_tables.py types."""
    files = (*PROJECT.glob("src/**/*.py"), *PROJECT.glob("tools/*.py"), *PROJECT.glob("tools/remotes/*"))
    printed = set()
    for path in files:
        if path.parent.name in ("tables", "data"):
            continue
        code = path.read_text(encoding="utf-8").replace("{{ cookiecutter.package_name }}", "package")
        calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and node.args)
        known = ((call, CALLS[name]) for call in calls if (name := ast.unparse(call.func)) in CALLS)
        printed |= {text for call, index in known for text in texts_of(call.args[index]) if " " in text}
    rows = [one for section in SECTIONS for row, _ in guide(section) for one in row]
    shown = {one.pattern.replace("\\", "") for one in rows}
    without = {
        text
        for text in printed
        if not any(one.search(text) for one in rows)
        and not any(re.fullmatch(".+".join(map(re.escape, text.split("…"))), one) for one in shown)
    }
    assert len(printed) > 100
    assert without == {line.strip() for lines in WITHOUT_ROW.values() for line in lines.splitlines()}
