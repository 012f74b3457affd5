"""The shipped model without torch or transformers: `from {{ cookiecutter.package_name }}.inference import OnnxClassifier`."""

from .classifier import OnnxClassifier as OnnxClassifier
