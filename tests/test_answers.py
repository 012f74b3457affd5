"""Bad answers are refused before anything is written; odd but good ones are taken."""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from gto.constants import name_re
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from workshop import TEMPLATE, bake, environment

sys.path.append(str(TEMPLATE))
from local_extensions import locked_packages

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
REFUSED = [
    ("project_slug", "Review Sentiment", "review-sentiment"),
    ("project_slug", "../outside", "review-sentiment"),
    ("project_slug", "..", "review-sentiment"),
    ("project_slug", "con:", "review-sentiment"),
    ("project_slug", "film-", "review-sentiment"),
    ("package_name", "review-sentiment", "review_sentiment"),
    ("package_name", "1st", "review_sentiment"),
    ("package_name", "class", "review_sentiment"),
    ("package_name", "match", "review_sentiment"),
    ("package_name", "p" * 41, "at most 40 letters"),
    ("package_name", "torch", "torch_classifier (a module of a package that the project installs has"),
    ("package_name", "json", "json_classifier (a module of Python's standard library has this name"),
    ("package_name", "small_project", "a module of the project itself"),
    ("project_slug", "rich", "rich-classifier (pip would put this project in place of the package rich)"),
    ("project_slug", "scikit_learn", "scikit_learn-classifier"),
    ("author_email", "nobody", "ada@example.com"),
    ("author_email", "a b@example.com", "ada@example.com"),
    ("author_email", "a,b@example.com", "ada@example.com"),
    ("author_email", "jürgen@example.com", "letters without accents"),
    ("base_model", "https://hub.example/model", "sentence-transformers/all-MiniLM-L6-v2"),
    ("description", "two\nlines", "one line"),
    ("project_name", " ", "Review Sentiment"),
    ("dvc_remote", "https://my-bucket.s3.amazonaws.com", "s3://my-bucket/path"),
    ("dvc_remote", "https://a.supabase.co/storage/v1/s3", "endpointurl https://a.supabase.co/storage/v1/s3`"),
    ("dvc_remote", "gs://my_bucket/a", "endpointurl https://storage.googleapis.com`"),
    ("dvc_remote", "azure://box/a", "speaks S3 only"),
    ("dvc_remote", "s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/films", "the alias of an access point"),
    ("dvc_remote", "s3://", "s3://my-bucket/path"),
    ("dvc_remote", "s3://My_Bucket", "lower-case letters, digits and ._- name a bucket"),
    ("dvc_remote", "~/storage", "../review-sentiment-storage"),
    ("dvc_remote", "", "../review-sentiment-storage"),
    ("dvc_remote", "../a # b", "../review-sentiment-storage"),
    ("dvc_remote", ".", "beside the project"),
    ("dvc_remote", "data", "beside the project"),
    ("dvc_remote", "../..", "beside the project"),
    ("dvc_remote", "a/../..", "beside the project"),
    ("dvc_remote", "/", "beside the project"),
    ("dvc_remote", "../review-sentiment", "beside the project"),
    ("dvc_remote", "../a/../review-sentiment/store", "beside the project"),
    ("package_name", "limits", "a module of a package that the project installs"),
    ("project_slug", "fastapi", "in place of the package fastapi"),
    ("project_slug", "a_-b", "- or _ between them"),
    ("task", "pair", "the sample has no second text"),
]
NAMED_BY_SLUG = ("dvc.yaml", "deploy/compose.yaml", "deploy/kustomization.yaml")
QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = {name: found for name, found in QUESTIONS.items() if isinstance(found, list) and not name.startswith("_")}


def refusal(folder: Path, **answers: str) -> str:
    defaults = {"project_name": "Review Sentiment", "project_slug": "review-sentiment", "package_name": "review"}
    done = bake(folder, env=environment(folder.parent), **(defaults | answers))
    assert done.returncode == 1
    assert done.stdout == "Nothing was written.\n"
    assert not list(folder.iterdir())
    return done.stderr


def test_the_table_of_questions_is_what_is_asked() -> None:
    """Its second column has every choice, the default first, or the default."""
    table = (TEMPLATE / "README.md").read_text(encoding="utf-8").partition("| question | ")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines()[2:]]
    named = {name: cell for names, cell in rows for name in re.findall(r"`(\w+)`", names)}
    asked = {name: answer for name, answer in QUESTIONS.items() if not name.startswith("_")}
    assert list(named) == list(asked)
    choices = {name: answer for name, answer in asked.items() if isinstance(answer, list)}
    assert {name: named[name].replace("`", "").split(", ") for name in choices} == choices
    for name in ("project_name", "base_model", "dvc_remote"):
        assert named[name].replace("SLUG", "{{ cookiecutter.project_slug }}") == asked[name]


@pytest.mark.parametrize(("question", "answer", "good"), REFUSED)
def test_a_bad_answer_is_refused(tmp_path: Path, question: str, answer: str, good: str) -> None:
    message = refusal(tmp_path / "out", **{question: answer})
    assert f"error: {question}: found {answer!r}, expected something like" in message
    assert good in message
    assert not (tmp_path / "outside").exists()


