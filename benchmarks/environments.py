"""The peers' environments in build/, made when they are not there.

`peers` sees the packages of the environment that it is made from, so both sides run the same torch and transformers.
optimum-onnx and setfit need an older transformers and get everything anew.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / "build"
PACKAGES = {
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "litserve": ("litserve==0.2.19", "numpy", "onnxruntime", "tokenizers"),
    "peers": (
        "accelerate==1.15.0",
        "cookiecutter-data-science==2.3.0",
        "datasets==5.2.0",
        "matplotlib==3.11.2",
        "pandas==3.1.1",
        "pyarrow==26.0.1",
        "sentence-transformers==6.2.0",
        "torch==2.13.0",
        "transformers==5.23.0",
    ),
    "setfit": ("polars", "setfit==1.2.0", "torch==2.13.0", "transformers==4.57.6"),
    "shap": ("numpy", "onnxruntime", "shap==0.51.0", "tokenizers"),
    "optimum": ("torch==2.13.0", "transformers==4.57.6", "optimum-onnx==0.1.0", "onnxruntime"),
}


def python_of(name: str) -> Path:
    """The Python of an environment."""
    folder = BUILD / name
    python = folder / "bin/python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        if name == "peers":
            lib = next(folder.glob("lib/python*/site-packages"))
            (lib / "of_the_template.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        (folder / "installed").touch()
    return python


def versions(name: str, *packages: str) -> str:
    """The versions of packages in an environment, in one line."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [python_of(name), "-c", code, *packages]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return ", ".join(f"{package} {number}" for package, number in zip(packages, found, strict=True))


if __name__ == "__main__":
    for environment in PACKAGES:
        python_of(environment)
