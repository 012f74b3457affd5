"""Write RESULTS.md and RESULTS.png from the records of the items: `make bench` does it in the end.

build/peers/bin/python benchmarks/results.py
"""

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from gpu_section import put_section
from items import RECORDS

HERE = Path(__file__).resolve().parent
MET, MISSED = "#2a7f62", "#c4532b"
HEAD = """# Measured beside what one would use instead

Written by `make bench`; do not edit. Each item runs this project's code and its peer interleaved in one run; a ratio is
taken within each pair. Median, in brackets the smallest and the largest; n pairs. Items without a clock, such as
simulations, have no pairs. Each record names the commit that it measured or came with; run an item again once its code
has changed.

| item | peer | measured | bar | median [smallest, largest] | n | bar met |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Read every record, write the table and the figure."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (HERE / "results").glob("*.json")}
    records = [found[name] for name in RECORDS if name in found]
    text = HEAD + "".join(row(record, measure) for record in records for measure in record["measures"])
    text += "\n![Each measure against its bar](RESULTS.png)\n\n## What was compared\n\n" + "".join(
        map(details, records)
    )
    missing = [name for name in RECORDS if name not in found]
    if missing:
        text += f"\nNot run: {', '.join(missing)}.\n"
    (HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    if "gpu" in found:
        put_section(HERE / "RESULTS.md", found["gpu"])
    draw(records, HERE / "RESULTS.png")
    barred = [measure for record in records for measure in record["measures"] if bar_of(measure) and measure["values"]]
    print(f"{sum(map(is_met, barred))} of {len(barred)} bars met; see benchmarks/RESULTS.md")


def row(record: dict[str, Any], measure: dict[str, Any]) -> str:
    """One line of the table."""
    values, bar = measure["values"], bar_of(measure)
    spread = "not measured"
    if values:
        low, middle, high = (number(value) for value in (min(values), statistics.median(values), max(values)))
        spread = middle if len(values) == 1 else f"{middle} [{low}, {high}]"
        spread += f" {measure['unit']}".rstrip()
    met = "" if not bar or not values else "yes" if is_met(measure) else "**no**"
    cells = [record["item"], record["peer"], measure["what"], bar, spread, str(len(values)), met]
    return f"| {' | '.join(cells)} |\n"


def bar_of(measure: dict[str, Any]) -> str:
    """The bar in words; empty where there is none."""
    for key, sign in (("at_least", "≥"), ("at_most", "≤")):
        if measure[key] is not None:
            return f"{sign} {number(measure[key])} {measure['unit']}".rstrip()
    return ""


def is_met(measure: dict[str, Any]) -> bool:
    """Whether the median holds the bar."""
    middle = statistics.median(measure["values"])
    return middle >= measure["at_least"] if measure["at_least"] is not None else middle <= measure["at_most"]


def number(value: float) -> str:
    """Two digits behind the point, or less where they say nothing."""
    if 0 < abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if abs(value) < 10 and value != int(value) else f"{value:.0f}"


def details(record: dict[str, Any]) -> str:
    """What stands behind one item."""
    costs = "; ".join(f"{name} {seconds:g} s" for name, seconds in record["costs"].items())
    spent = f" Most of ours: {costs}." if costs else ""
    busy = f" Other processes took {record['others']:.0%} of the processors."
    at = f" Commit {record['commit']}."
    return f"- **{record['item']}**: {record['compared']}.{spent} {record['machine']}.{busy}{at}\n"


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """One bar for each measure: how far it is beyond its bar (1), whichever way is better."""
    bars = [(record["item"], measure) for record in records for measure in record["measures"] if drawable(measure)]
    figure, axes = plt.subplots(figsize=(8, 0.34 * len(bars) + 1.2), dpi=100)
    for place, (_, measure) in enumerate(reversed(bars)):
        values = measure["values"]
        median = statistics.median(values)
        low, middle, high = sorted(beyond(measure, value) for value in (min(values), median, max(values)))
        error = [[middle - low], [high - middle]]
        axes.barh(place, middle, xerr=error, color=MET if middle >= 1 else MISSED, ecolor="#555555", height=0.6)
        axes.text(high * 1.03, place, f"{number(median)} ({bar_of(measure)})", va="center", fontsize=7)
    axes.set_yticks(range(len(bars)), [f"{name}: {measure['what']}" for name, measure in reversed(bars)], fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("median against its bar (right of the line: held); whiskers: smallest and largest", fontsize=8)
    axes.margins(x=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def drawable(measure: dict[str, Any]) -> bool:
    """Whether a measure has a bar that it can be divided by, and is more than yes or no."""
    bar = measure["at_least"] if measure["at_least"] is not None else measure["at_most"]
    return bool(bar) and not measure["what"].startswith("same") and min(measure["values"], default=0) > 0


def beyond(measure: dict[str, Any], value: float) -> float:
    """More than 1 where the bar is held."""
    return value / measure["at_least"] if measure["at_least"] is not None else measure["at_most"] / value


if __name__ == "__main__":
    main()
