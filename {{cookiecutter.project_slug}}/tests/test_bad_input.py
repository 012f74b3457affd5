"""Every bad input has its outcome: a message that helps, or counted repairs; never a traceback or half an out."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_inputs import CASES, GOOD, ROWS, Accepted, Case, csv_of, params_with
from small_project import PACKAGE, PARAMS, ROOT
from transformers import T5Config, T5Model, ViTConfig, ViTModel

from {{ cookiecutter.package_name }}.config import Text
from {{ cookiecutter.package_name }}.data.intake import Intake
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.stages import fetch, prepare
from {{ cookiecutter.package_name }}.text.tokenization import load_tokenizer

pytestmark = pytest.mark.slow
TOLD = ("expected:", "found:", "fix:")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, with what an earlier run left."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/processed/labels.json", "reports/data_profile.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("as before", encoding="utf-8")
    (tmp_path / "data/raw").mkdir()
    return tmp_path


def put(project: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (project / "data/raw" / name).write_bytes(content)


def nothing_was_written(project: Path) -> bool:
    left = sorted(path.relative_to(project).as_posix() for path in project.glob("*/*") if path.name != "raw")
    return left == ["data/processed", "reports/data_profile.json"] and all(
        path.read_text(encoding="utf-8") == "as before"
        for path in [*project.glob("data/processed/*"), project / "reports/data_profile.json"]
    )


def refusal(project: Path, **changes: object) -> str:
    with pytest.raises(UserError) as refused:
        prepare.run(params_with(**changes))
    assert nothing_was_written(project)
    message = str(refused.value)
    assert all(f"\n  {part}" in message for part in TOLD)
    return message


def prepared(project: Path, **changes: object) -> dict:
    prepare.run(params_with(**changes))
    assert sorted(path.name for path in (project / "data").iterdir()) == ["processed", "raw"]
    return json.loads((project / "reports/data_profile.json").read_text(encoding="utf-8"))


def test_there_are_enough() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_input_has_its_outcome(project: Path, case: Case) -> None:
    put(project, case.files)
    if not isinstance(case.outcome, Accepted):
        message = refusal(project, **case.params)
        assert [word for word in case.outcome.words if word not in message] == [], message
        return
    profile = prepared(project, **case.params)
    assert sum(profile[split]["rows"] for split in ("train", "validation", "test")) == case.outcome.rows
    for key, expected in case.outcome.counts.items():
        found = profile
        for part in key.split(".") if not key.startswith("quarantined.") else key.split(".", 1):
            found = found[part]
        assert found == expected, key
    kept = sum(profile[split]["rows"] for split in ("train", "validation", "test"))
    assert profile["read"] == kept + sum(profile["dropped"].values()) + sum(profile["quarantined"].values())


def test_bad_rows_are_kept_with_all_that_is_known(project: Path) -> None:
    put(project, {"train.csv": GOOD + b"alone\n", "test.csv": csv_of(ROWS[:4]) + b"caf\xe9 one,good\n"})
    prepared(project, prepare__on_bad_row="quarantine")
    lines = (project / "data/processed/quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "file": "test.csv",
            "line": 6,
            "reason": "expected UTF-8, found the byte 0xE9",
            "content": "caf\\xe9 one,good",
        },
        {"file": "train.csv", "line": 62, "reason": "expected 2 columns, found 1", "content": "alone"},
    ]


def test_a_directory_named_like_a_table_is_told(project: Path) -> None:
    (project / "data/raw/a.csv").mkdir()
    assert "a.csv cannot be read" in (said := refusal(project))
    assert "Is a directory" in said


def test_a_file_that_may_not_be_read_is_told(project: Path) -> None:
    put(project, {"a.csv": GOOD})
    (project / "data/raw/a.csv").chmod(0)
    for folder in (project, project / "data"):
        folder.chmod(0o777)
    user = os.geteuid()
    if user == 0:  # may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match=r"a.csv cannot be read") as refused:
            prepare.run(params_with())
    finally:
        os.seteuid(user)
    assert "Permission denied" in str(refused.value)
    assert nothing_was_written(project)


def test_a_file_that_changes_while_it_is_read_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(project, {"a.csv": GOOD})
    path = project / "data/raw/a.csv"
    monkeypatch.setattr(Intake, "take_all", lambda *_: os.utime(path, (0, 0)))
    assert "a.csv changed while it was read" in refusal(project)


def test_a_missing_directory_is_told(project: Path) -> None:
    (project / "data/raw").rmdir()
    assert "no table" in refusal(project)


def run_prepare(project: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", PACKAGE, "prepare"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_the_same(project: Path) -> None:
    put(project, {"a.csv": GOOD.replace(b"\n", b"\n\xff\n")})
    (project / "params.yaml").write_text(PARAMS.replace("seed: 42", "seed: .nan"), encoding="utf-8")
    done = run_prepare(project)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert "seed: Input should be" in done.stderr
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    done = run_prepare(project)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
    assert done.stderr.startswith("error: data/raw/a.csv is not in UTF-8\n  expected:")
    assert nothing_was_written(project) or sorted(path.name for path in project.iterdir()) == [
        "data",
        "params.yaml",
        "reports",
    ]


def test_a_full_disk_is_told(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    put(project, {"a.csv": csv_of([(f"{number} {'word ' * 50}", number % 2) for number in range(20_000)])})
    raw = project / "raw"
    (project / "data/raw").rename(raw)
    shutil.rmtree(project / "data")
    (project / "data").mkdir()
    small = "mount -t tmpfs -o size=2m tmpfs data && mkdir data/raw && mount --bind raw data/raw"
    small += ' && "$@"; echo "left: $(ls -A data)"; exit 1'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small, "sh")
    if subprocess.run([*prefix, "true"], cwd=project, capture_output=True, check=False).stdout != b"left: raw\n":
        pytest.skip("no small disk can be mounted here (user namespaces are switched off)")
    done = run_prepare(project, *prefix)
    assert done.stderr.startswith("error: the disk is full")
    assert "Traceback" not in done.stderr
    assert done.stdout == "left: raw\n"


def config_with(**values: object) -> Callable[[Path], object]:
    """Change the base model's configuration."""

    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return change


