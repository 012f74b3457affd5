"""What becomes of rows that cannot be read: named, so that none is lost unseen, or kept apart with their reason."""

import json
from collections import Counter
from pathlib import Path

from ..errors import UserError
from ..tables.encodings import iconv
from ..tables.raw_rows import Rejected

SHOWN = 5


class BadRows:
    """Takes the bad rows of all files; writes them to `path` as JSON Lines, or only counts them where there is none."""

    def __init__(self, path: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self._first: list[tuple[Path, Rejected]] = []
        self._file = path.open("w", encoding="utf-8", newline="\n") if path else None

    def __enter__(self) -> "BadRows":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, path: Path, bad: Rejected) -> None:
        """Count a bad row of a file, by the part of its reason that all rows of its kind share."""
        self.counts[bad.reason.partition(", found")[0]] += 1
        if self._file:
            record = {"file": path.name, "line": bad.line, "reason": bad.reason, "content": bad.content}
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        elif len(self._first) < SHOWN:
            self._first.append((path, bad))

    def refuse(self) -> None:
        """Raise UserError if there are bad rows and they were not written."""
        if not self._first:
            return
        total = self.counts.total()
        lines = [f"\n    {path}, line {bad.line}: {bad.reason}" for path, bad in self._first]
        more = f"\n    and {total - len(lines)} more" if total > len(lines) else ""
        broken = next((path for path, bad in self._first if bad.reason.startswith("expected UTF-8")), None)
        hint = f"; if all of the file is in another encoding: {iconv(broken)}" if broken else ""
        raise UserError(
            f"{total} row{'s' if total > 1 else ''} cannot be read",
            expected="a text and a label in every row, as task and prepare in params.yaml say",
            found="".join(lines) + more,
            fix=f"mend the lines{hint}; or set prepare.on_bad_row: quarantine in params.yaml: bad rows are then"
            " kept apart in data/processed/quarantine.jsonl and counted",
        )
