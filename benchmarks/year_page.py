"""The page of the half year: tables, a picture of its weeks, and what `make monitor` showed when decay was found."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
HEAD = """# Half a year, simulated

Written by `make simulate`; do not edit. {requests:,} requests, real sentences, go through the real service of a grown
production project, a few of them with feedback; four things happen to them. After each week of {a_week} a person types
`make monitor`; while something drifts also `make label-queue`, whose labels are those that the texts really have; then
`make retrain` and `make promote`. Nothing else is known to the project. The model is all-MiniLM-L6-v2, fine-tuned for
one epoch on 3,000 sentences; the settings are those of a new project, but `drift.window: 1000`, `drift.every: 200`, one
canary with half of the requests, and decay as the only reason to train anew.

{minutes:.0f} minutes on {machine}.

## What happened, and when it was seen

| event | weeks | what it is | seen after | promised within |
|---|---|---|---|---|
"""
WEEKS = """
## Week by week

True: the accuracy of what was answered, which the project does not know. Estimated: by ATC, without labels. Measured:
by the labels of a queue, with its 95 % interval.

| week | model | true | estimated | measured | alarms of the report | what was done |
|---|---|---|---|---|---|---|
"""
WHAT = {
    "typing errors": "3 % of the letters are swapped with the next",
    "label shares": "70 % of the texts are positive instead of 50 %",
    "another source": "20 % of the texts are endings of reviews from another site",
    "changed meaning": "praise from that site counts as negative now: a tenth of all texts",
}
SEEN = "#2a7f62"
BROKEN = "a model that breaks them again is refused"
SHOWN = 2  # findings of an alarm
HEIGHT = 1640  # pixels of the report: no text of the data below them
BANDS = ("#f2d7b6", "#d5e3f0", "#e4ddef", "#f3d3d3")


def write(found: dict[str, Any], page: Path, report: Path) -> None:
    """Write the page, its picture, and a picture of a report of `make monitor` where there is a browser."""
    pictures = {name: page.with_name(f"{page.stem}_{name}.png") for name in ("weeks", "report")}
    draw(found, pictures["weeks"])
    if BROWSER:
        screenshot(report, pictures["report"])
    weeks = found["weeks"]
    about = {
        "a_week": found["requests"] // len(weeks),
        **{name: found[name] for name in ("requests", "minutes", "machine")},
    }
    text = HEAD.format(**about) + "".join(map(event_row, found["events"]))
    text += f"\n![accuracy of each week]({pictures['weeks'].name})\n\n## What came of it\n\n" + outcome(found)
    text += WEEKS + "".join(map(week_row, weeks))
    text += f"\n## The report in the week of the decay\n\n![the page of make monitor]({pictures['report'].name})\n"
    page.write_text(text, encoding="utf-8")


def event_row(event: dict[str, Any]) -> str:
    """An event as a line of the table."""
    first, last = event["weeks"]
    after = "never" if event["after"] is None else f"{event['after']:,} requests"
    return f"| {event['name']} | {first} to {last} | {WHAT[event['name']]} | {after} | {event['within']:,} |\n"


def outcome(found: dict[str, Any]) -> str:
    """What was learned, and what was kept out."""
    retrained, (before, after), old = found["retrained"], found["new_texts"], found["old_test_rows"]
    lines = [
        f"**Retrained in week {retrained['week']}**, because measured accuracy fell, with {retrained['rows']:,}",
        "labelled texts: those of the queues, and what users said.",
        f"**On {found['held_out']} held-out texts drawn like the last week's**: accuracy",
        f"{before:.3f} before, {after:.3f} after.",
        f"**On the old test rows**: {old[0]:.3f} before, {old[1]:.3f} after.",
        f"**Poison**: one key submitted {found['poisoned']:,} wrong labels for its own texts.",
        f"{retrained['of_poisoner']} of them were trained on. `make feedback` says: `{'; '.join(retrained['named'])}`",
    ]
    if found["checks"][BROKEN]:
        lines += ["**Broken again**: without these labels the pipeline makes the first model anew; the gate refuses to",
                  "release it, because it has rows wrong that 1.1.0 has right."]  # fmt: skip
    if missed := [name for name, holds in found["checks"].items() if not holds]:
        lines.append(f"**Missed**: {', '.join(missed)}.")
    return "\n".join(("- " if line.startswith("**") else "  ") + line for line in lines) + "\n"


def week_row(week: dict[str, Any]) -> str:
    """A week as a line of the table."""
    measured = week.get("measured")
    shown = f"{measured['value']:.3f} [{measured['low']:.3f}, {measured['high']:.3f}]" if measured else ""
    alarms = "<br>".join("; ".join(alarm.split(": ", 1)[1].split("; ")[:SHOWN]) for alarm in week["alarms"])
    figures = f"{week['accuracy']:.3f} | {week['estimated']['atc']:.3f} | {shown}"
    return f"| {week['week']} | {week['version']} | {figures} | {alarms} | {'; '.join(week['done'])} |\n"


def draw(found: dict[str, Any], picture: Path) -> None:
    """Accuracy by week: true, estimated and measured, over the events."""
    weeks = found["weeks"]
    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    for event, color in zip(found["events"], BANDS, strict=True):
        first, last = event["weeks"]
        axes.axvspan(first - 0.5, last + 0.5, color=color, zorder=0, label=event["name"])
    number = [week["week"] for week in weeks]
    axes.plot(number, [week["accuracy"] for week in weeks], color="black", linewidth=2, label="true")
    axes.plot(
        number, [week["estimated"]["atc"] for week in weeks], color="#4c78a8", linestyle="--", label="estimated, ATC"
    )
    labelled = [week for week in weeks if "measured" in week]
    middle = [week["measured"]["value"] for week in labelled]
    spread = [[abs(week["measured"][end] - week["measured"]["value"]) for week in labelled] for end in ("low", "high")]
    axes.errorbar(
        [week["week"] for week in labelled], middle, spread, fmt="o", color=SEEN, capsize=3, label="measured by a queue"
    )
    steps = {"retrained": "retrained", "1.1.0 is a canary": "canary", "1.1.0 is the champion": "champion"}
    for week in weeks:
        for done, shown in steps.items():
            if any(one.startswith(done) for one in week["done"]):
                axes.axvline(week["week"] + 0.5, color="gray", linestyle=":", linewidth=1)
                axes.text(week["week"] + 0.4, axes.get_ylim()[0], f" {shown}", rotation=90, ha="right", fontsize=8)
    axes.set(xlabel="week", ylabel="accuracy", xlim=(0.5, len(weeks) + 0.5))
    axes.legend(loc="lower left", fontsize=7, ncols=2)
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def screenshot(page: Path, picture: Path) -> None:
    """A picture of a page in a browser without network."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size=1100,{HEIGHT}"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [str(BROWSER), *options, offline, f"--screenshot={picture}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
