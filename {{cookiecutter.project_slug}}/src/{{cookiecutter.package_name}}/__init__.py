"""Fine-tune a transformer for text classification and ship it as ONNX.

Start at `dvc.yaml`, which lists the stages in the order the data flows. Each stage is one file in `stages/`; the code
that the stages share lies beside that folder.
"""

import os

# Otherwise onnxruntime stores a number for this machine in the home directory and reports how it is used.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
