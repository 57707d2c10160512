"""Alpha against the values that its author published, and what must hold of any."""

from __future__ import annotations

import pytest

from medloom.review.report.agreement import Level, alpha, interval

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units, values missing.
A = (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None)
B = (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3)
C = (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None)
D = (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None)
UNITS = [[value for value in unit if value is not None] for unit in zip(A, B, C, D, strict=True)]
# The same paper's example A: two observers, ten units, two values.
BINARY = list(zip((0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0), strict=True))


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_author_s_own_example(level: Level, published: float) -> None:
    assert alpha(UNITS, level) == pytest.approx(published, abs=0.0006)


def test_the_author_s_example_of_two_observers() -> None:
    assert alpha(BINARY, "nominal") == pytest.approx(0.095, abs=0.0006)


def test_agreement_always_is_one_and_a_matter_of_one_value_is_none() -> None:
    assert alpha([[0, 0], [1, 1], [2, 2, 2]], "ordinal") == 1
    assert alpha([[1, 1], [1, 1]], "nominal") is None
    assert alpha([[0], [1], []], "nominal") is None
    assert interval([[0], [1]], "nominal") is None
    assert alpha([[0, 1], [1, 0]], "nominal") == pytest.approx(-0.5), "less than chance"


def test_the_interval_holds_the_value_and_narrows_with_more_units() -> None:
    for level in ("nominal", "ordinal"):
        few, many = interval(UNITS, level), interval(UNITS * 8, level)
        value = alpha(UNITS, level)
        assert few is not None and many is not None and value is not None
        assert few[0] < value < few[1] <= 1
        assert many[1] - many[0] < 0.6 * (few[1] - few[0])
        assert interval(UNITS, level) == few, "the same votes give the same interval"
