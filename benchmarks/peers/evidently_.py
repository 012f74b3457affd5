"""Evidently's preset for drift, with its defaults, on streams: FILE.npz holds REFERENCE/n and NEW/n, rows x scores.

Prints for each pair the share of the columns that it finds drifted; its own verdict is at least one half.
"""

import json
import sys

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

with np.load(sys.argv[1]) as file:
    shares = []
    for number in range(len(file.files) // 2):
        old, new = (pd.DataFrame(file[f"{name}/{number}"]).add_prefix("score ") for name in ("REFERENCE", "NEW"))
        found = Report([DataDriftPreset()]).run(new, old).dict()["metrics"]
        shares.append(next(one["value"]["share"] for one in found if one["metric_name"].startswith("DriftedColumns")))
print(json.dumps(shares))
