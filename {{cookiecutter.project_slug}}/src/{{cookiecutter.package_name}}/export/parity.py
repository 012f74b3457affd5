"""Parity of the ONNX model with the torch model: nearly the same logits, on real and hard texts."""

import math
import sys
from collections.abc import Sequence

import numpy as np
import onnxruntime

from ..common.tasks import UNSCALED, TargetScale, label_disagreement, predictions_of
from ..config import Params, Task
from ..errors import UserError
from ..inference.classifier import run_in_order
from ..modeling.scores import paired_bootstrap, rounded, scores
from ..text.tokenization import Text

BATCH_SIZES = (1, 3, 32)
SAMPLES = 2000
LARGE = 10.0  # logits; a head trained on few rows that are easy to tell apart reaches 300
HARD_TEXTS = (
    "",
    " ",
    "a",
    "?!",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "这部电影很好看。",
    "映画はとても面白かった",
    "영화가 재미있었다",
    "فيلم رائع",
    "हिन्दी चलचित्र",
    "Ein Film über Größe, naïve Café-Bekanntschaften und İstanbul",
    "e\u0301 and \u00e9, \ufb01lm, \u2126, zero\u200bwidth",
    "nul\x00, bell\x07, escape\x1b and C1\x85",
    "[CLS] [MASK] [SEP] [PAD] [UNK]",
    "<s> <mask> </s> <pad>",
    "x" * 500,
    "word " * 2000,
    "1234567890 " * 40,
    "https://example.com/?q=a&b=c#d user@example.com",
    "\t\n\r tabs and lines \u2028\u00a0",
)


def differences(
    session: onnxruntime.InferenceSession, sequences: Sequence[Sequence[int]], expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each row's largest logit difference over all batch sizes, and the logits.

    expected: torch's logits, rows x outputs. The returned logits are those of the largest batches. Rows stay in order
    and are padded to the longest row of their batch; in batches of one there is no padding.
    """
    by_size = [run_in_order(session, sequences, size) for size in BATCH_SIZES]
    distance = np.max([np.abs(logits - expected).max(axis=1) for logits in by_size], axis=0)
    return distance, by_size[-1]


def limit_of(unit: TargetScale, expected: np.ndarray, limit: float) -> float:
    """By how much logits may differ. The limit grows with the logits, because float32 has few bits left for large ones.

    For labels, the limit itself, increased in proportion if the median of the rows' largest logits is above LARGE. For
    numbers, the limit times their unit, plus four units in the last place of the largest one.
    """
    largest = np.abs(expected).max(axis=1)
    if unit == UNSCALED:
        return limit * max(1.0, float(np.median(largest)) / LARGE)
    return limit * unit.scale + 4 * float(np.spacing(largest.max()))


def require_parity(distance: np.ndarray, texts: Sequence[Text], limit: float) -> None:
    """Raise UserError with the worst rows if any row differs by more than the limit.

    A row that lies between two labels may have another label within the limit. In many rows, there is one.
    """
    wrong = np.flatnonzero(~(distance <= limit))  # NaN too
    if len(wrong):
        worst = wrong[np.argsort(-np.nan_to_num(distance[wrong], nan=np.inf))][:5]
        raise UserError(
            "the ONNX model is not the torch model",
            expected=f"logits within {limit:.2g} on every row, in batches of {BATCH_SIZES}",
            found=f"{len(wrong)} of {len(texts)} rows differ; the worst:"
            + "".join(f"\n    row {row} by {distance[row]:.2g}: {str(texts[row])[:60]!r}" for row in worst),
            fix="change export_onnx.fused or export_onnx.opset, or raise export_onnx.max_logit_difference",
        )


def hard_texts(task: Task) -> list[Text]:
    """The hard texts, as pairs where the task takes pairs."""
    return list(zip(HARD_TEXTS, reversed(HARD_TEXTS), strict=True)) if task == "pair" else [*HARD_TEXTS]


def report(
    distance: np.ndarray, targets: np.ndarray, logits: dict[str, np.ndarray], params: Params
) -> dict[str, object]:
    """The parity report; raises UserError when int8 loses more on the validation rows than the parameters allow.

    distance: of fp32, on validation rows and hard texts, see `differences`; in units of
    `export_onnx.max_logit_difference`, see `limit_of`.
    logits: of the validation rows (rows x outputs), of `torch`, `fp32` and, if there is an int8 model, `int8` and
    `int8_alone`, which is int8 in batches of one row.
    """
    task, score, limit = params.task, params.score, params.export_onnx.max_int8_drop
    values = {name: predictions_of(task, rows) for name, rows in logits.items()}
    measured = {name: scores(task, targets, rows)[score] for name, rows in values.items() if name != "int8_alone"}
    found: dict[str, object] = {
        "rows": len(targets),
        "hard_texts": len(HARD_TEXTS),
        "batch_sizes": list(BATCH_SIZES),
        "fp32_logit_difference_below": power_of_ten_above(float(distance.max())),
        score: rounded(measured),
    }
    if "int8" not in values:
        return found
    drop = measured["fp32"] - measured["int8"]
    if drop > limit:
        refuse_real_drop(drop, params, targets, values["fp32"], values["int8"])
    return found | {
        "int8_label_disagreements": int(label_disagreement(task, values["int8"], values["torch"]).sum()),
        "int8_batch_dependent_labels": int(label_disagreement(task, values["int8"], values["int8_alone"]).sum()),
        f"int8_{score}_drop": round(drop, 6),
    }


def refuse_real_drop(drop: float, params: Params, targets: np.ndarray, fp32: np.ndarray, int8: np.ndarray) -> None:
    """Raise UserError if 95 % of bootstrap samples exceed the limit too; else the drop may be chance: print it."""
    score, limit = params.score, params.export_onnx.max_int8_drop
    least = float(np.quantile(paired_bootstrap(params.task, score, targets, fp32, int8, SAMPLES), 0.05))
    shows = f"{drop:.4f} on {len(targets)} rows, and in 95 % of samples of them at least {least:.4f}"
    if least > limit:
        raise UserError(
            "the int8 model loses too much",
            expected=f"{score} lower by at most {limit} on the validation rows, but for chance",
            found=shows,
            fix="ship fp32 alone: export_onnx.int8: false in params.yaml; or raise export_onnx.max_int8_drop",
        )
    print(f"int8 lowers {score} by {shows}: more than {limit}, perhaps by chance", file=sys.stderr)


def power_of_ten_above(value: float) -> float:
    """The next power of ten: the exact difference depends on the CPU, but its magnitude does not."""
    return float(f"1e{math.floor(math.log10(max(value, 1e-12))) + 1}")
