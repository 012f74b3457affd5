"""Make equal texts equal: one Unicode form, one kind of space, no control characters.

Training and prediction both pass every text through `clean`, so a rule that you add there holds for both. Applied a
second time it should change nothing: whoever predicts may hold a text that is clean already. Labels, groups, times and
names of columns are only `normalized`.
"""

import re
import unicodedata

# Windows characters that were read as Latin-1 have become the control characters U+0080 to U+009F.
MANGLED = re.compile("[\x80-\x9f]")
CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")  # other than tabs and line ends
_REPLACED = re.compile("[\0-\x1f\x7f-\x9f]")
_WINDOWS = {chr(code): bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}


def clean(text: str) -> str:
    """The text as the model reads it. This is the place for rules of your own."""
    return normalized(text)


def normalized(text: str) -> str:
    """Repair mangled Windows characters, compose to Unicode NFC, and fold white space and control characters."""
    odd = not text.isprintable()  # control characters, or white space other than blanks
    if odd:
        text = _REPLACED.sub(lambda found: _WINDOWS.get(found[0]) or " ", text)
    if odd or "  " in text or text != text.strip(" "):
        text = " ".join(text.split())
    return unicodedata.normalize("NFC", text)
