"""JSON lines as RFC 8259 and jsonlines.org have them."""

from __future__ import annotations

import pytest

from medloom.ledger import Refusal
from medloom.ledger.files import json_lines


def test_a_line_separator_inside_a_text_ends_no_line() -> None:
    # RFC 8259, section 7: only control characters, quotes and backslashes need an escape; U+2028, U+2029 and U+0085 may stand as they are.
    text = '{"a": "one\u2028two\u2029three\u0085four"}\r\n\n7\n'
    assert list(json_lines(text, "f")) == [("f, line 1", 1, {"a": "one\u2028two\u2029three\u0085four"}), ("f, line 3", 3, 7)]


@pytest.mark.parametrize("broken", ["{", "NOT", "[" * 100_000, '"a\tb'])
def test_a_line_that_is_no_json_is_named(broken: str) -> None:
    with pytest.raises(Refusal, match=r"\Af, line 2: not valid JSON"):
        list(json_lines(f"1\n{broken}\n3", "f"))
