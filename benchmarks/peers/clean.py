"""Prepare a table of texts with pandas: clean, drop repeats and contradictions, split by text, write Parquet.

    python clean.py TABLE.csv OUT [--only-odd] [--keep COLUMN VALUE]

The texts end up as those of the stage `prepare`: Windows characters mended, composed to NFC, white space and control
characters folded, one row for each text, none for a text with two labels. The split of a text follows from its hash.
The clock starts when everything is imported. With --only-odd, texts that are clean already are left as they are.
"""

import argparse
import json
from pathlib import Path

import pandas as pd
from clock import Clock

MENDED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
REPLACED = dict.fromkeys([*range(0x20), 0x7F], " ") | MENDED
HELD_OUT = {"test": (0.0, 0.125), "validation": (0.125, 0.25), "train": (0.25, 1.0)}


def main() -> None:
    """Write three tables and the labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only-odd", action="store_true")
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
    if arguments.only_odd:
        odd = rows["text"].str.contains(r"[^\x20-\x7e]|  |^ | $", regex=True)
        rows.loc[odd, "text"] = cleaned(rows.loc[odd, "text"])
    else:
        rows["text"] = cleaned(rows["text"])
    rows = rows[(rows["text"] != "") & (rows["label"] != "")]
    rows = rows[rows.groupby("text")["label"].transform("nunique") == 1].drop_duplicates("text")
    labels = sorted(rows["label"].unique())
    rows["label"] = rows["label"].map({label: place for place, label in enumerate(labels)}).astype("uint32")
    place = pd.util.hash_pandas_object(rows["text"], index=False) / 2.0**64
    kept = {}
    for split, (low, high) in HELD_OUT.items():
        part = rows[(place >= low) & (place < high)]
        part.to_parquet(out / f"{split}.parquet", index=False, row_group_size=50_000)
        kept[split] = len(part)
    (out / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    clock.tell(read=read, kept=kept)


def cleaned(texts: pd.Series) -> pd.Series:
    """The texts, one form for equal ones."""
    return texts.str.translate(REPLACED).str.normalize("NFC").str.split().str.join(" ")


if __name__ == "__main__":
    main()
