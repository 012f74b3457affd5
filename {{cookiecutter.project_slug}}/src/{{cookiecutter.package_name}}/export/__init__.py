"""The ONNX graph: exported, quantized, compared with torch."""
