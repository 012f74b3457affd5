"""Stages of a project, run in the process of the tests, which has loaded torch already."""

from pathlib import Path
from types import ModuleType

import pytest
from review_sentiment.config import load_params


def run_here(monkeypatch: pytest.MonkeyPatch, project: Path, *stages: ModuleType) -> None:
    """Run stages of a project, which becomes the current directory."""
    monkeypatch.chdir(project)
    for stage in stages:
        stage.run(load_params())
