"""Prepare a table of texts with pandas: clean, drop repeats and contradictions, split by text, write Parquet.

    python clean.py TABLE.csv OUT [--cleaning methods | function | odd] [--keep COLUMN VALUE]

The texts end up as those of the stage `prepare`: Windows characters repaired, composed to NFC, white space and control
characters folded, one row for each text, none for a text with two labels. The split of a text follows from its hash.
The counts of the data profile are made as well. The clock starts when everything is imported.

Cleaning: by the string methods of pandas; by one Python function for each text; or by it where a text is not clean.
"""

import argparse
import json
import unicodedata
from pathlib import Path

import pandas as pd
from clock import Clock

REPAIRED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
REPLACED = dict.fromkeys([*range(0x20), 0x7F], " ") | REPAIRED
REPAIRING = {"mangled_characters": "[\x80-\x9f]", "control_characters": "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"}
HELD_OUT = {"test": (0.0, 0.125), "validation": (0.125, 0.25), "train": (0.25, 1.0)}


def main() -> None:
    """Write three tables and the labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cleaning", choices=["methods", "function", "odd"], default="methods")
    parser.add_argument("--keep", nargs=2, metavar=("COLUMN", "VALUE"))
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    columns = ["text", "label", *(arguments.keep or [])[:1]]
    rows = pd.read_csv(arguments.table, usecols=columns, dtype=str, keep_default_na=False)
    if arguments.keep:
        column, value = arguments.keep
        rows = rows.loc[rows[column] == value, ["text", "label"]].copy()
    read = len(rows)
    rows["label"] = rows["label"].str.strip()
    raw = rows["text"]
    repaired = {name: int(raw.str.contains(signs).sum()) for name, signs in REPAIRING.items()}
    if arguments.cleaning == "methods":
        rows["text"] = raw.str.translate(REPLACED).str.normalize("NFC").str.split().str.join(" ")
    elif arguments.cleaning == "function":
        rows["text"] = raw.map(cleaned)
    else:
        odd = raw.str.contains(r"[^\x20-\x7e]|  |^ | $")
        rows.loc[odd, "text"] = raw[odd].map(cleaned)
    rows = rows[(rows["text"] != "") & (rows["label"] != "")]
    several = rows.drop_duplicates(["text", "label"])
    rows = several.drop_duplicates("text", keep=False)
    dropped = {"contradicting_labels": len(several) - len(rows), "others": read - len(several)}
    labels = sorted(rows["label"].unique())
    rows["label"] = rows["label"].map({label: place for place, label in enumerate(labels)}).astype("uint32")
    place = pd.util.hash_pandas_object(rows["text"], index=False) / 2.0**64
    kept = {}
    profile = {}
    for split, (low, high) in HELD_OUT.items():
        part = rows[(place >= low) & (place < high)]
        part.to_parquet(out / f"{split}.parquet", index=False, row_group_size=50_000)
        kept[split] = len(part)
        lengths = part["text"].str.len().quantile([0, 0.5, 0.9, 0.99, 1], interpolation="nearest")
        profile[split] = {"characters": list(lengths), "per_label": part["label"].value_counts().to_dict()}
    (out / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    counts = profile | {"read": read, "repaired": repaired, "dropped": dropped}
    (out / "profile.json").write_text(json.dumps(counts), encoding="utf-8")
    clock.tell(read=read, kept=kept)


def cleaned(text: str) -> str:
    """The text, one form for equal ones."""
    return " ".join(unicodedata.normalize("NFC", text.translate(REPLACED)).split())


if __name__ == "__main__":
    main()
