"""The plots of the default project, drawn with the network off."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workshop import Project

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FIRST_REVISION = (0x94, 0x5D, 0xD6)  # the colour in which DVC draws the first revision
PLOTS = ("calibration", "confusion_matrix", "per_class", "training_curve", "validation_loss", "validation_score")


def pixels(picture: Path, colour: tuple[int, int, int] = FIRST_REVISION) -> int:
    """How many pixels of a picture have about this colour."""
    image = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int((np.abs(image - np.array(colour)).max(axis=2) < 12).sum())


def screenshot(page: Path, picture: Path) -> Path:
    """What a browser shows of a page when it can reach no host."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--window-size=1000,2000"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [str(BROWSER), *options, offline, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    return picture


@pytest.fixture(scope="module")
def drawn(demo: Project) -> Path:
    """The directory that `make plots` wrote."""
    demo.run("make", "plots")
    assert demo.run("git", "status", "--porcelain") == ""
    return demo.path / "plots"


def test_every_plot_is_a_picture(drawn: Path) -> None:
    assert sorted(path.stem for path in drawn.glob("*.png")) == list(PLOTS)
    for name in PLOTS:
        width, height = Image.open(drawn / f"{name}.png").size
        assert (width > 400, height > 200) == (True, True)
    assert pixels(drawn / "training_curve.png") > 500
    assert pixels(drawn / "per_class.png") > 10_000
    shown = json.loads(
        re.search(r"of Object.entries\((.*)\)\) vegaEmbed", (drawn / "index.html").read_text("utf-8"))[1]
    )
    assert {"name": "showValues", "value": True}.items() <= shown["confusion_matrix"]["params"][0].items()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt install chromium-headless-shell")
def test_the_page_draws_without_a_network(drawn: Path, tmp_path: Path) -> None:
    page = (drawn / "index.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert (drawn / "index.html").stat().st_size < 2_000_000
    assert pixels(screenshot(drawn / "index.html", tmp_path / "page.png")) > 10_000
    without = tmp_path / "without.html"
    without.write_text(re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL), encoding="utf-8")
    assert pixels(screenshot(without, tmp_path / "without.png")) == 0
