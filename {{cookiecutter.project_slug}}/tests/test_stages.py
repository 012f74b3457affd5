"""All six stages on a small project, run as DVC runs them."""

import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_project import ROOT, USER, report, run_stage, write_params

pytestmark = pytest.mark.slow


def test_the_probe_starts_the_head_and_every_model_learns(trained: Path) -> None:
    metrics = report(trained, "metrics.json")
    for model in ("probe", "torch", "onnx_fp32", "onnx_int8"):
        assert metrics[model]["accuracy"] > 0.8
        assert metrics[model]["accuracy_low"] <= metrics[model]["accuracy"] <= metrics[model]["accuracy_high"]


def test_a_wrong_digest_is_named_and_nothing_is_written(base_model: Path, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", base_model)
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    right = text.partition("config.json: ")[2][:64]
    for old, new, words in ((right, "f" * 64, (right, "f" * 64)), ("config.json", "missing.json", ("cannot fetch",))):
        (tmp_path / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")
        done = run_stage(tmp_path, "fetch")
        assert done.returncode == 1
        assert all(word in done.stderr for word in words)
        assert not list((tmp_path / "models").glob("*"))


def test_nothing_of_this_machine_is_in_the_outs(trained: Path, base_model: Path) -> None:
    """No path, host name, user name or date of the run; a host with a short or common name cannot be recognised."""
    run = datetime.fromtimestamp((trained / "reports/metrics.json").stat().st_mtime, tz=UTC)
    dates = [run.strftime(form) for form in ("%Y-%m-%d", "%Y%m%d", "%d %b %Y", "%b %d %Y", "%d/%m/%Y", "%m/%d/%Y")]
    names = [str(trained), str(ROOT), f"{Path.home()}/", platform.node(), USER, "stack_trace", "site-packages", *dates]
    inputs = b"".join(path.read_bytes() for path in [*base_model.iterdir(), trained / "data/raw/table.csv"])
    strange = [name.encode() for name in names if len(name) > 5 and name.encode() not in inputs]
    assert len(strange) >= len(names) - 1
    folders = ("data/processed", "embeddings", "models", "reports")
    for path in (path for folder in folders for path in trained.glob(f"{folder}/**/*") if path.is_file()):
        content = path.read_bytes()
        assert not [name for name in strange if name in content], path
