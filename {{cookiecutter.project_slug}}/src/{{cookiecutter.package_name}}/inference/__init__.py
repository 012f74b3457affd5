"""The shipped model without torch or transformers: `OnnxClassifier`, its outputs, and the texts of a file."""

from .classifier import OnnxClassifier as OnnxClassifier
