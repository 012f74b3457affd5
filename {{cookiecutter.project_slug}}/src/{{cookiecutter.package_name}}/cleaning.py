"""Make equal texts equal: one Unicode form, one kind of space, no control characters."""

import polars as pl

_WINDOWS_1252 = {
    chr(code): bytes([code]).decode("cp1252", errors="ignore") or " " for code in range(0x80, 0xA0)
}  # Windows characters that were read as Latin-1 became the control characters U+0080 to U+009F


def has_mangled(text: pl.Expr) -> pl.Expr:
    """True where a text holds Windows characters that were read as Latin-1."""
    return text.str.contains("[\u0080-\u009f]")


def cleaned(text: pl.Expr) -> pl.Expr:
    """Mend mangled Windows characters, compose to Unicode NFC, and fold white space and control characters."""
    mended = text.str.replace_many(list(_WINDOWS_1252), list(_WINDOWS_1252.values()))
    return mended.str.normalize("NFC").str.replace_all(r"[\s\p{Cc}]+", " ").str.strip_chars()
