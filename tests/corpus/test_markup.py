"""The two forms in which references, figures, tables and formulas are written, against what is published of the original's."""

from __future__ import annotations

import pytest

from medloom.corpus.markup import MARKS, Markup, Reference

PLAIN, MARKED = Markup(), Markup(marked=True)
ONE = Reference("Effects of tibolone on the incidence of ductal carcinoma in postmenopausal women with osteoporosis.", "Cummings")
TWO = Reference("Statins", "Endo")


def test_marks_are_the_twelve_tokens_that_the_original_added() -> None:
    assert {f"[{end}{mark}]" for mark in MARKS for end in ("", "/")} == {
        "[bib_ref]", "[/bib_ref]", "[fig_ref]", "[/fig_ref]", "[bib]", "[/bib]", "[fig]", "[/fig]", "[table]", "[/table]", "[formula]",
        "[/formula]"}


def test_a_title_is_cut_at_twelve_words() -> None:
    cut = "Effects of tibolone on the incidence of ductal carcinoma in postmenopausal women..., Cummings"
    assert len(cut.partition("...")[0].split()) == 12
    assert MARKED.cite([ONE, TWO]) == f"[bib_ref] {cut} [/bib_ref] [bib_ref] Statins, Endo [/bib_ref]"
    assert PLAIN.cite([ONE, TWO]) == f"({cut}; Statins, Endo)"


@pytest.mark.parametrize("markup", [PLAIN, MARKED])
def test_what_cannot_be_named_is_not_written(markup: Markup) -> None:
    assert markup.cite([]) == markup.cite([Reference("", "Endo")]) == markup.cite([Reference("Statins", "")]) == ""
    assert Markup(markup.marked, references=False).cite([TWO]) == ""
    assert markup.formula("") == markup.figure("", "") == markup.table("", "") == ""


@pytest.mark.parametrize(("caption", "beginning"), [
    ("Short (but whole)", "Short (but whole)"),
    ("Survival at five years (all patients). Bars are errors.", "Survival at five years"),
    ("Doses given to both groups: adults; children", "Doses given to both groups"),
    ("one two three four five six seven eight nine ten eleven twelve thirteen", "one two three four five six seven eight nine ten "
     "eleven twelve"),
])
def test_a_pointer_to_a_figure_gives_the_beginning_of_its_caption(caption: str, beginning: str) -> None:
    assert MARKED.point("Fig. 2", caption) == f"[fig_ref] Figure 2: {beginning} [/fig_ref]"
    assert PLAIN.point("Fig. 2", caption) == "Fig. 2"


def test_a_name_has_one_mark_behind_it() -> None:
    """The original writes "Figure 1.:" where the label ends in a point."""
    assert MARKED.figure("Figure 1.", "It falls.") == "[fig] Figure 1: It falls. [/fig]"
    assert PLAIN.figure("Figure 1.", "It falls.") == "Figure 1. It falls."
    assert MARKED.point("Figure 1.", "") == "[fig_ref] Figure 1 [/fig_ref]"


def test_a_table_keeps_its_rows() -> None:
    assert MARKED.table("Tab. 1", "Doses", ["| A | <5 |", "Per day."]) == "[table] Table 1: Doses\n| A | <5 |\nPer day. [/table]"
    assert PLAIN.table("", "", ["| A | <5 |"]) == "| A | <5 |"
    assert MARKED.formula("x = 2") == "[formula] x = 2 [/formula]" and PLAIN.formula("x = 2") == "x = 2"
