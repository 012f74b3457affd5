"""The shipped model without torch or transformers: `OnnxClassifier` and its outputs."""

from .classifier import OnnxClassifier as OnnxClassifier
