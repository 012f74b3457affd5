"""Make equal texts equal: one Unicode form, one kind of space, no control characters.

Training and prediction both read texts through here, so a model meets no text that it was not trained to read.
"""

import re
import unicodedata

# Windows characters that were read as Latin-1 became the control characters U+0080 to U+009F.
MANGLED = re.compile("[\u0080-\u009f]")
CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")  # beyond tabs and line ends
_MENDED = {code: bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)}
_CONTROLS = dict.fromkeys([*range(0x20), 0x7F], " ")
_REPLACED = _CONTROLS | _MENDED


def clean(text: str) -> str:
    """Mend mangled Windows characters, compose to Unicode NFC, and fold white space and control characters."""
    if text.isascii() and text.isprintable() and "  " not in text and text == text.strip(" "):
        return text  # nothing to do, which takes a third of the time to see
    return " ".join(unicodedata.normalize("NFC", text.translate(_REPLACED)).split())
