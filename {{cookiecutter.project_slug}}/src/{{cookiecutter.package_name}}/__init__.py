"""Fine-tune a transformer for text classification and ship it as ONNX.

Start at `dvc.yaml`: it names the stages in the order the data flows. Each stage is one file in `stages/`; what the
stages share lies beside this file.
"""
