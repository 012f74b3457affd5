"""Robustness of the shipped model to perturbed texts: typing errors, upper case, truncation, dropped words.

The perturbation of a text depends on the text itself and the seed, not on the rows around it.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..common.tasks import label_disagreement
from ..config import Evaluate, Params
from ..inference.classifier import OnnxClassifier
from ..modeling.scores import rounded, scores
from ..text.tokenization import Text


def robustness(
    params: Params, model: OnnxClassifier, texts: Sequence[Text], targets: np.ndarray, values: np.ndarray
) -> dict[str, dict[str, Any]]:
    """For each perturbation: the scores, the number of perturbed rows, and of labels that are not those of `values`."""
    found: dict[str, dict[str, Any]] = {}
    for kind in PERTURBATIONS:
        perturbed = [perturbed_text(kind, text, params.evaluate, params.seed) for text in texts]
        others = model.values(perturbed)
        changed = sum(new != old for new, old in zip(perturbed, texts, strict=True))
        found[kind] = rounded(scores(params.task, targets, others)) | {"perturbed_rows": changed}
        if params.task != "regression":
            found[kind]["label_disagreements"] = int(label_disagreement(params.task, others, values).sum())
    return found


def perturbed_text(kind: str, text: Text, settings: Evaluate, seed: int) -> Text:
    """The perturbed text, or both perturbed texts of a pair."""
    if isinstance(text, str):
        return perturb(kind, text, settings, seed)
    return perturb(kind, text[0], settings, seed), perturb(kind, text[1], settings, seed)


def perturb(kind: str, text: str, settings: Evaluate, seed: int) -> str:
    """One text, perturbed the same way in every call."""
    digest = hashlib.blake2b(f"{seed}\0{kind}\0{text}".encode(), digest_size=16).digest()
    return PERTURBATIONS[kind](text, np.random.default_rng(int.from_bytes(digest, "big")), settings)


def typing_errors(text: str, rng: np.random.Generator, settings: Evaluate) -> str:
    """Some letters omitted, doubled, or swapped with the next character."""
    hit = rng.random(len(text)) < settings.typing_errors
    mistake = rng.integers(0, 3, len(text))
    written: list[str] = []
    index = 0
    while index < len(text):
        letter, following = text[index], text[index + 1 : index + 2]
        if hit[index] and letter.isalpha():
            written.append(("", 2 * letter, following + letter)[mistake[index]])
            index += len(following) if mistake[index] == 2 else 0
        else:
            written.append(letter)
        index += 1
    return "".join(written)


def dropped_words(text: str, rng: np.random.Generator, settings: Evaluate) -> str:
    """Some words dropped, never all."""
    words = text.split()
    kept = [word for word, draw in zip(words, rng.random(len(words)), strict=True) if draw >= settings.dropped_words]
    return " ".join(kept or words[:1])


PERTURBATIONS: dict[str, Callable[[str, np.random.Generator, Evaluate], str]] = {
    "typing_errors": typing_errors,
    "upper_case": lambda text, _rng, _settings: text.upper(),
    "truncated": lambda text, _rng, settings: text[: math.ceil(settings.kept_share * len(text))],
    "dropped_words": dropped_words,
}
