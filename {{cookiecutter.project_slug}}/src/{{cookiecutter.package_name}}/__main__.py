"""Run one stage, as `dvc.yaml` does.

    python -m {{ cookiecutter.package_name }} fine_tune
    python -m {{ cookiecutter.package_name }} fetch model

The parameters are validated and the process is set up before the stage is imported, because torch and numpy read the
number of threads and the instruction sets when they load.
"""

import gc
import importlib
import sys

from .common.determinism import set_up_process
from .common.io import refuse_links
from .config import STAGES, load_params
from .errors import run_command
from .paths import BASE_MODEL, METRICS, RAW

WITHOUT_COMPUTE = ("fetch", "prepare")


def main() -> int:
    """Run the stage named on the command line. Returns 0 when its outs are written, 1 after a user's mistake."""
    stage, *only = sys.argv[1:] or [""]
    if stage not in STAGES or (only and stage != "fetch") or not {*only} <= {"data", "model"}:
        print(f"usage: python -m {__package__} {'|'.join(STAGES)} (or fetch data, fetch model)", file=sys.stderr)
        return 2
    return run_command(lambda: run(stage, *only), stopped="stopped; `dvc repro` goes on from here")


def run(stage: str, *only: str) -> None:
    """Run a stage. Raises UserError."""
    params = load_params()
    refuse_links((RAW.parent, BASE_MODEL.parent, METRICS.parent))
    if stage not in WITHOUT_COMPUTE:
        set_up_process(params.compute)
    gc.disable()  # otherwise torch and transformers load a sixth slower; nothing they create can be freed
    module = importlib.import_module(f".stages.{stage}", __package__)
    gc.freeze()
    gc.enable()
    module.run(params, *only)


if __name__ == "__main__":
    sys.exit(main())
