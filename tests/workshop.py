"""What the tests do as a user does it: bake, run commands in the project, commit."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

TEMPLATE = Path(__file__).parent.parent
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
TOOLS = Path(sys.executable).parent
# What the small models of the tests hold: they are not faster in int8, and have few test rows that resemble the others.
SMALL_GATE = {"max_latency_ratio": 100.0, "max_calibration_error": 0.5, "min_test_rows": 10, "max_near_repeats": 1.0}
WHO = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in
       {"NAME": "Test", "EMAIL": "test@example.com"}.items()}  # fmt: skip
# Root may write anywhere; without its capabilities it is a user like any other.
NOBODY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
STAGES = ("fetch", "check_model", "prepare", "embeddings", "fine_tune", "export_onnx", "evaluate")
BAKED = tempfile.TemporaryDirectory(prefix="baked-")
PASSED_ON = ("PIP_", "TORCH_INDEX", "SSL_", "LANG", "LC_")  # beginnings of variables


def environment(home: Path, project: Path | None = None) -> dict[str, str]:
    """The environment of a user with a home of their own; `project` is importable in it."""
    directories = {f"DVC_{kind}_DIR": str(home / kind) for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")}
    return {
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",  # it may switch Git LFS on
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_COMPILE": "no",  # as falsy is meant there: an import compiles what it needs, pip would compile all
        "OMP_WAIT_POLICY": "PASSIVE",  # two tests at once share the cores; a thread that waits gives its core away
        **{name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)},
        **directories,
        **WHO,
        **({"PYTHONPATH": str(project / "src")} if project else {}),
    }


def bake(output: Path, *options: str, env: dict[str, str], **answers: str) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter without questions, whatever defaults this machine's user has set."""
    given = [f"{question}={answer}" for question, answer in answers.items()]
    command = [TOOLS / "cookiecutter", "--no-input", "--output-dir", output, *(options or ["--default-config"])]
    output.mkdir(parents=True, exist_ok=True)
    return subprocess.run([*command, TEMPLATE, *given], capture_output=True, text=True, check=False, env=env)


class Project:
    """A generated project, and the commands typed in it."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.env = environment(home, path)

    def run(self, *command: str, **environment: str) -> str:
        """Run a command that must end well; what it printed."""
        done = self.try_to(*command, **environment)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def try_to(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command whatever comes of it."""
        env = self.env | environment
        return subprocess.run(command, cwd=self.path, env=env, capture_output=True, text=True, check=False)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", message)

    def run_pipeline(self) -> str:
        """What `make repro` makes of a new project, in one process: loading torch takes longer than a small stage."""
        printed = self.run("python", "tests/record_reads.py", *STAGES)
        shutil.rmtree(self.path / ".reads")
        self.run("dvc", "commit", "--force", "--quiet")
        return printed

    def copy(self, folder: Path) -> "Project":
        """The same project in another place, with the same commits and the same cache of DVC."""
        ignored = shutil.ignore_patterns("tmp", "exps", ".tools")
        return Project(shutil.copytree(self.path, folder / self.path.name, ignore=ignored), folder / "home")

    def set_params(self, file: str = "params.yaml", /, **changes: object) -> None:
        """Edit settings as a user does: `block__key=value` changes one line and leaves the others alone."""
        path = self.path / file
        lines = path.read_text(encoding="utf-8").splitlines()
        for change, value in changes.items():
            block, _, key = change.partition("__")
            start = next(number for number, line in enumerate(lines) if line.startswith(f"{block}:")) if key else 0
            wanted = f"  {key}:" if key else f"{block}:"
            place = next(number for number in range(start, len(lines)) if lines[number].startswith(wanted))
            lines[place] = f"{wanted} {value}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def take_run_of(self, other: "Project") -> None:
        """Take over what the run of another project wrote and committed; both share a cache of DVC from now on."""
        for name in other.run("git", "ls-files", "params.yaml", "dvc.lock", "*.dvc", "reports").splitlines():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(other.path / name, self.path / name)
        self.run("dvc", "cache", "dir", "--local", str(other.path / ".dvc/cache"))
        self.run("dvc", "checkout", "--quiet")
        self.commit("Take the run of another project")

    def text(self, name: str) -> str:
        """The text of a file."""
        return (self.path / name).read_text(encoding="utf-8")


@cache
def baked(**answers: str) -> Path:
    """A project as cookiecutter leaves it, baked once for all tests of this process; it is only copied."""
    folder = Path(tempfile.mkdtemp(dir=BAKED.name))
    done = bake(folder, env=environment(folder / "home"), **answers)
    assert done.returncode == 0, done.stderr
    return folder / answers.get("project_slug", "review-sentiment")


def grow(folder: Path, **answers: str) -> Project:
    """A new project in this folder, as baked there: its files name no folder but by its relation to their own."""
    source, home = baked(**answers), folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    return Project(shutil.copytree(source, folder / source.name, symlinks=True), home)


def guide(section: str) -> list[tuple[list[re.Pattern[str]], str]]:
    """The rows of a section of the guide to what is printed: its symptoms, and the fix."""
    text = (PROJECT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    lines = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert len(rows) > 1, section
    return [(symptoms(printed), fix) for printed, _, fix in rows]


def symptoms(cell: str) -> list[re.Pattern[str]]:
    """What is printed, where an ellipsis stands for anything."""
    shown = re.findall("`([^`]+)`", cell)
    return [re.compile(".+".join(map(re.escape, one.strip("… ").split("…")))) for one in shown]


def never_printed(section: str, printed: list[str]) -> list[str]:
    """The symptoms of a section that nothing of this is."""
    return [one.pattern for row, _ in guide(section) for one in row if not any(map(one.search, printed))]
