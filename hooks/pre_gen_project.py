"""Refuse bad answers before the project is made. Standard library only; nothing is written, asked or fetched."""

import json
import keyword
import re
import sys

answers = json.loads(r"""{{ cookiecutter | tojson }}""")  # tojson writes every ' as \u0027

# What the generated project imports; a package of the same name would hide it.
DEPENDENCIES = {
    "botocore",
    "coverage",
    "dvc",
    "dvc_s3",
    "fsspec",
    "gto",
    "huggingface_hub",
    "hypothesis",
    "joblib",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "polars",
    "psutil",
    "pydantic",
    "pyrefly",
    "pytest",
    "pytest_cov",
    "ruamel",
    "ruff",
    "s3fs",
    "safetensors",
    "scipy",
    "setuptools",
    "sklearn",
    "src",
    "tests",
    "tokenizers",
    "tools",
    "torch",
    "tqdm",
    "transformers",
}


def mistakes():
    """One line for each bad answer: the question, what was found, and a good answer."""

    def bad(question, pattern):
        return not re.fullmatch(pattern, answers[question])

    for question, good in {"project_name": "Review Sentiment", "description": "Tells…", "author_name": "Ada"}.items():
        if not answers[question].strip() or not answers[question].isprintable():
            yield question, f"{good} (one line of text)"
    if bad("project_slug", r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?"):  # it also names the model, by the rules of GTO
        yield "project_slug", "review-sentiment (lower-case letters, digits, - and _ between them)"
    package = answers["package_name"]
    if bad("package_name", r"[a-z_][a-z0-9_]*") or keyword.iskeyword(package) or keyword.issoftkeyword(package):
        yield "package_name", "review_sentiment (a Python identifier in lower case, no keyword)"
    elif package in DEPENDENCIES or package in sys.stdlib_module_names:
        yield "package_name", "review_sentiment (this one hides a package that the project needs)"
    if bad("author_email", r"[^@\s\"\\]+@[^@\s\"\\]+\.[^@\s\"\\]+"):
        yield "author_email", "ada@example.com"
    if bad("base_model", r"[\w.-]+(/[\w.-]+)?"):
        yield "base_model", "sentence-transformers/all-MiniLM-L6-v2 (its name on the hub)"
    if bad("dvc_remote", r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w./-]*)?|[\w./-]+"):
        yield (
            "dvc_remote",
            "../review-sentiment-storage (a directory: letters, digits and ./_-), or s3://my-bucket/path",
        )
    if answers["task"] == "pair" and answers["data_source"] == "sample":
        yield "task", "single_label (the sample has no second text; pairs need data_source files or hub)"


found = list(mistakes())
for question, good in found:
    print(f"error: {question}: found {answers[question]!r}, expected something like {good}", file=sys.stderr)
sys.exit(1 if found else 0)
