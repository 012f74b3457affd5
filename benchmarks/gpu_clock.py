"""Run a module with a clock on its device: the time of each training step, or of each batch that an encoder reads.

    python benchmarks/gpu_clock.py steps    RECORD review_sentiment fine_tune     (in the project's root)
    python benchmarks/gpu_clock.py forwards RECORD review_sentiment embeddings

RECORD becomes a JSON file: `milliseconds` between the ends of two steps or batches, what the host does meanwhile
included; `shapes` (rows, tokens) of the batches; `memory`, the most that tensors took on the card, in GB. The clock
hangs on hooks of torch, so it measures every training loop alike.
"""

import json
import runpy
import sys
import time
from pathlib import Path

import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import PreTrainedModel


class DeviceClock:
    """The moments at which the device reached a mark. On a GPU nobody waits for it before the end."""

    def __init__(self) -> None:
        """Nothing is marked yet."""
        self.marks: list = []
        self.shapes: list[tuple[int, int]] = []

    def mark(self, *_: object) -> None:
        """Mark this moment."""
        if torch.cuda.is_available():
            self.marks.append(torch.cuda.Event(enable_timing=True))
            self.marks[-1].record()
        else:
            self.marks.append(time.perf_counter())

    def mark_encoder(self, module: torch.nn.Module, _: object, output: object) -> None:
        """Mark the end of a forward pass, if it is that of a whole encoder."""
        if isinstance(module, PreTrainedModel):
            self.shapes.append(tuple(output.last_hidden_state.shape[:2]))
            self.mark()

    def write(self, path: Path) -> None:
        """Write what was measured."""
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gaps = [start.elapsed_time(end) for start, end in pairs]
        else:
            gaps = [1000 * (end - start) for start, end in pairs]
        memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
        path.write_text(json.dumps({"milliseconds": gaps, "shapes": self.shapes, "memory": memory}), encoding="utf-8")


def main() -> None:
    """Run the module that the command line names."""
    kind, record, module, *arguments = sys.argv[1:]
    clock = DeviceClock()
    if kind == "steps":
        register_optimizer_step_post_hook(clock.mark)
    else:
        register_module_forward_hook(clock.mark_encoder)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    clock.write(Path(record))


if __name__ == "__main__":
    main()