def test_the_package_of_a_long_name_has_a_part_of_it(tmp_path: Path) -> None:
    done = bake(
        tmp_path, env=environment(tmp_path), project_name="Which of our many teams answers a letter of a customer"
    )
    assert done.returncode == 0, done.stderr
    [package] = (tmp_path / "which-of-our-many-teams-answers-a-letter-of-a-customer/src").iterdir()
    assert package.name == "which_of_our_many_teams_answers_a_letter"


@pytest.mark.parametrize("name", ["Test", "Identify", "Rich", "Regex", "Celery", "Test Data", "Platform"])
def test_a_project_named_like_a_module_is_refused_and_the_proposed_name_is_taken(tmp_path: Path, name: str) -> None:
    done = bake(tmp_path / "refused", env=environment(tmp_path), project_name=name)
    assert (done.returncode, done.stdout) == (1, "Nothing was written.\n")
    proposed = dict(re.findall(r"^error: (\w+): found .*? expected something like (\S+) \(", done.stderr, re.MULTILINE))
    assert "package_name" in proposed
    assert bake(tmp_path / "taken", env=environment(tmp_path), project_name=name, **proposed).returncode == 0


@pytest.mark.parametrize("slug", ["2024", "null", "true", "no", "2024-01-01", "1e3"])
def test_a_slug_is_text_wherever_it_stands(tmp_path: Path, slug: str) -> None:
    done = bake(tmp_path, env=environment(tmp_path), project_slug=slug, package_name="reviews", scope="production")
    assert done.returncode == 0, done.stderr
    read = {name: yaml.safe_load((tmp_path / slug / name).read_text(encoding="utf-8")) for name in NAMED_BY_SLUG}
    assert [*read["dvc.yaml"]["artifacts"]] == [slug]
    assert read["deploy/compose.yaml"]["name"] == slug
    assert read["deploy/kustomization.yaml"]["labels"][0]["pairs"] == {"app.kubernetes.io/part-of": slug}


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_the_sample_has_names_for_labels_where_there_are_labels(tmp_path: Path, task: str) -> None:
    assert bake(tmp_path, env=environment(tmp_path), task=task).returncode == 0
    names = yaml.safe_load((tmp_path / "review-sentiment/params.yaml").read_text(encoding="utf-8"))["prepare"][
        "label_names"
    ]
    assert names == (None if task == "regression" else {"0": "negative", "1": "positive"})
    readme = (tmp_path / "review-sentiment/README.md").read_text(encoding="utf-8")
    assert ("macro-F1" in readme) == (task == "single_label")


def modules_of(distribution: metadata.Distribution) -> set[str]:
    """The names under which a package is imported, as far as a package of ours could have them."""
    files = [path for path in distribution.files or [] if path.suffix in (".py", ".so") and ".." not in path.parts]
    names = {path.parts[0].partition(".")[0] for path in files if not path.parts[0].endswith(".dist-info")}
    return {name for name in names if re.fullmatch("[a-z_][a-z0-9_]*", name)}


def test_the_modules_of_the_environment_are_known() -> None:
    """Those of every package in the locks and the extras, and of what the extras bring along."""
    todo, found = locked_packages(), {}
    while todo:
        if (name := canonicalize_name(todo.pop())) not in found:
            distribution = next(iter(metadata.distributions(name=name)), None)  # none for another system
            found[name] = modules_of(distribution) if distribution else set()
            wanted = map(Requirement, (distribution and distribution.requires) or [])
            todo |= {one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})}
    modules = set().union({"async_timeout"}, *found.values())  # redis brings that one before Python 3.11.3
    file = TEMPLATE / "modules.txt"
    if os.environ.get("WRITE_MODULES"):
        file.write_text(textwrap.fill(" ".join(sorted(modules)), 120) + "\n", encoding="utf-8")
    assert len(modules) > 180
    assert modules <= set(file.read_text(encoding="utf-8").split()), "make modules"


# A part of an image's name: https://pkg.go.dev/github.com/distribution/reference
OF_AN_IMAGE = r"[a-z0-9]+(?:(?:[_.]|__|[-]*)[a-z0-9]+)*"


def test_a_slug_is_a_name_that_gto_and_docker_take() -> None:
    code = (TEMPLATE / "local_extensions.py").read_text(encoding="utf-8")
    pattern = re.search(r'bad\("project_slug", r"(.*?)"\)', code).group(1)
    words = ["".join(word) for size in range(1, 5) for word in itertools.product("a0-_A.", repeat=size)]
    taken = {word for word in words if re.fullmatch(pattern, word)}
    assert {"a", "0-a", "a_0", "a--a"} <= taken
    assert taken == {word for word in words if name_re.search(word) and re.fullmatch(OF_AN_IMAGE, word)}


