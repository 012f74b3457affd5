"""What test modules share: the small base model, and the small project before any stage and after all of them."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from small_project import STAGES, run_stages, sentences, write_base_model, write_params, write_table

from {{ cookiecutter.package_name }}.text import tokenization

# Time depends on the machine; and the same examples each time, so that a change fails by itself and not by chance.
settings.register_profile("patient", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small base model."""
    directory = tmp_path_factory.mktemp("base") / "model"
    write_base_model(directory)
    return directory


@pytest.fixture(scope="session")
def sequences(base_model: Path) -> list[list[int]]:
    """The token ids of 150 sentences."""
    tokenizer = tokenization.load_tokenizer(base_model / "tokenizer.json", 32)
    return tokenization.encode(tokenizer, [text for text, _ in sentences(150, seed=5)], "")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Path:
    """The project with data and parameters, before any stage; tests that write work on a copy."""
    project = tmp_path_factory.mktemp("untrained")
    write_params(project / "params.yaml", base_model)
    write_table(project / "data/raw/table.csv", sentences(600, seed=1))
    return project


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, untrained: Path) -> Path:
    """The project after all seven stages, run in one process (`.reads`: the parameters that they read); read only."""
    project = shutil.copytree(untrained, tmp_path_factory.mktemp("trained") / "project")
    run_stages(project, *STAGES)
    return project
