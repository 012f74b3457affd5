"""The section of RESULTS.md about the GPU, drawn from results/gpu.json."""

from pathlib import Path
from typing import Any

TITLE = "## On a GPU"
NEXT = "\n## "


def section(record: dict[str, Any]) -> str:
    """The section in Markdown."""
    card = record["card"]
    driver = f", driver {card['driver']}" if card["driver"] else ""
    peaks = ", ".join(f"{rate:.0f} TFLOP/s in {name}" for name, rate in card["peak"].items())
    lines = [
        TITLE,
        "",
        f"Written by `make gpu-check` in {record['minutes']} minutes; do not edit. {card['card']}{driver};",
        f"{card['versions']}.",
        f"Matrix peak, measured: {peaks} (8192 x 8192 x 8192, without TF32).",
        "",
        "| check | precision | passed | found |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {check['what']} | {check['precision']} | {'yes' if check['passed'] else '**no**'} | {check['found']} |"
        for check in record["checks"]
    ]
    lines += [
        "",
        "BERT with random weights, texts of one length. Milliseconds of a step of so many tokens: median"
        " [5 %, 95 %] (n steps or batches of one process), and the share of the matrix peak that its matrix products"
        " reach. The Trainer computes without deterministic kernels, as it comes.",
        "",
        "| encoder | tokens | precision | embeddings | fine_tune | Trainer | times as fast | memory of the three, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(speed) for speed in record["speeds"]]
    if record["left_out"]:
        lines += ["", f"Not measured: {'; '.join(record['left_out'])}."]
    return "\n".join(lines) + "\n"


def row(speed: dict[str, Any]) -> str:
    """One line of the table of speeds."""
    parts = [speed[name] for name in ("embeddings", "fine_tune", "trainer")]
    cells = [speed["encoder"], str(speed["tokens"]), speed["precision"], *map(cell, parts)]
    trainer = speed["trainer"]
    cells.append(f"{trainer['milliseconds'] / speed['fine_tune']['milliseconds']:.2f}" if trainer else "–")
    cells.append(" / ".join(f"{part['gigabytes']:.1f}" if part else "–" for part in parts))
    return f"| {' | '.join(cells)} |"


def cell(part: dict[str, float] | None) -> str:
    """What one side took."""
    if part is None:
        return "–"
    spread = f"{part['milliseconds']:.1f} [{part['low']:.1f}, {part['high']:.1f}] ms (n = {part['n']})"
    return f"{spread}, {part['tokens_per_second']:,} tokens/s, {part['share_of_peak']:.0%}"


def put_section(path: Path, record: dict[str, Any]) -> None:
    """Write the section into a file of results, in place of the one before or at the end."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, after = text.partition(TITLE)
    rest = after[after.index(NEXT) :] if found and NEXT in after else ""
    path.write_text(before.rstrip("\n") + "\n\n" + section(record) + rest, encoding="utf-8")
