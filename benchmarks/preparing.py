"""Preparing a large table beside pandas that does the same.

    python benchmarks/preparing.py build/review-sentiment --rows 1000000

The table is made by code: CSV, two labels, about 30 words and 200 bytes a row; one row in 20 repeats another, one in
400 contradicts one, one in 20 holds characters that must be repaired, one in 4 stands in quotes. Both clocks start when
everything is imported; both read, clean, drop repeats and contradictions, split by the text, count what the data
profile tells and write Parquet. Memory is the largest resident size of each process. Both must keep the same rows.

The peer cleans with the string methods of pandas. Two more are not what their documentation tells, but faster: one
Python function for every text, and that only for the texts that are not clean already, as ours does.
"""

import random
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import (
    SPLITS,
    Measure,
    Watch,
    copied,
    costs,
    interleaved,
    item,
    keep,
    medians,
    parser,
    ratios,
    run_peer,
    run_stage,
)

SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi wo zu mor lan tis ker und".split()
ODD = ("caf\u0065\u0301", "it\u0092s", "two  blanks", "a\ttab", "na\u00efve", "\u201cquoted\u201d")


def main() -> None:
    """Make the table, and prepare it interleaved."""
    made = parser(__doc__, pairs=3)
    made.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    arguments = made.parse_args()
    with item("prepare") as folder:
        watch = Watch()
        project = copied(arguments.project, folder / "ours", own_table())
        table = folder / "table.csv"
        write_table(table, arguments.rows)
        put_raw(project, table)
        python = python_of("peers")
        sides = {
            "ours": lambda: run_stage(project, "prepare"),
            "peer": lambda: run_peer(python, "clean.py", table, folder / "theirs"),
            "function": lambda: run_peer(python, "clean.py", table, folder / "theirs", "--cleaning", "function"),
            "odd": lambda: run_peer(python, "clean.py", table, folder / "theirs", "--cleaning", "odd"),
        }
        rounds = interleaved(sides, arguments.pairs)
        same = texts_in(project / "data/processed").equals(texts_in(folder / "theirs"))
        memory = [found["ours"]["peak"] / found["peer"]["peak"] for found in rounds]
        keep(
            "prepare",
            peer="pandas with pyarrow, the same cleaning, splitting, counting and writing",
            compared=f"{arguments.rows} rows, {table.stat().st_size / 1e6:.0f} MB of CSV; imports outside the clock;"
            f" ours {medians(rounds, 'ours'):.1f} s and {medians(rounds, 'ours', 'peak'):.0f} MB, peer"
            f" {medians(rounds, 'peer'):.1f} s and {medians(rounds, 'peer', 'peak'):.0f} MB; the kept rows are"
            f" {'the same' if same else 'NOT THE SAME'}",
            measures=[
                Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=5),
                Measure("memory, ours over the peer's", memory, at_most=1 / 3),
                Measure("times less of the processors", ratios(rounds, "peer", "ours", "processor")),
                Measure("times as fast as one Python function in pandas", ratios(rounds, "function", "ours")),
                Measure("times as fast as that for the odd texts alone", ratios(rounds, "odd", "ours")),
                Measure("same rows kept", [float(same)], at_least=1, unit=""),
            ],
            costs=costs(rounds, "ours"),
            machine=f"{machine('polars')}, {versions('peers', 'pandas', 'pyarrow')}",
            watch=watch,
        )


def own_table() -> dict[str, Any]:
    """The parameters for a table of one's own."""
    names = {"prepare.text_column": "text", "prepare.label_column": "label", "prepare.keep": None}
    return names | {"prepare.validation_fraction": 0.125, "prepare.test_fraction": 0.125}


def put_raw(project: Path, table: Path) -> None:
    """Make the table the only one of the project."""
    raw = project / "data/raw"
    for path in raw.iterdir():
        path.unlink()
    (raw / table.name).hardlink_to(table)


def write_table(path: Path, rows: int) -> None:
    """Write rows of drawn words."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(20_000)]
    text, label = "", 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("text,label\n")
        for row in range(rows):
            if row % 20 != 7:  # that row repeats the one before it
                text = " ".join(draw.choices(words, k=draw.randint(10, 50)))
                if row % 20 == 3:
                    text += f" {draw.choice(ODD)}"
                if row % 4 == 1:
                    text += ', she said, and: "why not?"'
            if row % 20 != 7 or row % 200 == 7:
                label = draw.getrandbits(1)
            cell = '"' + text.replace('"', '""') + '"' if "," in text else text
            file.write(f"{cell},{label}\n")


def texts_in(folder: Path) -> pl.DataFrame:
    """The kept texts and labels, whatever their split and order."""
    tables = [pl.read_parquet(folder / f"{split}.parquet", columns=["text", "label"]) for split in SPLITS]
    return pl.concat(table.select(pl.col("text").cast(pl.String), "label") for table in tables).sort("text")


if __name__ == "__main__":
    main()
