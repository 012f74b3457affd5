"""Run one stage, as `dvc.yaml` does.

    python -m {{ cookiecutter.package_name }} fine_tune
    python -m {{ cookiecutter.package_name }} fetch model

The parameters are validated and the process is set up before the stage is imported, because torch and numpy read the
number of threads and the instruction sets when they load.
"""

import errno
import fcntl
import gc
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .common.determinism import set_up_process
from .common.fingerprint import PACKAGE, import_closure
from .common.io import refuse_links
from .config import STAGES, Params, load_params
from .errors import UserError, run_command
from .paths import BASE_MODEL, CHECKPOINTS, METRICS, PARAMS, RAW

WITHOUT_COMPUTE = ("fetch", "prepare")
FETCHED = """  but:      data/raw is fetched, so an edit there is undone: correct it at its address, then make pin;
            or own it: remove fetch.data from params.yaml, then dvc add data/raw"""
LOCK = Path(".dvc/tmp/stage.lock")


def main() -> int:
    """Run the stage named on the command line. Returns 0 when its outs are written, 1 after a user's mistake."""
    stage, *only = sys.argv[1:] or [""]
    if stage not in STAGES or (only and stage != "fetch") or not {*only} <= {"data", "model"}:
        print(f"usage: python -m {__package__} {'|'.join(STAGES)} (or fetch data, fetch model)", file=sys.stderr)
        return 2
    return run_command(lambda: run(stage, *only), stopped="stopped; `dvc repro` goes on from here")


def run(stage: str, *only: str) -> None:
    """Run a stage. Raises UserError."""
    require_own_code()
    params = load_params()
    before = contents()
    refuse_links((RAW.parent, BASE_MODEL.parent, METRICS.parent))
    if stage not in WITHOUT_COMPUTE:
        set_up_process(params.compute)
    gc.disable()  # otherwise torch and transformers load a sixth slower; nothing they create can be freed
    module = importlib.import_module(f".stages.{stage}", __package__)
    gc.freeze()
    gc.enable()
    with alone() as on_rank_0:
        # embeddings: so that `dvc repro --force` trains again. The others: DVC has the outs of fine_tune by now.
        if on_rank_0 and stage in ("embeddings", "export_onnx", "evaluate"):
            forget_training()
        try:
            module.run(params, *only)
        except UserError as error:
            if stage == "prepare" and params.fetch.data:
                error.add_note(FETCHED)
            raise
        require_unedited(before, params, stage)


def require_own_code() -> None:
    """Refuse to run the code of another checkout, whose environment this is: DVC records the code that is here."""
    here = Path("src", PACKAGE.name)
    if here.exists() and not here.samefile(PACKAGE):
        raise UserError(
            "the code of another checkout would run",
            expected=f"that of {here.resolve()}",
            found=f"that of {PACKAGE}, which this environment is installed for",
            fix="put PYTHONPATH=src before the command of DVC; or make setup here, and use this .venv",
        )


@contextmanager
def alone() -> Iterator[bool]:
    """Inside, no other stage runs in this checkout, such as one that outlived its `dvc repro`. A kill ends it too."""
    if os.environ.get("RANK", "0") != "0":
        yield False
        return
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):  # others: a disk that knows no locks
                file.seek(0)
                raise UserError(
                    "another stage is running in this checkout",
                    expected="one at a time",
                    found=f"process {file.read()}",
                    fix="wait until it ends, or end it (kill NUMBER); then dvc repro goes on from where it was",
                ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def forget_training() -> None:
    """Delete the weights of a finished training, which wait until DVC has put the outs into its cache."""
    for final in CHECKPOINTS.glob("*/final.safetensors"):
        shutil.rmtree(final.parent)


def contents() -> dict[Path, bytes]:
    """What a user may edit while a stage runs: the parameters and the code."""
    return {path: path.read_bytes() for path in (PARAMS, *PACKAGE.rglob("[!.]*.py")) if path.is_file()}


def recorded(params: Params, stage: str) -> list[Any]:
    """The parameters that dvc.yaml names for a stage."""
    found = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    keys = [name.partition(".$")[0].split(".") for name in found.get("do", found)["params"]]
    return [reduce(getitem, key, params.model_dump()) for key in keys]


def code_of(stage: str) -> set[Path]:
    """The files that a stage imports; all while one of them cannot be read, in the middle of an edit."""
    try:
        return import_closure(PACKAGE / f"stages/{stage}.py")
    except SyntaxError:
        return set(contents())


def require_unedited(before: dict[Path, bytes], params: Params, stage: str) -> None:
    """Refuse a run of which DVC would record other parameters or code, as they are by now, than made the outs."""
    now = contents()
    edited = {path for path in before | now if before.get(path) != now.get(path)}
    if PARAMS in edited and recorded(params, stage) == recorded(load_params(), stage):
        edited.remove(PARAMS)
    if edited and (edited := edited & {PARAMS, *code_of(stage)}):
        raise UserError(
            f"{', '.join(sorted(path.name for path in edited))} changed while {stage} ran",
            expected="the parameters and the code with which it began",
            found="others, which DVC would record beside what it made",
            fix="dvc repro runs it as it is now; undo the edit first if it was not meant for this run",
        )


if __name__ == "__main__":
    sys.exit(main())
