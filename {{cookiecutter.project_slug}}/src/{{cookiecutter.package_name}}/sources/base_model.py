"""Convert a base model, whatever form its files have, to one form: config.json, model.safetensors, tokenizer.json.

These three stay as they are, and neither torch nor transformers is loaded for them. Other weights are copied number by
number; transformers converts other tokenizers.
"""

import fnmatch
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..common.io import read_json
from ..errors import UserError
from ..paths import BASE_FILES

CONFIG, WEIGHTS, TOKENIZER = (path.name for path in BASE_FILES)
REPLACED = "so good… ﬁne ½ 好，看！ a\u200bb ｆｕｌｌ"  # characters that sentencepiece replaces before it splits
FEW_CAPITALS = 0.01


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch, safetensors and transformers raise nothing narrower
        raise _refusal(what, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from None


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

    given = {path.name for path in directory.iterdir()}
    indexes = [name for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json") if name in given]
    with _readable("weights"):
        named = set(read_json(directory / indexes[0])["weight_map"].values()) if indexes else {"pytorch_model.bin"}
        if not named <= given:
            raise _refusal("weights", f"no {', '.join(sorted(named - given))} below fetch.model.sha256")
        weights = dict(tensor for name in sorted(named) for tensor in _tensors_in(directory / name))
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})


def _tensors_in(path: Path) -> Iterator[tuple[str, Any]]:
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


@_readable("tokenizer")
def write_tokenizer(directory: Path) -> None:
    """Write tokenizer.json from the existing vocabulary."""
    from transformers import AutoTokenizer, TokenizersBackend

    tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    # Without these files transformers makes an empty tokenizer; its class for all others guesses and loses tokens.
    needed = {name for kind, name in tokenizer.vocab_files_names.items() if kind != "tokenizer_file"}
    missing = sorted(name for name in needed if not (directory / name).exists())
    if missing or not needed or type(tokenizer) is TokenizersBackend or not hasattr(tokenizer, "backend_tokenizer"):
        known = f"a {type(tokenizer).__name__}, of which no {TOKENIZER} can be made"
        raise _refusal("tokenizer", f"no {', '.join(missing)} below fetch.model.sha256" if missing else known)
    for name in fnmatch.filter(needed, "*.model"):
        _split_as_sentencepiece(tokenizer.backend_tokenizer, directory / name)
    _keep_case(tokenizer.backend_tokenizer, directory / "tokenizer_config.json")
    tokenizer.backend_tokenizer.save(str(directory / TOKENIZER))


def _split_as_sentencepiece(tokenizer: Tokenizer, vocabulary: Path) -> None:
    """Add the vocabulary's replacements of characters if transformers has left them out, as it does for DeBERTa-v3."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers.normalizers import Precompiled, Sequence
    from transformers.convert_slow_tokenizer import SentencePieceExtractor

    rules = SentencePieceExtractor(str(vocabulary)).proto.normalizer_spec.precompiled_charsmap
    if rules and "Precompiled" not in str(tokenizer.normalizer):
        tokenizer.normalizer = Sequence([Precompiled(rules), tokenizer.normalizer or Sequence([])])
    pieces = SentencePieceProcessor(model_file=str(vocabulary))
    tokens = tokenizer.encode(REPLACED, add_special_tokens=False).tokens
    if [pieces.piece_to_id(token) for token in tokens] != pieces.encode(REPLACED):
        raise _refusal("tokenizer", f"{vocabulary.name}, which transformers does not convert to the same tokenizer")


def _keep_case(tokenizer: Tokenizer, settings: Path) -> None:
    """Keep upper case where the vocabulary has it and no file says otherwise: by default transformers lower-cases."""
    named = settings.exists() and "do_lower_case" in read_json(settings)
    words = [word for word in tokenizer.get_vocab() if not word.startswith("[")]
    capitals = sum(word != word.lower() for word in words)
    if getattr(tokenizer.normalizer, "lowercase", False) and not named and capitals > FEW_CAPITALS * len(words):
        tokenizer.normalizer.lowercase = False
        print(f"the vocabulary has {capitals} words with capitals, so texts are not lower-cased")


def _refusal(what: str, found: str) -> UserError:
    return UserError(
        f"the {what} of the base model cannot be used",
        expected=f"{CONFIG}; {WEIGHTS}, its shards or pytorch_model.bin; {TOKENIZER} or a known vocabulary",
        found=found,
        fix="make pin, which lists what a model has; else choose another one under fetch.model in params.yaml",
    )