def weights_as(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the base model's weights."""
    return lambda model: (model / "model.safetensors").write_bytes(change((model / "model.safetensors").read_bytes()))


SMALL_T5 = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
SMALL_VIT = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
MODELS = {
    "no weights": (lambda model: (model / "model.safetensors").unlink(), "no file named model.safetensors"),
    "truncated weights": (weights_as(lambda weights: weights[:1000]), "header"),
    "empty weights": (weights_as(lambda _: b""), "header too small"),
    "a pickle": (weights_as(lambda _: pickle.dumps({"weight": [1.0] * 100})), "header too large"),
    "no configuration": (lambda model: (model / "config.json").unlink(), "model_type"),
    "a broken configuration": (lambda model: (model / "config.json").write_text("{"), "not a valid JSON"),
    "an unknown model": (config_with(model_type="nobody-knows"), "nobody-knows"),
    "another architecture": (config_with(model_type="distilbert"), "no weights for"),
    "an encoder and a decoder": (lambda model: T5Model(SMALL_T5).save_pretrained(model), "T5Model"),
    "a model of pictures": (lambda model: ViTModel(SMALL_VIT).save_pretrained(model), "ViTModel"),
    "more layers than weights": (config_with(num_hidden_layers=3), "no weights for encoder.layer.2"),
    "another width": (config_with(hidden_size=128), "ignore_mismatched_sizes"),
    "a width in words": (config_with(hidden_size="wide"), "hidden_size"),
}


@pytest.mark.parametrize(("change", "found"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_used_is_told(
    base_model: Path, tmp_path: Path, change: Callable[[Path], object], found: str
) -> None:
    from {{ cookiecutter.package_name }}.modeling.classifier import load_base

    model = shutil.copytree(base_model, tmp_path / "model")
    change(model)
    with pytest.raises(UserError, match="does not hold a transformer encoder") as refused:
        load_base(model, 2, Text(max_length=32, pooling="mean"), "single_label")
    assert found in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe\0", b"[" * 10_000])
def test_a_tokenizer_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json", 8)


@pytest.mark.parametrize(
    ("name", "digest", "said"),
    [("config.json", "f" * 64, "does not hold what params.yaml says"), ("missing.json", "f" * 64, "cannot fetch")],
)
def test_a_model_that_is_another_is_told(project: Path, base_model: Path, name: str, digest: str, said: str) -> None:
    source = {"uri": str(base_model), "sha256": {name: digest}}
    with pytest.raises(UserError, match=said):
        fetch.run(params_with(fetch__data=None, fetch__model=source))
    assert not list((project / "models").glob("*"))
