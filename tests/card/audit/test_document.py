"""Reading files: what is no card is refused, and no card's form changes what it says."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.card import audit
from medloom.card.audit import findings, parse_card
from medloom.card.audit.document import parse_document
from medloom.card.audit.tables import split_html_tables, split_tables
from medloom.ledger import Refusal

LINED = "before\n\n| a | b |\n| --- | --- |\n| x | 1 |\n| y | 2 |\n\nafter the table"


@pytest.mark.parametrize(("content", "says"), [
    (b"\xff\xfe\x00GGUF", "UTF-8"), (b"  \n", "empty"), (b"text\0text", "binary"), (b"a" * 500_001, "longer"),
])
def test_what_is_no_card_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=says):
        audit(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.md", tmp_path):
        with pytest.raises(Refusal, match="cannot be read"):
            audit(path)


def test_a_mark_of_byte_order_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_bytes(b"\xef\xbb\xbf---\nbase_model: a/b\n---\n# Card\n")
    assert audit(path) == []


def test_flattened_tables_come_out_as_they_went_in() -> None:
    _, tables = split_tables(LINED)
    prose, flattened = split_tables(" ".join(LINED.split()))
    assert flattened == tables
    assert prose.split() == ["before", "after", "the", "table"]


def test_html_tables_are_read_with_their_spans() -> None:
    text, [table] = split_html_tables("x <table><tr><th rowspan=2>Set</th><th colspan=2>Accuracy</th></tr><tr><th>A</th><th>B</th></tr>"
                                      "<tr><td>MedQA</td><td><b>50.1</b></td><td>49</td></tr></table> y")
    assert text.split() == ["x", "y"]
    assert (table.header, table.rows) == (("Set", "A", "B"), (("MedQA", "50.1", "49"),))


@pytest.mark.parametrize("broken", ["<table><tr><td>1</table", "<table>", "<table><tr><td colspan=999999999 rowspan=-1>x</td></tr></table>",
                                    "<table><tr><td><table><tr><td>1</td></tr></table></td></tr></table>", "| a | b |\n|---|\n| 1 |",
                                    "|---|---|", "| a \\| b | c |\n|---|---|\n| 1 | 2 | 3 | 4 |\n| 5 |", "---\nbase_model: [\n---\n# x",
                                    "---\n- a\n---\n", "---\nmodel-index: 3\n---\nx",
                                    "---\na: &a [*a]\nmodel-index:\n- results: [{dataset: 1}]\n---\nx"])
def test_malformed_cards_are_read_as_far_as_they_go(broken: str) -> None:
    assert isinstance(findings(parse_card(f"{broken}\n\nThe model was trained for 5,000 steps.")), list)
    assert isinstance(findings(parse_card(broken)), list)


def test_code_and_scripts_are_no_prose() -> None:
    document = parse_document("# C\n\n```yaml\nlearning_rate: 1e-4\n```\n\n```python\nsteps = 5000\n```\n"
                              "<style>p {}</style>\n<script>x</script>text\n")
    assert document.settings == (("learning_rate", "1e-4"),)
    assert document.prose.split() == ["#", "C", "text"]


WORDS = ["48.1B tokens", "|", "---", "|---|---|", "\n", "8x A100 GPUs", "hours", "588.8", "TDP of 0W", "PUE of 0", "DP=0", "TP=4",
         "MedQA", "PubMedQA", "Avg", "Total", "outperforms", "Model-7B", "Base-7B", "on average", "<table>", "<tr>", "<td>", "</td>", "0",
         "1e9", "99.9", "±", "100.0", "kgCO2/kWh", "6.8 kg CO2", "0 kWh", "global batch size 0", "micro batch size 3", "seq length 0",
         "steps", "warmup", "n=0", "n", "7B parameters", "TruthfulQA", "Health", "Science", "accuracy of", "%", "##", "- **GPU hours:**",
         "```", "averaged over 0 runs", "averaged over 3 seeds", "*", "."]


@given(st.lists(st.sampled_from(WORDS), max_size=120))
@settings(max_examples=150, deadline=None)
def test_no_jumble_of_a_card_s_words_breaks_the_audit(words: list[str]) -> None:
    for joint in (" ", "\n", " | "):
        for finding in findings(parse_card(joint.join(words))):
            assert "nan" not in finding.arithmetic and "inf" not in finding.arithmetic.split()


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_audit(content: bytes) -> None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    findings(parse_card(text))


def test_a_damaged_card_is_still_read(tmp_path: Path) -> None:
    whole = (Path(__file__).parent / "cards" / "seed-facts.md").read_text()
    chance = random.Random(7)
    for _ in range(40):
        place, length = chance.randrange(len(whole)), chance.randrange(1, 400)
        findings(parse_card(whole[:place] + whole[place + length :]))


@pytest.mark.parametrize("text", [
    "| a | b |\n|---|---|\n" + "| MedQA | 50.0 |\n" * 10_000, "| " * 99_999, "|---|---| " * 20_000, "<table><tr><td>1" * 10_000,
    "<head" * 30_000, "](" * 99_999, "[" * 199_999, "1 " * 99_999, "9" * 199_999, "8x A100 GPUs for 3 hours. " * 8_000,
    "A-7B outperforms B-7B on MedQA. " * 6_000,
    "data parallel " * 15_000, "(" * 199_999, "- key: 1\n" * 20_000, "GPU hours (" * 18_000,
], ids=range(15))
def test_the_longest_cards_end_in_seconds(text: str) -> None:
    began = time.process_time()
    findings(parse_card(text))
    assert time.process_time() - began < 10
