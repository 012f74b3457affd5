"""Run one stage: `python -m {{ cookiecutter.package_name }} fine_tune`. `dvc.yaml` starts every stage this way.

The parameters are validated and the process environment is set before the stage is imported, because torch and numpy
read their number of threads and instruction sets while they load.
"""

import errno
import importlib
import sys

from . import determinism
from .errors import UserError
from .params import STAGES, load_params


def main() -> int:
    """Run the stage named on the command line; 0 when its outs are written, 1 after a user's mistake."""
    if len(sys.argv) != 2 or sys.argv[1] not in STAGES:
        print(f"usage: python -m {__package__} {'|'.join(STAGES)}", file=sys.stderr)
        return 2
    try:
        params = load_params()
        determinism.set_environment(params.compute)
        importlib.import_module(f".stages.{sys.argv[1]}", __package__).run(params)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("error: the disk is full; free some space and run `dvc repro` again, it goes on here", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
