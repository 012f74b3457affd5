"""Turn texts into token ids and ids into batches. Without torch, because prediction uses it too."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer, normalizers

from ..errors import UserError

if TYPE_CHECKING:
    import polars as pl

Text = str | tuple[str, str]  # one text, or the two of a pair

LENGTH_STEP = 8
TEXTS_AT_ONCE = 64  # a long text takes much memory as tokens until it is cut
TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 16_384}  # more would waste most of each last batch


class Sequences(Protocol):
    """The token ids of many texts: lists, or rows of a memory-mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Sequence[int] | np.ndarray: ...


class Coverage(NamedTuple):
    """How much of a text the model reads: whether it was cut, and the share of its tokens that are unknown, 0 to 1."""

    truncated: bool
    unknown_tokens: float


class Batch(NamedTuple):
    """Texts of similar length: `rows` (n) are their indices in the input, `ids` and `mask` (m >= n, length) int64."""

    rows: list[int]
    ids: np.ndarray
    mask: np.ndarray


def load_tokenizer(path: Path, max_length: int) -> Tokenizer:
    """Load a `tokenizer.json`. It cuts texts at `max_length` tokens, special ones included, and does not pad.

    A special token that somebody types, such as `[SEP]` or `</s>`, stays ordinary text: as a control token it would end
    the first text of a pair, or hide a part of the text.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"{path} holds no tokenizer",
            expected="a tokenizer.json of the tokenizers library",
            found=str(error).partition("\n")[0],
            fix="choose a model with that file under fetch.model in params.yaml",
        ) from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    tokenizer.encode_special_tokens = True
    split_typed_tokens(tokenizer)
    return tokenizer


def split_typed_tokens(tokenizer: Tokenizer) -> None:
    """Insert a space into typed special tokens that would still be read as control tokens.

    This happens with Unigram models, whose vocabulary holds its special tokens as pieces of text.
    """
    special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}

    def read(text: str) -> set[int]:
        return set(tokenizer.encode(text, add_special_tokens=False).ids)

    unknown = read("\U0002a6a5")  # a letter in hardly any vocabulary; the unknown token controls nothing
    typed = [token for token in special if special[token] in read(token) - unknown]
    if typed:
        split = [normalizers.Replace(token, f"{token[0]} {token[1:]}") for token in typed]
        before = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([*before, *split])


def texts_of(table: "pl.DataFrame") -> list[str] | list[tuple[str, str]]:
    """The texts of a prepared table, or its pairs of texts."""
    if "second_text" in table.columns:
        return table.select("text", "second_text").rows()
    return table["text"].to_list()


def encode(tokenizer: Tokenizer, texts: Sequence[Text], prefix: str) -> list[list[int]]:
    """The token ids of each text, with the prefix before it. A pair becomes one sequence; its longer text is cut first.

    A text without tokens becomes the token 0, because not every tokenizer adds special tokens.
    """
    return encode_with_coverage(tokenizer, texts, prefix)[0]


def encode_with_coverage(
    tokenizer: Tokenizer, texts: Sequence[Text], prefix: str
) -> tuple[list[list[int]], list[Coverage]]:
    """The ids that `encode` returns, and how much of each text they cover."""
    # The token for letters outside the vocabulary, if the model has one; a Unigram model does not name it.
    unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "<unk>")
    prefixed = [prefix + text if isinstance(text, str) else (prefix + text[0], prefix + text[1]) for text in texts]
    ids, coverage = [], []
    parts = (prefixed[start : start + TEXTS_AT_ONCE] for start in range(0, len(prefixed), TEXTS_AT_ONCE))
    for encoding in chain.from_iterable(map(tokenizer.encode_batch_fast, parts)):
        numbers = encoding.ids  # a new list
        count = 0 if unknown is None else numbers.count(unknown)
        share = round(count / max(1, len(numbers) - sum(encoding.special_tokens_mask)), 3) if count else 0.0
        ids.append(numbers or [0])
        coverage.append(Coverage(bool(encoding.overflowing), share))
    return ids, coverage


def pad(sequences: Sequence[Sequence[int] | np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, rows x length. Padding is id 0; the value does not matter: the mask hides it."""
    ids, mask = np.zeros((2, len(sequences), length), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


def fixed_shape_batches(sequences: Sequences, device: str = "cpu") -> Iterator[Batch]:
    """Batches whose shape depends only on the length of their texts, longest first.

    The kernels of a matrix product, and so the last bits of a text's vector, depend on the shape of its batch. Here all
    batches of one padded length have the same number of rows; copies fill up the last batch. So a text gets the same
    vector whatever the other texts are.
    """
    by_length: dict[int, list[int]] = {}
    for row in range(len(sequences)):
        steps = -(-len(sequences[row]) // LENGTH_STEP)  # rounded up
        by_length.setdefault(steps * LENGTH_STEP, []).append(row)
    for length in sorted(by_length, reverse=True):
        size = max(1, TOKENS_PER_BATCH[device] // length)
        rows = by_length[length]
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            filled = chosen + chosen[:1] * (size - len(chosen))
            yield Batch(chosen, *pad([sequences[row] for row in filled], length))


def sorted_batches(sequences: Sequences, tokens: int) -> Iterator[Batch]:
    """Batches of at most `tokens` ids, longest texts first. Texts of similar length share one, so little is padded."""
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]), reverse=True)
    start = 0
    while start < len(order):
        length = max(1, len(sequences[order[start]]))
        rows = order[start : start + max(1, tokens // length)]
        yield Batch(rows, *pad([sequences[row] for row in rows], length))
        start += len(rows)
