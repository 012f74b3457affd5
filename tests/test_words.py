"""The project is written in the words of its field; these are not."""

import re
from pathlib import Path

import pytest
from workshop import PROJECT, TEMPLATE

GONE = re.compile(
    r"(?<![a-z])(knobs?|mend(s|ed|ing)?|remed(y|ies)|told|bears|by[ _]turns|as the first|leaves lying|strained"
    r"|bad[ _]rows?|decided otherwise|no number any more|befalls|rooms|(a|this|the|every) room)(?![a-z])",
    re.IGNORECASE,
)
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".mk", ""}
OWN = Path(__file__)
FOLDERS = [PROJECT, *(TEMPLATE / name for name in ("benchmarks", "docs", "hooks", "tests"))]


def suffix_of(path: Path) -> str:
    """The suffix without the condition that a file of a larger size has in its name."""
    return Path(re.sub(r"\{%.*?%\}", "", path.name)).suffix


def texts() -> list[Path]:
    paths = (path for folder in FOLDERS for path in folder.rglob("*"))
    found = [path for path in paths if path.is_file() and suffix_of(path) in SUFFIXES]
    found += [TEMPLATE / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "cookiecutter.json")]
    return [path for path in found if path != OWN and path.name != "LICENSE" and "__pycache__" not in path.parts]


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(TEMPLATE).as_posix())
def test_words_of_our_own_are_gone(path: Path) -> None:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    assert [f"{number}: {line.strip()}" for number, line in lines if GONE.search(line)] == []


def test_the_guide_for_newcomers_names_parameters_that_exist() -> None:
    params = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r"^ *(\w+):", params, re.MULTILINE))
    blocks = "|".join(re.findall(r"^(\w+):", params, re.MULTILINE))
    guide = (TEMPLATE / "docs/coming_from.md").read_text(encoding="utf-8")
    named = [part for row in guide.splitlines() for part in re.findall(r"`([^`]*)`", "|".join(row.split("|")[2:]))]
    keys = [found[1] for part in named if (found := re.match(rf"(?:{blocks})\.(\w+)", part))]
    assert len(keys) > 15
    assert set(keys) <= known
