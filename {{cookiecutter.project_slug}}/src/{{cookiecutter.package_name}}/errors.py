"""A user's mistake, in one message: what was expected, what was found, what fixes it."""


class UserError(Exception):
    """Something the user can fix. It is printed without a traceback; bugs keep theirs."""

    def __init__(self, problem: str, *, expected: str, found: str, fix: str) -> None:
        super().__init__(f"{problem}\n  expected: {expected}\n  found:    {found}\n  fix:      {fix}")
