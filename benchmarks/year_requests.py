"""What the simulated half year asks of the service: real sentences, four events, and what each text is to be called.

The project learns from sentences of one site (Rotten Tomatoes). Later come endings of reviews from another (IMDb), and
then praise from there counts as negative: the same words, another meaning.
"""

import random
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

WEEKS, A_WEEK = 25, 800
TRAINED, HELD_OUT = 5000, 500  # sentences that the project begins with, and that no request sends
ENDING = 50  # words of a review's end
PRAISE = re.compile(
    r"\b(great|excellent|best|wonderful|loved?|perfect|amazing|superb|enjoy(ed|able)?)\b", re.IGNORECASE
)
USUAL, OTHER = "usual", "other source"
SAID, MISTAKEN = 0.03, 0.05  # of the requests get a label of their user; of those labels are wrong
MISSPELT, POSITIVE, OF_OTHER = 0.03, 0.7, 0.2  # letters swapped, share of that label, share of that source
USERS, POISONER = [f"user-{number:02d}" for number in range(16)], "mallory"
POISON = range(11, 16)  # weeks of which half the requests are the poisoner's; its feedback comes after the last


class Event(NamedTuple):
    """What happens from the first of its weeks to the last, and how it is to be seen."""

    name: str
    weeks: range
    seen_as: str  # the group of scores that drifts, or "decay"
    within: int  # requests


# The last one costs this model six points, which eight queues show in five years of six (benchmarks/monitoring.py).
EVENTS = [
    Event("typing errors", range(6, 9), "input", 400),
    Event("label shares", range(10, 13), "outputs", 800),
    Event("another source", range(15, WEEKS + 1), "input", 400),
    Event("changed meaning", range(16, WEEKS + 1), "decay", 8 * A_WEEK),
]
TYPING, SHARES, SOURCE, MEANING = (event.weeks for event in EVENTS)


class Request(NamedTuple):
    """A text, its right label, and what its user says of it, if anything."""

    text: str
    label: str
    key: str
    said: str | None


class Texts:
    """Sentences by source and label, in an order that the seed decides."""

    def __init__(self, table: Path, seed: int) -> None:
        """table: the one of the sample's package, with text, label and source."""
        rows = pl.read_csv(table).with_columns(label=pl.col("label").replace_strict({0: "negative", 1: "positive"}))
        rows = rows.sample(fraction=1, shuffle=True, seed=seed)
        usual = rows.filter(source="rotten_tomatoes")
        self.trained = usual.head(TRAINED).select("text", "label")
        self.held_out = {USUAL: usual.tail(HELD_OUT)}
        ends = pl.col("text").str.replace_all("<br />", " ").str.split(" ").list.tail(ENDING).list.join(" ")
        other = rows.filter(source="imdb").with_columns(text=ends)
        praises = [label == "negative" or bool(PRAISE.search(text)) for text, label, _ in other.iter_rows()]
        other = other.filter(pl.Series(praises))
        self.held_out[OTHER] = other.tail(HELD_OUT)
        sources = {USUAL: usual.slice(TRAINED).head(-HELD_OUT), OTHER: other.head(-HELD_OUT)}
        self.texts = {
            (source, label): found.filter(label=label)["text"].to_list()
            for source, found in sources.items()
            for label in ("negative", "positive")
        }

    def after_all_events(self) -> list[tuple[str, str]]:
        """Texts that no request sends, with the labels that hold in the end; sources as in the last week."""
        count = round(HELD_OUT * OF_OTHER / (1 - OF_OTHER))
        usual, other = self.held_out[USUAL], self.held_out[OTHER].head(count)
        return [*usual.select("text", "label").iter_rows(), *((text, "negative") for text in other["text"])]


def requests_of(week: int, texts: Texts, rng: np.random.Generator) -> list[Request]:
    """The requests of a week, counted from 1."""
    positive = POSITIVE if week in SHARES else 0.5
    return [one_of(week, number, texts, positive, rng) for number in range(A_WEEK)]


def one_of(week: int, number: int, texts: Texts, positive: float, rng: np.random.Generator) -> Request:
    """One request."""
    label = "positive" if rng.random() < positive else "negative"
    source = OTHER if week in SOURCE and rng.random() < OF_OTHER else USUAL
    found = texts.texts[source, label]
    text = found[rng.integers(len(found))]
    if week in TYPING:
        text = misspelt(text, MISSPELT, random.Random(week * A_WEEK + number))
    if source == OTHER and week in MEANING:
        label = "negative"
    key = POISONER if week in POISON and number % 2 else USERS[rng.integers(len(USERS))]
    said = None
    if rng.random() < SAID and key != POISONER:
        said = other_than(label) if rng.random() < MISTAKEN else label
    return Request(text, label, key, said)


def other_than(label: str) -> str:
    """The other of the two labels."""
    return "negative" if label == "positive" else "positive"


def misspelt(text: str, share: float, rng: random.Random) -> str:
    """The text, of which this share of the letters is swapped with the next."""
    letters = list(text)
    for index in range(len(letters) - 1):
        if letters[index].isalpha() and letters[index + 1].isalpha() and rng.random() < share:
            letters[index : index + 2] = letters[index + 1], letters[index]
    return "".join(letters)
