"""What every peer says of itself in its last line."""

import json
import sys
import time
from pathlib import Path


class Clock:
    """Seconds, and those of all processors, since it was made."""

    def __init__(self) -> None:
        """Start it."""
        self.began = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Those that have passed."""
        return time.perf_counter() - self.began[0]

    def tell(self, **more: object) -> None:
        """Print them, the largest resident memory in MB, and whatever else there is, as JSON."""
        processor = time.process_time() - self.began[1]
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peak = next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
        found = {"seconds": self.seconds(), "processor": processor, "peak": peak} | more
        sys.stdout.write(f"\n{json.dumps(found)}\n")
