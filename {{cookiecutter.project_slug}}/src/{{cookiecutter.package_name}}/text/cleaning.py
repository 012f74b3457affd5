"""Make equal texts equal: one Unicode form, one kind of space, no control characters.

Training and prediction both read texts through here, so a model meets no text that it was not trained to read.
"""

import re
import unicodedata

# Windows characters that were read as Latin-1 became the control characters U+0080 to U+009F.
MANGLED = re.compile("[\x80-\x9f]")
CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")  # beyond tabs and line ends
_REPLACED = re.compile("[\0-\x1f\x7f-\x9f]")
_WINDOWS = {chr(code): bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}


def clean(text: str) -> str:
    """Mend mangled Windows characters, compose to Unicode NFC, and fold white space and control characters."""
    if text.isprintable() and "  " not in text and text == text.strip(" "):
        return unicodedata.normalize("NFC", text)  # only printable characters: nothing to replace, no space to fold
    return " ".join(unicodedata.normalize("NFC", _REPLACED.sub(_mended, text)).split())


def _mended(found: re.Match[str]) -> str:
    return _WINDOWS.get(found[0]) or " "