@pytest.mark.parametrize("question", CHOICES)
def test_a_value_that_is_no_choice_is_refused(tmp_path: Path, question: str) -> None:
    """By cookiecutter, with a traceback: docs/design.md says why. Its last line names the choices."""
    done = bake(tmp_path / "out", env=environment(tmp_path), **{question: "huge"})
    said = f"huge provided for choice variable {question}, but the choices are {CHOICES[question]}."
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"ValueError: {said}"
    assert not list((tmp_path / "out").iterdir())


def test_a_choice_that_is_asked_for_is_asked_for_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", "--default-config", "--output-dir", tmp_path, TEMPLATE]
    typed = "".join(f"{answer}\n" for answer in ["Mail Sorter", *[""] * 5, "huge", "2", *[""] * 9])
    done = subprocess.run(command, input=typed, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Please select one of the available options") == 1
    assert 'scope: "team"' in (tmp_path / "mail-sorter/.cookiecutter.yaml").read_text(encoding="utf-8")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path / "out", author_email="x", package_name="a-b")
    assert message.count("error: ") == 2


HOSTILE = r"""${first_name} \${x} \\${x} $5 $(id) `id` $$ {{braces}} {{{ {%raw%} {#note#} ${{x}} 100% %s %(x)s "yes"
it's ''' \"\"\" \no\ \n : - # &a *b !c <b>&amp; Zoë 🎬 名 {film}""".split()
READ_BY_DVC = """
import os, sys
from dvc.repo import Repo
for path in sys.argv[1:]:
    repo = Repo(path)
    assert len(repo.index.stages) == 8
    [artifact] = repo.artifacts.read()["dvc.yaml"].values()
    assert artifact.desc == open(f"{path}/README.md", encoding="utf-8").read().splitlines()[2], path
"""


def test_hostile_answers_are_kept_as_written_wherever_they_stand(tmp_path: Path) -> None:
    """All of them at once, and in random company; read back by what reads the files, as pip and DVC do."""
    draw = random.Random(5)
    texts = [" ".join(HOSTILE), *("".join(draw.choices([*HOSTILE, " "], k=6)).strip() + "." for _ in range(5))]
    projects = [tmp_path / f"p{number}" for number in range(len(texts))]
    for project, text in zip(projects, texts, strict=True):
        answers = dict.fromkeys(("project_name", "description", "author_name"), text)
        done = bake(tmp_path, env=environment(tmp_path), project_slug=project.name, scope="team", **answers)
        assert done.returncode == 0, done.stdout + done.stderr
        about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert about["description"] == about["authors"][0]["name"] == text
        assert (project / "README.md").read_text(encoding="utf-8").startswith(f"# {text}\n\n{text}\n")
        kept = YAML(typ="safe").load(project / ".cookiecutter.yaml")["default_context"]
        assert kept["project_name"] == kept["description"] == kept["author_name"] == text
        for path in (*project.glob("*.y*ml"), *project.glob(".github/workflows/*")):
            assert YAML(typ="safe").load(path), path
        python(tmp_path, "from setuptools import build_meta as b; b.prepare_metadata_for_build_editable('.')", project)
        [metadata_file] = project.glob("*.dist-info/METADATA")
        assert f"\nSummary: {text}\n" in metadata_file.read_text(encoding="utf-8")
    python(tmp_path, READ_BY_DVC, tmp_path, *map(str, projects))
    again = bake(
        tmp_path / "again", "--config-file", str(projects[0] / ".cookiecutter.yaml"), env=environment(tmp_path)
    )
    assert again.returncode == 0, again.stderr
    name = "p0/pyproject.toml"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def python(home: Path, code: str, folder: Path, *arguments: str) -> None:
    """Run a few lines in a folder."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_question_has_a_prompt_and_every_choice_a_label() -> None:
    prompts = QUESTIONS["__prompts__"]
    asked = {name: default for name, default in QUESTIONS.items() if not name.startswith("_")}
    assert list(prompts) == list(asked)
    for name, default in asked.items():
        if isinstance(default, list):
            assert set(prompts[name]) == {"__prompt__", *default}


def test_the_kept_answers_bake_the_same_project_again(tmp_path: Path) -> None:
    answers = {"project_name": "Mail Sorter", "license": "MIT", "dvc_remote": "s3://my-bucket", "ci": "none"}
    answers |= {"scope": "team", "hardware": "cuda"}
    first, second = tmp_path / "first", tmp_path / "second"
    assert bake(first, env=environment(tmp_path), **answers).returncode == 0
    kept = first / "mail-sorter/.cookiecutter.yaml"
    done = bake(second, "--config-file", str(kept), env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    names = [path.relative_to(first) for path in first.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(names) > 40
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_baking_needs_neither_hooks_nor_git_nor_dvc(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(shutil.which("python3") or "")
    done = bake(tmp_path / "plain", env=environment(tmp_path) | {"PATH": str(tools)})
    assert done.returncode == 0, done.stderr
    assert "git init" in done.stdout
    assert not (tmp_path / "plain/review-sentiment/.git").exists()
    done = bake(tmp_path / "refused", "--default-config", "--accept-hooks", "no", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    files = [
        {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("plain", "refused")
    ]
    assert files[0] == files[1]
