"""`make look` on the small project: its page in a browser that can reach no host."""

import re
from base64 import b64decode
from pathlib import Path

import pytest
import vl_convert
from test_plots import BROWSER, pixels, screenshot
from workshop import Project

pytestmark = pytest.mark.slow

SECTIONS = ("data", "training", "confusion", "texts", "label-errors", "map", "robustness")
PICTURES = {"Characters of a text", "calibration", "per class", "training curve", "validation loss", "validation score"}


@pytest.fixture(scope="module")
def page(small: Project) -> Path:
    """What `make look` wrote."""
    small.run("make", "look")
    assert small.run("git", "status", "--porcelain") == ""
    return small.path / "plots/look.html"


def test_the_page_needs_nothing_else_and_is_the_same_each_time(small: Project, page: Path) -> None:
    shown = page.read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="([^"]+)"', shown) == list(SECTIONS)
    assert not re.search(r'<script|<link|@import|(?:src|href)="(?!data:|#)', shown)
    assert set(re.findall(r'href="#([^"]+)"', shown)) <= set(re.findall(r' id="([^"]+)"', shown))
    small.run("make", "look")
    assert page.read_text(encoding="utf-8") == shown


def test_the_counts_are_those_of_the_reports(small: Project, page: Path) -> None:
    shown = page.read_text(encoding="utf-8")
    pairs = small.text("reports/evaluation/confusion_matrix.csv").splitlines()[1:]
    for pair in set(pairs):
        names = pair.replace(",", "</bdi> → <bdi>")  # each by itself, or Hebrew names change sides
        assert f"<summary><bdi>{names}</bdi>: {pairs.count(pair)}</summary>" in shown
    wrong = sum(len(set(pair.split(","))) == 2 for pair in pairs)
    assert wrong > 0
    assert shown.count('" class="wrong">') == wrong
    of_fold = "from tools.look import page; print(page.page(page.facts() | {'robustness': {}}))"
    last = small.try_to("python", "-c", of_fold).stdout.partition('<h2 id="robustness">')[2]
    assert last.split() == 'Robustness</h2> <p class="note">Not measured on folds.</p> </body> </html>'.split()


def test_no_picture_is_blank(page: Path, tmp_path: Path) -> None:
    shown = page.read_text(encoding="utf-8")
    pictures = dict(re.findall(r'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([^"]+)"', shown))
    assert pictures.keys() == PICTURES
    for name, picture in pictures.items():
        drawn = tmp_path / f"{name}.png"
        drawn.write_bytes(vl_convert.svg_to_png(b64decode(picture).decode()))
        assert max(pixels(drawn, colour) for colour in ((0x94, 0x5D, 0xD6), (0x4C, 0x78, 0xA8))) > 100


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt install chromium-headless-shell")
def test_a_browser_shows_the_map(page: Path, tmp_path: Path) -> None:
    alone = tmp_path / "map.html"
    shown = page.read_text(encoding="utf-8")
    alone.write_text(shown.partition("<h1>")[0] + shown[shown.index('<h2 id="map">') :], encoding="utf-8")
    drawn = screenshot(alone, tmp_path / "map.png")
    blue, orange = (0x9A, 0xB3, 0xCF), (0xFA, 0xBC, 0x7E)  # of the two labels, over white
    assert min(pixels(drawn, blue), pixels(drawn, orange)) > 100


def test_a_run_that_is_stale_or_missing_is_refused(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.set_params(fine_tune__learning_rate=0.002)
    done = project.try_to("make", "look")
    assert done.returncode != 0
    assert "error: the results are stale\n" in done.stderr
    assert "changed since: fine_tune" in done.stderr
    (project.path / "reports/robustness.json").unlink()
    assert "error: there are no results\n" in project.try_to("make", "look").stderr
