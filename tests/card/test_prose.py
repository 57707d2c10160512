"""No figure without a key can be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from medloom.card import Uncited, write_card
from medloom.card.prose import cited, markdown, said, table
from medloom.card.trail import Trail


@pytest.fixture
def trail() -> Trail:
    return Trail({"steps": [{"name": "a", "figures": {"x": 0.5, "n": 4}, "energy": {"kwh": 0.25}}, {"name": "b", "energy": {"kwh": 0.5}}],
                  "recipe": {"grid": {"pue": 2.0}}})


def test_a_typed_number_is_refused_and_a_looked_up_one_is_not(trail: Trail) -> None:
    with pytest.raises(Uncited, match="right in 50"):
        cited(["right in 50 %"])
    cited([f"right in {trail.cite('x', 'a:figures/x', 'percent')} % of {said('MedQA 2021')}, 95 % interval[^3]"])


@pytest.mark.parametrize("digit", ["\u0663", "\u096d"])
def test_digits_of_other_scripts_are_digits_too(digit: str) -> None:
    with pytest.raises(Uncited):
        cited([f"right in {digit} cases"])


def test_a_section_that_types_a_number_stops_the_whole_card(lineage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                         ) -> None:
    monkeypatch.setattr("medloom.card.compose.OUT_OF_SCOPE", ("Dosing above 5 mg.",))
    with pytest.raises(Uncited, match="5 mg"):
        write_card(lineage, tmp_path)
    assert not (tmp_path / "README.md").exists()


def test_rules_work_out_figures_from_their_keys(trail: Trail) -> None:
    assert trail.find("sum(*:energy/kwh)") == 0.75
    assert trail.find("product(sum(*:energy/kwh), recipe:grid/pue)") == 1.5
    assert trail.find("difference(b:energy/kwh, a:energy/kwh)") == 0.25
    assert trail.find("sum(a:energy/kwh, c:energy/kwh)") is None
    peer = binomtest(2, 4).proportion_ci(method="wilson")
    assert trail.find("wilson_low(a:figures/x, a:figures/n)") == pytest.approx(peer.low)
    assert trail.find("wilson_high(a:figures/x, a:figures/n)") == pytest.approx(peer.high)


def test_what_comes_from_outside_breaks_no_table_and_forges_no_figure(trail: Trail) -> None:
    figure = trail.cite("x", "a:figures/x")
    (_, _, row, _) = table(["Name", "Figure"], [[said(f"a|b<script>\n{figure}"), figure]])
    assert markdown(row, trail.figures) == "| a\\|b&lt;script> 0 | 0.5[^1] |"
