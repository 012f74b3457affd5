"""A user's mistake, told in three lines: what was expected, what was found, how to mend it."""


class UserError(Exception):
    """Something the user can mend. It is printed without a traceback; bugs keep theirs."""

    def __init__(self, problem: str, *, expected: str, found: str, fix: str) -> None:
        super().__init__(f"{problem}\n  expected: {expected}\n  found:    {found}\n  fix:      {fix}")
