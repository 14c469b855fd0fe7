"""How is text that a developer's code wrote shown to a person? With nothing left in it that acts.

Stops: terminal escape sequences, forged lines by carriage return, text that reads in another order than
it is written, invisible characters and towers of combining marks, in logs, tables and error messages.
"""

from __future__ import annotations

import unicodedata

_KEPT = frozenset("\n\t")
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me", "Mc"})
_REORDERING = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "PDF", "PDI", "FSI"})
# Drawn as nothing, though Unicode calls them letters or marks (DerivedCoreProperties, Default_Ignorable).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_MARKS_IN_A_ROW = 2


def escaped(text: str | bytes) -> str:
    r"""Printable text: line ends and tabs stay, what could act or hide becomes `\x1b` or `\u202e`.

    Right-to-left letters are escaped too, since they alone can move what stands beside them. Bytes that
    are not UTF-8 become `\xff`. At most four times as long as the bytes, or ten times as the characters.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    shown, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in _MARKS else 0
        shown.append(character if _harmless(character) and marks <= _MARKS_IN_A_ROW else _code(character))
    return "".join(shown)


def _harmless(character: str) -> bool:
    if character in _KEPT or " " <= character <= "~":
        return True
    kind = unicodedata.category(character)
    return not (
        kind in _ACTING
        or kind == "Zs"
        or character in _INVISIBLE
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
        or unicodedata.bidirectional(character) in _REORDERING
    )


def _code(character: str) -> str:
    number = ord(character)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )
