"""Three sizes: each holds the smaller one byte for byte and names nothing of a larger; a project grows by a merge."""

import os
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from workshop import TEMPLATE, Project, bake, environment, grow

SCOPES = ("lean", "team", "production")
DIFFERENT = {".cookiecutter.yaml", "README.md", "pyproject.toml"}
# Files and lines in all, lines of src and of tests. They may shrink; to let one grow is a decision.
MOST = {
    "lean": {"files": 121, "lines": 12_050, "src": 8480, "tests": 1145},
    "team": {"files": 187, "lines": 20_235},
    "production": {"files": 297, "lines": 33_940},
}
MOST_TARGETS = 20
ANSWERS = {"default": {}, "other": {"tracking": "mlflow", "data_source": "files", "dvc_remote": "s3://bucket/a"}}
README = TEMPLATE / "README.md"
ABOUT = {
    "lean": "one person, one model (the default) | pipeline, prediction, results, experiments, plots, tests, CI",
    "team": "a model that others rely on | + evidence, audited remotes, environments, releases, supply chain",
    "production": "a model that strangers call | + the service: keys, limits, guards, routing; drift, decay, feedback",
}


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """The default answers in every size."""
    return {scope: grow(tmp_path_factory.mktemp(scope), scope=scope) for scope in SCOPES}


@pytest.fixture(scope="module", params=ANSWERS)
def sizes(
    request: pytest.FixtureRequest, default: dict[str, Project], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Project]:
    """The same answers in every size."""
    if not (answers := ANSWERS[request.param]):
        return default
    return {scope: grow(tmp_path_factory.mktemp(scope), scope=scope, **answers) for scope in SCOPES}


def files_of(project: Project) -> dict[str, bytes]:
    """What was grown, by path."""
    paths = [path for path in project.path.rglob("*") if path.is_file()]
    names = {path.relative_to(project.path).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in sorted(names.items()) if not name.startswith(".git/")}


def targets_of(*makefiles: Path) -> list[str]:
    """The targets that `make help` lists."""
    found = [re.findall(r"^([a-z0-9-]+):.*## ", path.read_text(encoding="utf-8"), re.MULTILINE) for path in makefiles]
    return [name for names in found for name in names]


def test_a_size_holds_the_smaller_one_byte_for_byte(sizes: dict[str, Project]) -> None:
    lean, team, production = (files_of(sizes[scope]) for scope in SCOPES)
    assert lean.keys() < team.keys()
    assert {name for name in lean if lean[name] != team[name]} == DIFFERENT
    assert lean.keys() < production.keys()
    assert team.keys() < production.keys()
    assert {name for name in team if production[name] != team[name]} == DIFFERENT


def test_a_stage_depends_on_the_same_code_in_every_size(sizes: dict[str, Project]) -> None:
    """So that the run of a lean project is that of the team it grows into."""
    stages = YAML(typ="safe").load(sizes["lean"].text("dvc.yaml"))["stages"].values()
    sources = {path for stage in stages for path in stage.get("do", stage)["deps"] if path.startswith("src/")}
    lean, *larger = (
        {name for name in files_of(sizes[scope]) if any(Path(name).is_relative_to(source) for source in sources)}
        for scope in SCOPES
    )
    assert all(names == lean for names in larger)


def test_no_folder_is_empty(sizes: dict[str, Project]) -> None:
    for project in sizes.values():
        folders = [path for path in project.path.rglob("*") if path.is_dir() and ".git" not in path.parts]
        assert not [path for path in folders if not any(path.iterdir())]


def test_a_smaller_size_names_nothing_of_a_larger_one(sizes: dict[str, Project]) -> None:
    lean, team = sizes["lean"], sizes["team"]
    held, larger = files_of(lean), files_of(team)
    added = larger.keys() - held.keys()
    known = {Path(name).name for name in held}
    makefiles = [team.path / name for name in added if name.startswith("make/")]
    patterns = [rf"make(?: --?[a-z]+)* {target}\b(?!-)" for target in targets_of(*makefiles)]
    patterns += [rf"(?<![\w./-]){re.escape(name)}" for name in added]
    patterns += [rf"(?<![\w.-]){re.escape(Path(name).name)}" for name in added if Path(name).name not in known]
    folders = (
        {Path(name).parent.as_posix() for name in added} - {Path(name).parent.as_posix() for name in held} - {"make"}
    )
    patterns += [rf"\b{folder.rpartition('review_sentiment/')[2].replace('/', '[/.]')}[/.]" for folder in folders]
    assert len(patterns) > 90
    assert {"tools/evidence", "tools/releases"} <= folders
    anything = re.compile("|".join(patterns))
    assert anything.search("see `make gate BASE=main`")
    assert anything.search("docs/evidence.md")
    named = {name: match[0] for name, content in held.items() if (match := anything.search(content.decode()))}
    assert named == {}


def test_no_file_of_a_target_s_name_keeps_it_from_running(default: dict[str, Project]) -> None:
    path = default["production"].path
    makefiles = [path / "Makefile", *(path / "make").glob("*.mk")]
    text = "\n".join(makefile.read_text(encoding="utf-8") for makefile in makefiles).replace("\\\n", " ")
    phony = " ".join(re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)).split()
    assert set(phony) == set(re.findall(r"^([a-z0-9-]+):(?! *=)", text, re.MULTILINE))


def test_help_is_short_and_in_groups(default: dict[str, Project]) -> None:
    shown = {scope: default[scope].run("make", "help").splitlines() for scope in SCOPES}
    listed = {scope: [line.split()[0] for line in lines if line.startswith("  ")] for scope, lines in shown.items()}
    lean = default["lean"].path
    assert listed["lean"] == targets_of(lean / "Makefile")
    assert len(listed["lean"]) <= MOST_TARGETS
    assert listed["team"][: len(listed["lean"])] == listed["lean"]
    headings = [line for line in shown["team"] if line and not line.startswith(" ")]
    assert headings[:4] == ["The pipeline", "The model", "Data and models", "The code"]
    assert {"Evidence", "Remotes", "Environments", "Releases", "Supply chain"} <= set(headings[4:])
    for name, added in {"lint": ["hooks.keys", "hooks.current_lock"], "push": ["remotes.transfer"]}.items():
        lean_runs, team_runs = (default[scope].run("make", "-n", name) for scope in ("lean", "team"))
        assert not any(f"tools.{tool}" in lean_runs for tool in added)
        assert all(f"tools.{tool}" in team_runs for tool in added)


def test_the_requirements_are_resolved_before_what_they_constrain(default: dict[str, Project]) -> None:
    shown = default["production"].run("make", "-n", "lock")
    assert shown.index("--output-file requirements.lock") < shown.index("--constraint requirements.lock")


def figures(project: Project) -> dict[str, int]:
    """Files and lines in all, and the lines of src and of tests."""
    files = files_of(project)
    lines = {name: content.count(b"\n") for name, content in files.items()}
    parts = {part: sum(n for name, n in lines.items() if name.startswith(f"{part}/")) for part in ("src", "tests")}
    return {"files": len(files), "lines": sum(lines.values()), **parts}


def test_stages_are_small_and_import_few_folders(default: dict[str, Project]) -> None:
    lean = default["lean"]
    for name, stage in YAML(typ="safe").load(lean.text("dvc.yaml"))["stages"].items():
        sources = [path for path in stage.get("do", stage)["deps"] if path.startswith("src/")]
        assert 0 < len(sources) <= 10
        assert lean.text(f"src/review_sentiment/stages/{name}.py").count("\n") <= 150


@pytest.mark.parametrize("scope", SCOPES)
def test_a_size_is_as_large_as_it_may_be(default: dict[str, Project], scope: str) -> None:
    found = figures(default[scope])
    print(f"{scope}: {found}")
    assert {name: found[name] for name, most in MOST[scope].items() if found[name] > most} == {}


def test_the_table_of_sizes_is_what_is_grown(default: dict[str, Project]) -> None:
    start, end = "<!-- sizes: written by `make size-table` -->\n", "<!-- end -->"
    before, rest = README.read_text(encoding="utf-8").split(start)
    known, after = rest.split(end, 1)
    found = {scope: figures(default[scope]) for scope in SCOPES}
    rows = [f"| `{one}` | {ABOUT[one]} | {found[one]['files']} | {found[one]['lines']:,} |\n" for one in SCOPES]
    current = "| scope | for | holds | files | lines |\n|---|---|---|---|---|\n" + "".join(rows)
    if os.environ.get("WRITE_SIZE_TABLE"):
        README.write_text(before + start + current + end + after, encoding="utf-8")
    else:
        assert known == current, "make size-table"


def two_projects(tmp_path: Path) -> Iterator[Project]:
    """Two projects in a repository, each with a file that Git ignores and one that DVC owns since its second commit."""
    outer = Project(tmp_path / "outer", tmp_path / "home")
    outer.path.mkdir()
    outer.run("git", "init", "--quiet", "--initial-branch=main")
    for slug in ("one", "two"):
        assert bake(outer.path, env=outer.env, scope="lean", project_slug=slug).returncode == 0
        project = Project(outer.path / slug, tmp_path / "home")
        project.commit("Begin")
        (project.path / "data").mkdir()
        for name in ("data/more.csv", "notes.txt"):
            (project.path / name).write_text("private\n", encoding="utf-8")
        with (project.path / ".gitignore").open("a", encoding="utf-8") as ignored:
            ignored.write("/notes.txt\n")
        project.run("dvc", "add", "data/more.csv")
        project.commit("Add a table and notes")
        yield project


def test_a_project_grows_twice_by_the_documented_lines(tmp_path: Path) -> None:
    projects = list(two_projects(tmp_path))
    around = set((tmp_path / "outer").iterdir())
    for scope, project in product(("team", "production"), projects):
        [lines] = re.findall("## Another size.*?```sh\n(.*?)```", project.text("docs/running.md"), re.DOTALL)
        named = lines.replace(str(TEMPLATE), f"{TEMPLATE} scope={scope}")
        again = f"git switch template-{project.path.name}\n{named.partition(chr(10))[2]}"
        project.run("sh", "-c", named if scope == "team" else again)
        assert f'scope: "{scope}"' in project.text(".cookiecutter.yaml")
        grown = project.run("git", "rev-parse", "HEAD")
        assert "already exists" in project.try_to("sh", "-c", named).stderr
        assert project.run("git", "rev-parse", "HEAD") == grown
        assert project.run("git", "status", "--porcelain") == ""
        assert {"data/more.csv", "notes.txt"}.isdisjoint(project.run("git", "ls-files").splitlines())
        assert project.text("data/more.csv") == project.text("notes.txt") == "private\n"
        project.run("make", "owners")
    assert all((project.path / "service.yaml").exists() for project in projects)
    assert set((tmp_path / "outer").iterdir()) == around


def test_a_lean_project_grows_into_a_larger_one_by_a_merge(tmp_path: Path) -> None:
    """As the project's README says, with what its user has edited."""
    project = grow(tmp_path / "mine", scope="lean", project_name="Mail Sorter", project_slug="mail-sorter")
    project.commit("Begin")
    edits = {
        "README.md": ("# Mail Sorter\n", "# Mail Sorter\n\nOurs since spring.\n"),
        "params.yaml": ("  batch_size: 32\n", "  batch_size: 7\n"),
        "src/mail_sorter/text/cleaning.py": ('"""', '# Ours.\n"""'),
    }
    for name, (old, new) in edits.items():
        text = project.text(name)
        assert old in text
        (project.path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    project.commit("Make it ours")
    project.run("git", "switch", "--quiet", "--create", "template", project.run("git", "rev-list", "HEAD").split()[-1])
    options = ("--accept-hooks", "no", "--config-file", str(project.path / ".cookiecutter.yaml"))
    done = bake(tmp_path / "again", *options, env=environment(tmp_path), scope="team")
    assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "again/mail-sorter", project.path, dirs_exist_ok=True)
    project.commit("Grow into a team")
    project.run("git", "switch", "--quiet", "main")
    project.run("git", "merge", "--quiet", "template")
    assert project.run("git", "status", "--porcelain") == ""
    assert all(new in project.text(name) for name, (_, new) in edits.items())
    assert 'scope: "team"' in project.text(".cookiecutter.yaml")
    merged, again = files_of(project), files_of(Project(tmp_path / "again/mail-sorter", tmp_path))
    assert merged.keys() == again.keys()
    assert [name for name, content in again.items() if b"review_sentiment" in content] == []
    assert {name for name in merged if merged[name] != again[name]} == edits.keys()
    project.run("make", "params", "owners", "style")
