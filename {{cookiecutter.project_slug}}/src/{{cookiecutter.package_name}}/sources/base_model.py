"""Convert a base model, whatever form its files have, to one form: config.json, model.safetensors, tokenizer.json.

These three stay as they are, and neither torch nor transformers is loaded for them. Other weights are copied number by
number; transformers converts other tokenizers.
"""

import pickle
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.io import read_json
from ..errors import UserError
from ..paths import BASE_FILES

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, TOKENIZER = (path.name for path in BASE_FILES)


def to_one_form(directory: Path) -> None:
    """Convert a base model's files to CONFIG, WEIGHTS and TOKENIZER, in place. Raises UserError if they hold none."""
    if not (directory / CONFIG).exists():
        raise _refusal("configuration", f"no {CONFIG} below fetch.model.sha256")
    if not (directory / WEIGHTS).exists():
        write_weights(directory)
    if not (directory / TOKENIZER).exists():
        write_tokenizer(directory)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (CONFIG, WEIGHTS, TOKENIZER):
            path.unlink()


def write_weights(directory: Path) -> None:
    """Write model.safetensors from the existing shards or pickles."""
    from safetensors.torch import save_file

    with _readable("weights"):
        weights = dict(tensor for path in _files_of_weights(directory) for tensor in _tensors_in(path))
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})


def _files_of_weights(directory: Path) -> list[Path]:
    given = {path.name for path in directory.iterdir()}
    indexes = [name for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json") if name in given]
    named = set(read_json(directory / indexes[0])["weight_map"].values()) if indexes else {"pytorch_model.bin"}
    if not named <= given:
        raise _refusal("weights", f"no {', '.join(sorted(named - given))} below fetch.model.sha256")
    return [directory / name for name in sorted(named)]


def _tensors_in(path: Path) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors of one file. They stay on the disk until they are used, unless it is a pickle in the old format."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        yield from load_file(path).items()
        return
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:  # its message explains how to run the code in the file
        found = {}
    if not found or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise _refusal("weights", f"{path.name}, a pickle of something else than tensors, which may run code")
    seen: set[int] = set()
    for name, tensor in found.items():  # a pickle may hold one tensor under two names; safetensors needs two tensors
        whole = tensor.contiguous()
        memory = whole.untyped_storage().data_ptr()
        yield name, whole.clone() if memory in seen else whole
        seen.add(memory)


def write_tokenizer(directory: Path) -> None:
    """Write tokenizer.json from the existing vocabulary."""
    from transformers import AutoTokenizer, TokenizersBackend

    with _readable("tokenizer"):
        tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    # Without these files transformers makes an empty tokenizer; its class for all others guesses and loses tokens.
    needed = {name for kind, name in tokenizer.vocab_files_names.items() if kind != "tokenizer_file"}
    missing = sorted(name for name in needed if not (directory / name).exists())
    if missing or not needed or type(tokenizer) is TokenizersBackend or not hasattr(tokenizer, "backend_tokenizer"):
        known = f"a {type(tokenizer).__name__}, of which no {TOKENIZER} can be made"
        raise _refusal("tokenizer", f"no {', '.join(missing)} below fetch.model.sha256" if missing else known)
    tokenizer.backend_tokenizer.save(str(directory / TOKENIZER))


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch, safetensors and transformers raise nothing narrower
        raise _refusal(what, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from None


def _refusal(what: str, found: str) -> UserError:
    return UserError(
        f"the {what} of the base model cannot be used",
        expected=f"{CONFIG}; {WEIGHTS}, its shards or pytorch_model.bin; {TOKENIZER} or a known vocabulary",
        found=found,
        fix="make pin, which lists what a model has; else choose another one under fetch.model in params.yaml",
    )
