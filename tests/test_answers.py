"""Bad answers are refused before anything is written; odd but good ones are taken."""

import itertools
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from gto.constants import name_re
from ruamel.yaml import YAML
from workshop import TEMPLATE, bake, environment

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
    ("package_name", "torch", "hides a package"),
    ("package_name", "json", "hides a package"),
    ("author_email", "nobody", "ada@example.com"),
    ("author_email", "a b@example.com", "ada@example.com"),
    ("base_model", "https://hub.example/model", "sentence-transformers/all-MiniLM-L6-v2"),
    ("description", "two\nlines", "one line"),
    ("project_name", " ", "Review Sentiment"),
    ("dvc_remote", "https://my-bucket.s3.amazonaws.com", "s3://my-bucket/path"),
    ("dvc_remote", "s3://", "s3://my-bucket/path"),
    ("dvc_remote", "s3://My_Bucket", "s3://my-bucket/path"),
    ("dvc_remote", "~/storage", "../review-sentiment-storage"),
    ("dvc_remote", "", "../review-sentiment-storage"),
    ("dvc_remote", "../a # b", "../review-sentiment-storage"),
    ("task", "pair", "the sample has no second text"),
]


def refusal(folder: Path, **answers: str) -> str:
    defaults = {"project_name": "Review Sentiment", "project_slug": "review-sentiment", "package_name": "review"}
    done = bake(folder, env=environment(folder.parent), **(defaults | answers))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not [path for path in folder.rglob("*") if path.is_file()]
    return done.stderr


@pytest.mark.parametrize(("question", "answer", "good"), REFUSED)
def test_a_bad_answer_is_refused(tmp_path: Path, question: str, answer: str, good: str) -> None:
    if answer == "..":
        done = bake(tmp_path / "out", env=environment(tmp_path), project_slug="..")
        assert done.returncode != 0
        assert not list((tmp_path / "out").iterdir())
        return
    message = refusal(tmp_path / "out", **{question: answer})
    assert f"error: {question}: found {answer!r}, expected something like" in message
    assert good in message
    assert not (tmp_path / "outside").exists()


def test_a_slug_is_a_name_that_gto_takes() -> None:
    hook = (TEMPLATE / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
    pattern = re.search(r'bad\("project_slug", r"(.*?)"\)', hook).group(1)
    words = ["".join(word) for size in range(1, 5) for word in itertools.product("a0-_A.", repeat=size)]
    taken = {word for word in words if re.fullmatch(pattern, word)}
    assert {"a", "0-a", "a_0", "a--a"} <= taken
    assert taken == {word for word in words if name_re.search(word) and word == word.lower()}


def test_a_value_that_is_no_choice_is_refused(tmp_path: Path) -> None:
    assert "huge" in bake(tmp_path, env=environment(tmp_path), scope="huge").stderr
    assert not list(tmp_path.iterdir())


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path / "out", author_email="x", package_name="a-b")
    assert message.count("error: ") == 2


def test_quotes_accents_and_emoji_survive(tmp_path: Path) -> None:
    said = "Says \"yes\" or \\no\\, it's Zoë's 🎬 {film} & more"
    done = bake(tmp_path, env=environment(tmp_path), description=said, author_name="Zoë O'Neil")
    assert done.returncode == 0, done.stderr
    project = tmp_path / "review-sentiment"
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert about["description"] == said
    assert about["authors"][0]["name"] == "Zoë O'Neil"
    pipeline = YAML(typ="safe").load(project / "dvc.yaml")
    assert pipeline["artifacts"]["review-sentiment"]["desc"] == said
    assert YAML(typ="safe").load(project / ".cookiecutter.yaml")["default_context"]["description"] == said


def test_every_question_has_a_prompt_and_every_choice_a_label() -> None:
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    prompts = questions.pop("__prompts__")
    asked = {name: default for name, default in questions.items() if not name.startswith("_")}
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
