"""Run one stage, as `dvc.yaml` does.

    python -m {{ cookiecutter.package_name }} fine_tune
    python -m {{ cookiecutter.package_name }} fetch model

The parameters are validated and the process is set up before the stage is imported, because torch and numpy read their
number of threads and instruction sets while they load.
"""

import errno
import importlib
import sys

from .common.determinism import set_up_process
from .common.io import refuse_links
from .config import STAGES, load_params
from .errors import UserError
from .paths import BASE_MODEL, METRICS, RAW

WITHOUT_COMPUTE = ("fetch", "prepare")


def main() -> int:
    """Run the stage named on the command line; 0 when its outs are written, 1 after a user's mistake."""
    stage, *only = sys.argv[1:] or [""]
    if stage not in STAGES or (only and stage != "fetch") or not {*only} <= {"data", "model"}:
        print(f"usage: python -m {__package__} {'|'.join(STAGES)} (or fetch data, fetch model)", file=sys.stderr)
        return 2
    try:
        params = load_params()
        refuse_links((RAW.parent, BASE_MODEL.parent, METRICS.parent))
        if stage not in WITHOUT_COMPUTE:
            set_up_process(params.compute)
        importlib.import_module(f".stages.{stage}", __package__).run(params, *only)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; `dvc repro` goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if not disk_is_full(error):
            raise
        print("error: the disk is full; free some space, then `dvc repro` goes on from here", file=sys.stderr)
        return 1
    return 0


def disk_is_full(error: BaseException) -> bool:
    """Whether a write failed for lack of space; torch and safetensors report it in messages of their own."""
    messages = ("No space left", "os error 28", "PytorchStreamWriter failed", "unexpected pos")
    return getattr(error, "errno", None) == errno.ENOSPC or any(message in str(error) for message in messages)


if __name__ == "__main__":
    sys.exit(main())
