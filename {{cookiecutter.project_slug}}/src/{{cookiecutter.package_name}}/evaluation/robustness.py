"""How the shipped model bears texts that are not as neat as those it was trained on.

What becomes of a text follows from the text itself and the seed, not from the rows around it.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..common.metrics import DECIMALS, scores
from ..common.tasks import decided_otherwise
from ..config import Evaluate, Task
from ..inference.classifier import OnnxClassifier
from ..text.tokenization import Text

Draw = np.random.Generator
Change = Callable[[str, Draw, Evaluate], str]


def robustness(
    task: Task,
    model: OnnxClassifier,
    texts: Sequence[Text],
    targets: np.ndarray,
    before: np.ndarray,
    *,
    knobs: Evaluate,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The scores of the model on every kind of changed texts, and how many of them changed and got another answer.

    before: what it says of the texts as they are.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind in CHANGES:
        changed = [changed_text(kind, text, knobs, seed) for text in texts]
        values = model.values(changed)
        found[kind] = {name: round(value, DECIMALS) for name, value in scores(task, targets, values).items()}
        found[kind]["rows_changed"] = sum(new != old for new, old in zip(changed, texts, strict=True))
        if task != "regression":
            found[kind]["rows_decided_otherwise"] = int(decided_otherwise(task, values, before).sum())
    return found


def changed_text(kind: str, text: Text, knobs: Evaluate, seed: int) -> Text:
    """The text, or both texts of a pair, changed in this way."""
    if not isinstance(text, str):
        first, second = text
        return change(kind, first, knobs, seed), change(kind, second, knobs, seed)
    return change(kind, text, knobs, seed)


def change(kind: str, text: str, knobs: Evaluate, seed: int) -> str:
    """One text changed in this way, always the same."""
    digest = hashlib.blake2b(f"{seed}\0{kind}\0{text}".encode(), digest_size=16).digest()
    return CHANGES[kind](text, np.random.default_rng(int.from_bytes(digest, "big")), knobs)


def typing_errors(text: str, draw: Draw, knobs: Evaluate) -> str:
    """Some letters left out, doubled, or exchanged with the next character."""
    hit = draw.random(len(text)) < knobs.typing_errors
    mistake = draw.integers(0, 3, len(text))
    written: list[str] = []
    place = 0
    while place < len(text):
        letter, after = text[place], text[place + 1 : place + 2]
        if hit[place] and letter.isalpha():
            written.append(("", 2 * letter, after + letter)[mistake[place]])
            place += len(after) if mistake[place] == 2 else 0
        else:
            written.append(letter)
        place += 1
    return "".join(written)


def upper_case(text: str, _draw: Draw, _knobs: Evaluate) -> str:
    """All letters large."""
    return text.upper()


def truncated(text: str, _draw: Draw, knobs: Evaluate) -> str:
    """The beginning alone."""
    return text[: math.ceil(knobs.kept_share * len(text))]


def dropped_words(text: str, draw: Draw, knobs: Evaluate) -> str:
    """Some words left out, never all."""
    words = text.split()
    kept = [word for word, place in zip(words, draw.random(len(words)), strict=True) if place >= knobs.dropped_words]
    return " ".join(kept or words[:1])


CHANGES: dict[str, Change] = {
    "typing_errors": typing_errors,
    "upper_case": upper_case,
    "truncated": truncated,
    "dropped_words": dropped_words,
}
