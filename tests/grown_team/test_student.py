"""Which unlabelled texts a student learns from. Run in a grown project of the team size."""

from pathlib import Path

import pytest
from small_project import params_with
from tools.distillation.student import unlabelled

HELD_OUT = {("A man sleeps.", "Nobody is awake.")}
MORE = "text,other\nA man sleeps.,Nobody is awake.\nA man sleeps.,He rests.\nA dog runs.,Nobody is awake.\n"


@pytest.mark.parametrize(
    ("group_column", "learned"),
    [
        (None, [("A man sleeps.", "He rests."), ("A dog runs.", "Nobody is awake.")]),
        ("text", [("A dog runs.", "Nobody is awake.")]),
        ("other", [("A man sleeps.", "He rests.")]),
    ],
)
def test_no_text_of_a_held_out_group_is_learned(
    tmp_path: Path, group_column: str | None, learned: list[tuple[str, str]]
) -> None:
    (tmp_path / "more.csv").write_text(MORE, encoding="utf-8")
    params = params_with(task="pair", second_text_column="other", group_column=group_column)
    assert unlabelled(tmp_path / "more.csv", params, HELD_OUT) == learned
