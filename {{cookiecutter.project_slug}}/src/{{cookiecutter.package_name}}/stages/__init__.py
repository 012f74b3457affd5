"""One file per stage of `dvc.yaml`; each holds a function `run(params)` that reads its deps and writes its outs."""
