"""Fine-tune a transformer for text classification and ship it as ONNX.

Start at `dvc.yaml`: it names the stages in the order the data flows. Each stage is one file in `stages/`; what the
stages share lies beside this file.
"""

import os

# onnxruntime would note a number of this machine in the home directory and report how it is used.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
