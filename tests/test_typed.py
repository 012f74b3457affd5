"""What a user types after `make` reaches the command as it was typed."""

import pytest
from workshop import Project, grow

TYPED = "Cheap, 100% fun & $5 $(HOME) $$ `x` 'it' \"so\" (a|b); # c \\n é"
# The words of the command line, and the argument that must be what was typed.
COMMANDS = {
    "predict": ("TEXT", "-m review_sentiment.predict --text={}"),
    "reproduce": ("AGAINST", "-m tools.reproduce --against {}"),
    "plots": ("AGAINST", "-m tools.plots {}"),
    "exp": ("SET", "-m tools.evidence.experiments --name n --set {}"),
    "push": ("REMOTE", "-m tools.remotes.transfer push --remote {}"),
    "compare": ("A", "-m tools.evidence.compare {} main"),
    "gate": ("BASE", "-m tools.evidence.gate --base {}"),
    "record": ("HYPOTHESIS", "-m tools.evidence.record --name n --hypothesis {}"),
    "audit": ("REV", "-m tools.remotes.audit --rev {}"),
    "student": ("TEXTS", "-m tools.distillation.student --layers 3 --texts {}"),
    "snapshot": ("NAME", "-m tools.environments.snapshot --name {}"),
    "env-diff": ("A", "-m tools.environments.env_diff {} b"),
    "rebuild": ("INTO", "-m tools.environments.rebuild --into {}"),
    "image": ("BASE", "-m tools.environments.image predict --base {}"),
    "release": ("APPROVED_BY", "-m tools.releases.release release 1.2.0 staging --approved-by {}"),
    "sign": ("KEY", "-m tools.supply_chain.signature sign {}"),
    "verify": ("PUBLIC_KEY", "-m tools.supply_chain.signature verify {}"),
    "api-key": ("NAME", "-m tools.service.api_key {} --scopes audit"),
    "judge": ("BY", "-m tools.monitoring.judge --by {} --queue q"),
}
ALSO = {
    "compare": ["B=main"],
    "exp": ["NAME=n"],
    "record": ["NAME=n"],
    "release": ["VERSION=1.2.0", "STAGE=staging"],
    "env-diff": ["B=b"],
    "api-key": ["SCOPES=audit"],
    "judge": ["QUEUE=q"],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose programs only print their arguments, one on each line."""
    grown = grow(tmp_path_factory.mktemp("typed"), scope="production")
    programs = grown.path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "dvc"):
        (programs / name).write_text("#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    return grown


@pytest.mark.parametrize("target", COMMANDS)
def test_it_is_as_it_was_typed(project: Project, target: str) -> None:
    variable, command = COMMANDS[target]
    printed = project.run("make", "--silent", target, f"{variable}={TYPED}", *ALSO.get(target, []))
    wanted = [f"<{word.replace('{}', TYPED)}>" for word in command.split(" ")]
    assert printed.splitlines()[-len(wanted) :] == wanted


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("predict TEXT=a SECOND_TEXT=b", "-m review_sentiment.predict --text=a --second-text=b"),
        ("api-keys", "-m tools.service.api_key"),
        ("api-key NAME=n REVOKE=1", "-m tools.service.api_key n --revoke"),
        ("label-queue SIZE=5 DIFFERING=1", "-m tools.monitoring.label_queue --size 5 --differing"),
        ("compare AGAINST=v1", "-m tools.evidence.compare v1 workspace"),
        ("env-diff", "-m tools.environments.env_diff"),
        ("verify MODEL=m", "-m tools.supply_chain.signature verify signing.pub m"),
    ],
)
def test_a_command_has_its_defaults_and_switches(project: Project, words: str, command: str) -> None:
    printed = project.run("make", "--silent", *words.split()).splitlines()
    wanted = [f"<{word}>" for word in command.split()]
    assert printed[-len(wanted) :] == wanted


def test_it_may_stand_in_the_environment(project: Project) -> None:
    assert f"<--text={TYPED}>\n" in project.run("make", "--silent", "predict", TEXT=TYPED)


def test_the_name_of_a_computer_is_no_option(project: Project) -> None:
    printed = project.run("make", "--silent", "snapshot", NAME="DESKTOP-1")  # as WSL exports it
    assert printed == "<-m>\n<tools.environments.snapshot>\n"
