"""Nothing that a developer's code wrote acts on the screen of whoever reads it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.submissions.isolation.escaping import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é €\n", "plain\n\ttext é €\n"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("ok\rforged", r"ok\x0dforged"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("\u05d0\u0628", r"\u05d0\u0628"),
        ("a\u200bb\ufeff\u2028", r"a\u200bb\ufeff\u2028"),
        ("\U000e0041", r"\U000e0041"),
        ("e" + "\u0301" * 5, "e\u0301\u0301" + r"\u0301" * 3),
        (b"\xff\x9b31m", r"\xff\x9b31m"),
        ("\x85\x9b", r"\x85\x9b"),
    ],
)
def test_what_could_act_or_hide_is_written_out(text, shown):
    assert escaped(text) == shown


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_only_harmless_characters_come_out_and_not_too_many(text):
    shown = escaped(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"} for c in shown)
    assert all(unicodedata.bidirectional(c) not in {"R", "AL", "RLO", "LRO", "RLE", "LRE"} for c in shown)
    assert len(shown) <= (4 if isinstance(text, bytes) else 10) * len(text)
    assert escaped(shown) == shown
