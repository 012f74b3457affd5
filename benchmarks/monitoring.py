"""What monitoring finds on real sentences, and how often it errs.

    python benchmarks/monitoring.py build/production/review-sentiment

A stream that nothing happens to must be of the same texts as the test rows and hold none of them, and 5,000 rows drawn
with replacement from a thousand are not: what is odd about that thousand comes again and again. So the model is
trained anew, on a quarter of the rows. The others are shuffled for each stream: a thousand stand for the test rows, the
stream is drawn from the rest, no row twice.
"""

import random
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import SPLITS, Measure, Watch, copied, item, keep, package_of, parser, run_peer, run_stage
from scipy.stats import binomtest
from year_requests import misspelt

STREAMS, LENGTH, TEST_ROWS = 200, 5000, 1066  # as many as an eighth of the sample is
FOREIGN, TRIALS, DECAYS = 1500, 200, 400
PEER_STREAMS, PEER_EVERY = 40, 500
YEARS, BEGIN, A_WEEK, QUEUE_LABELS, QUEUE_ERROR = 400, 10, 800, 300, 0.0185
LABELS = 600  # after which a decay that is not found counts as that many
QUIET, SHIFTED = 3000, 1500  # rows before something happens, and after it
SHIFTS = ("5 % of letters swapped", "labels 50 to 70 %", "20 % of another source")
STAGES = ("prepare", "embeddings", "fine_tune", "export_onnx")
QUARTER = {"prepare.validation_fraction": 0.13, "prepare.test_fraction": 0.62}


def main() -> None:
    """Measure."""
    project = parser(__doc__).parse_args().project
    with item("monitoring") as folder:
        watch = Watch()
        quarter = copied(project, folder / "quarter", QUARTER)
        for stage in STAGES:
            run_stage(quarter, stage)
        found = Simulation(quarter, project / "monitoring.yaml")
        drift, estimates, decay, queues = found.drift(), found.estimates(), found.decay(), found.queues()
        peer = found.evidently(folder / "streams.npz")
        keep(
            "monitoring",
            peer="itself",
            compared=f"{drift[1]}; {estimates[1]}; {decay[1]}; {queues[1]}; {peer[1]}",
            measures=[*drift[0], *estimates[0], *decay[0], *queues[0], *peer[0]],
            machine=f"{machine('onnxruntime')}, {versions('evidently', 'evidently')}",
            watch=watch,
        )


class Simulation:
    """Streams of rows whose predictions are computed once."""

    def __init__(self, project: Path, settings: Path) -> None:
        """Run the model of a project over all rows. settings: a monitoring.yaml."""
        sys.path.insert(0, str(project / "src"))
        package = f"{package_of(project)}.monitoring"
        names = ("decay", "drift", "queue", "reference", "settings", "shares", "vectors")
        self.code = SimpleNamespace(**{name: import_module(f"{package}.{name}") for name in names})
        self.settings = self.code.settings.load_monitoring(settings)
        self.encoder = self.code.vectors.Encoder(project / "models/onnx")
        tables = {name: pl.read_parquet(project / f"data/processed/{name}.parquet") for name in SPLITS}
        train = tables["train"].sample(min(self.settings.drift.train_rows, tables["train"].height), seed=0)
        self.train = self.encoder.of(train["text"].to_list()).vectors
        held = pl.concat([tables["validation"], tables["test"]])
        texts, targets = held["text"].to_list(), held["label"].to_numpy().astype(np.int64)
        raw = pl.read_csv(next((project / "data/raw").glob("*.csv")))
        other = raw.filter(pl.col("source") == "imdb").sample(FOREIGN, seed=0)
        self.held = self.rows(texts, targets)
        self.spoiled = {percent: self.rows(swapped(texts, percent / 100), targets) for percent in (5, 8)}
        self.other = self.rows(other["text"].to_list(), other["label"].to_numpy())

    def rows(self, texts: list[str], targets: np.ndarray) -> Any:
        """What the model makes of texts, as the columns of a reference."""
        encoded = self.encoder.of(texts)
        distance = self.code.reference.distances(encoded.vectors, self.train, self.settings.drift.neighbours)
        columns = encoded.values, targets, encoded.characters, encoded.tokens, encoded.unknown_tokens, distance
        return self.code.reference.Reference(*columns, self.train)

    def some(self, rows: Any, index: np.ndarray, others: Any = None, more: np.ndarray | None = None) -> Any:
        """Some of the rows, and behind them some of others."""
        parts = [(rows, index)] if others is None else [(rows, index), (others, more)]
        columns = [name for name in vars(rows) if name != "train"]
        joined = {name: np.concatenate([getattr(one, name)[n] for one, n in parts]) for name in columns}
        return type(rows)(**joined, train=self.train)

    def scores(self, rows: Any) -> Any:
        """The scores that are tested."""
        return self.code.drift.scores_of(rows, rows.distance, "single_label", self.encoder.classifier.labels)

    def split(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The indices of rows that stand for the test rows, and of those for streams."""
        order = rng.permutation(len(self.held.targets))
        return order[:TEST_ROWS], order[TEST_ROWS:]

    def drawn(self, shift: str, pool: np.ndarray, count: int, rng: np.random.Generator) -> Any:
        """Rows of a stream to which something happened."""
        if shift.endswith("of letters swapped"):
            return self.some(self.spoiled[int(shift[0])], pool[:count])
        if shift.endswith("of another source"):
            foreign = rng.binomial(count, int(shift[:2]) / 100)
            mixed = self.some(self.held, pool[: count - foreign], self.other, rng.permutation(FOREIGN)[:foreign])
            return self.some(mixed, rng.permutation(count))
        if shift == "labels 50 to 70 %":
            return self.labelled(pool, rng.binomial(count, 0.7), count, rng)
        return self.some(self.held, pool[:count])

    def labelled(self, pool: np.ndarray, positive: int, count: int, rng: np.random.Generator) -> Any:
        """Rows of which so many are positive."""
        others, of_label = (pool[self.held.targets[pool] == label] for label in (0, 1))
        return self.some(self.held, rng.permutation(np.append(of_label[:positive], others[: count - positive])))

    def drift(self) -> tuple[list[Measure], str]:
        """Quiet streams, and detection in one first look."""
        settings, alarmed = self.settings.drift, 0
        for seed in range(STREAMS):
            test_rows, pool = self.split(np.random.default_rng(seed))
            stream = self.scores(self.some(self.held, pool[:LENGTH]))
            looks = self.code.drift.looks(stream, self.scores(self.some(self.held, test_rows)), settings)
            alarmed += any(look.drifted for look in looks)
        interval = binomtest(alarmed, STREAMS).proportion_ci()
        quiet = f"streams of {LENGTH} without drift that alarm at any of {len(looks)} looks"
        measures = [Measure(f"{quiet}: share", [alarmed / STREAMS], at_most=settings.level, unit="")]
        for count, bars in {100: (0.95, 0.4, 0.4), 500: (0.99, 0.9, 0.95)}.items():
            for shift, bar in zip(SHIFTS, bars, strict=True):
                found = np.mean([self.detected(shift, count, seed) for seed in range(TRIALS)])
                measures.append(Measure(f"found in a look at {count}: {shift}", [float(found)], at_least=bar, unit=""))
        for shift in SHIFTS:
            delays = [self.delay(shift, seed) for seed in range(TRIALS // 4)]
            measures.append(Measure(f"rows until found behind {QUIET}: {shift}", delays, unit=""))
        accuracy = self.right(self.held).mean()
        return measures, (
            f"model trained on a quarter of the sample, accuracy {accuracy:.3f}; {alarmed} of {STREAMS} quiet streams "
            f"alarmed, 95 % interval {interval.low:.3f} to {interval.high:.3f}; detection {TRIALS} draws each"
        )

    def detected(self, shift: str, count: int, seed: int) -> bool:
        """Whether a first look at so many rows finds it."""
        rng = np.random.default_rng(seed)
        test_rows, pool = self.split(rng)
        new, old = self.drawn(shift, pool, count, rng), self.some(self.held, test_rows)
        level = self.settings.drift.level / 2  # of a first look
        return any(one.drifted for one in self.code.drift.compare(self.scores(new), self.scores(old), level))

    def delay(self, shift: str, seed: int) -> float:
        """How many rows of a stream a shift has reached when it is found; as many as there are where it is not."""
        rng = np.random.default_rng(seed)
        test_rows, pool = self.split(rng)
        parts = self.some(self.held, pool[:QUIET]), self.drawn(shift, pool[QUIET:], SHIFTED, rng)
        before, after = map(self.scores, parts)
        stream = {name: one._replace(rows=np.append(one.rows, after[name].rows)) for name, one in before.items()}
        looks = self.code.drift.looks(stream, self.scores(self.some(self.held, test_rows)), self.settings.drift)
        found = [look.stop - QUIET for look in looks if look.stop > QUIET and look.drifted]
        return float(found[0] if found else SHIFTED)

    def right(self, rows: Any) -> np.ndarray:
        """Which rows are predicted right."""
        return self.code.decay.right_rows("single_label", rows.targets, rows.values)

    def evidently(self, path: Path) -> tuple[list[Measure], str]:
        """Evidently's default rule on some of the same streams, looked at less often because a look takes its time."""
        pairs: dict[str, list[tuple[Any, Any]]] = {}
        for seed in range(PEER_STREAMS):
            test_rows, pool = self.split(np.random.default_rng(seed))
            old, stream = self.some(self.held, test_rows), self.some(self.held, pool[:LENGTH])
            stops = range(PEER_EVERY, LENGTH + 1, PEER_EVERY)
            looks = [self.some(stream, np.arange(max(0, stop - PEER_EVERY), stop)) for stop in stops]
            pairs[f"quiet {seed}"] = [(old, look) for look in looks]
            for count in (100, 500):
                for shift in SHIFTS:
                    rng = np.random.default_rng(seed)
                    test_rows, pool = self.split(rng)
                    drawn = self.drawn(shift, pool, count, rng)
                    pairs.setdefault(f"{count}: {shift}", []).append((self.some(self.held, test_rows), drawn))
        flat = [pair for some in pairs.values() for pair in some]
        arrays = {f"{name}/{number}": self.table(rows) for number, pair in enumerate(flat)
                  for name, rows in zip(("REFERENCE", "NEW"), pair, strict=True)}  # fmt: skip
        np.savez(path, **arrays)
        shares = iter(run_peer(python_of("evidently"), "evidently_.py", path))
        found = {name: [next(shares) >= 0.5 for _ in some] for name, some in pairs.items()}
        quiet = float(np.mean([any(looks) for name, looks in found.items() if name.startswith("quiet")]))
        measures = [
            Measure(f"Evidently: quiet streams that alarm at any of {LENGTH // PEER_EVERY} looks", [quiet], unit="")
        ]
        for name, looks in found.items():
            if not name.startswith("quiet"):
                measures.append(Measure(f"Evidently: found in a look at {name}", [float(np.mean(looks))], unit=""))
        return measures, f"Evidently: its preset for drift on the same scores, {PEER_STREAMS} streams and draws each"

    def table(self, rows: Any) -> np.ndarray:
        """The scores as columns."""
        return np.column_stack([score.rows for score in self.scores(rows).values()])

    def estimates(self) -> tuple[list[Measure], str]:
        """Errors of the accuracy and of the label shares that are estimated from 500 rows."""
        measures, texts = [], []
        for shift in ("nothing", "8 % of letters swapped", "30 % of another source", "20 % of labels flipped"):
            truth, given = zip(*(self.estimate(shift, seed) for seed in range(TRIALS)), strict=True)
            errors = np.abs(np.array(given) - np.array(truth)[:, None]).mean(axis=0)
            means = ", ".join(
                f"{name} {mean:.3f}" for name, mean in zip(given[0]._fields, np.mean(given, axis=0), strict=True)
            )
            texts.append(f"{shift}: accuracy {np.mean(truth):.3f}, {means}")
            bar = 0.05 if shift[0] in "38" else None
            for name, error in zip(given[0]._fields, errors, strict=True):
                limit = bar if name == "cbpe" else None
                what = f"error of accuracy by {name}, {shift}"
                measures.append(Measure(what, [float(error)], at_most=limit, unit=""))
        errors = np.mean([self.shares(seed) for seed in range(TRIALS // 4)], axis=0)
        for method, error in zip(self.code.shares.ESTIMATORS, errors, strict=True):
            measures.append(Measure(f"error of the label's share by {method}", [float(error)], unit=""))
        return measures, f"estimates of 500 rows, {TRIALS} draws each, mean absolute errors: {'; '.join(texts)}"

    def estimate(self, shift: str, seed: int) -> tuple[float, Any]:
        """The true accuracy of 500 rows, and what is estimated."""
        rng = np.random.default_rng(seed)
        test_rows, pool = self.split(rng)
        new, old = self.drawn(shift, pool, 500, rng), self.some(self.held, test_rows)
        right = self.right(new)
        right ^= rng.random(len(right)) < (0.2 if shift == "20 % of labels flipped" else 0)
        return right.mean(), self.code.decay.estimated("single_label", new.values, old.values, self.right(old))

    def shares(self, seed: int) -> list[float]:
        """The errors of each method where 20 to 80 % of 500 rows are positive."""
        rng = np.random.default_rng(seed)
        test_rows, pool = self.split(rng)
        positive = rng.integers(100, 401)
        new, old = self.labelled(pool, positive, 500, rng), self.some(self.held, test_rows)
        labels = self.encoder.classifier.labels
        found = self.code.shares.label_shares("single_label", labels, new.values, old.values, old.targets, seed)
        return [abs(share.share - positive / 500) for share in found if share.label == labels[1]]

    def decay(self) -> tuple[list[Measure], str]:
        """Labels until a drop of ten points is found, and false alarms."""
        level, accuracy = self.settings.decay.level, self.right(self.held).mean()
        needed, false = [], 0
        for seed in range(DECAYS):
            rng = np.random.default_rng(seed)
            right = rng.binomial(TEST_ROWS, accuracy)
            fallen, same = (rng.random(LABELS) < accuracy - drop for drop in (0.1, 0.0))
            alarm = self.code.decay.decay(fallen.astype(float), right, TEST_ROWS, level).alarm
            needed.append(LABELS if alarm is None else alarm + 1)
            false += self.code.decay.decay(same.astype(float), right, TEST_ROWS, level).alarm is not None
        within = float(np.mean(np.array(needed) <= 250))
        return [
            Measure("labels until a drop of 10 points is found", [float(n) for n in needed], at_most=250, unit=""),
            Measure("the same: share within 250", [within], unit=""),
            Measure(f"false alarms within {LABELS} labels", [false / DECAYS], at_most=level, unit=""),
        ], f"decay: {DECAYS} draws of {TEST_ROWS} test rows and {LABELS} labels each"

    def queues(self) -> tuple[list[Measure], str]:
        """Weekly label queues until a fall is found that begins with the tenth, and false alarms of a year.

        Their estimates are drawn from a normal distribution, with the error that the simulated half year has.
        """
        decay, level, accuracy = self.code.decay, self.settings.decay.level / 2, self.right(self.held).mean()
        measures = []
        for fall in (0.0, 0.06, 0.1):
            found = np.array([self.first_alarm(fall, level, accuracy, seed) for seed in range(YEARS)])
            if not fall:
                false = float(np.mean(found < decay.A_YEAR))
                measures.append(Measure("years of queues with a false alarm", [false], at_most=level, unit=""))
            for weeks in (1, 2, 4, 8) if fall else ():
                what = f"a fall of {100 * fall:.0f} points found by the queues of so many weeks: {weeks}"
                measures.append(Measure(what, [float(np.mean(found < BEGIN + weeks))], unit=""))
        return measures, f"queues: {YEARS} years, a standard error of {QUEUE_ERROR} of {A_WEEK} predictions each"

    def first_alarm(self, fall: float, level: float, accuracy: float, seed: int) -> int:
        """The index of the queue that alarms first, A_YEAR where none does."""
        rng, weeks = np.random.default_rng(seed), self.code.decay.A_YEAR
        now = accuracy - fall * (np.arange(weeks) >= BEGIN)
        means = rng.normal(rng.binomial(A_WEEK, now) / A_WEEK, QUEUE_ERROR)
        queues = [self.code.queue.Estimate(mean, QUEUE_ERROR, 0.0, 1.0, QUEUE_LABELS, A_WEEK) for mean in means]
        falls = self.code.queue.falls_in(queues, rng.binomial(TEST_ROWS, accuracy), TEST_ROWS, level)
        return next((week for week, seen in enumerate(falls) if seen), weeks)


def swapped(texts: list[str], share: float) -> list[str]:
    """Texts in which this share of the letters changed places with the next."""
    rng = random.Random(0)
    return [misspelt(text, share, rng) for text in texts]


if __name__ == "__main__":
    main()
