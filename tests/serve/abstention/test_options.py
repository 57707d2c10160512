"""Which texts ask for one of a few named answers: benchmarks' questions do, and what people write freely does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.evaluate import message, read_benchmark
from medloom.evaluate.asking import block
from medloom.recipe import Benchmark
from medloom.serve.abstention import options_of

YES_NO, MAYBE = ("yes", "no"), ("yes", "no", "maybe")
STEM = "Which drug lowers the fever of the marsh?"


@pytest.mark.parametrize(("text", "labels"), [
    (f"{STEM}\nA. glorin\nB. lask\nC. chalk", ("A", "B", "C")),
    (f"{STEM}\nA) glorin\nB) lask", ("A", "B")),
    (f"{STEM}\n\n(A) glorin\n(B) lask\n\nAnswer with the letter only.", ("A", "B")),
    (f"{STEM}\r\n  A.  glorin\r\n  B.  lask\r\n\r\nAnswer:", ("A", "B")),
    (f"Question: {STEM}\n\nOptions:\nA. glorin\nB. lask\n\nThe answer is:", ("A", "B")),
    ("Marsh fever is lowered by\nA. glorin\nB. lask\nC. chalk\nD. salt", ("A", "B", "C", "D")),
    (f"{STEM} A) glorin B) lask C) chalk", ("A", "B", "C")),
    (f"{STEM} (A) glorin (B) lask", ("A", "B")),
    ("Which of the following lowers the fever?\n1. glorin\n2. lask", ("1", "2")),
    (f"{STEM}\nOptions:\n1) glorin\n2) lask\n3) chalk", ("1", "2", "3")),
    (f"{STEM}\n1) it is red 2) it is cold\nOptions:\nA. 1 only\nB. 2 only", ("A", "B")),  # letters stand for combinations of numbers
    ("Which one?\nA. x\nB. y\nThe answer is: A\n\nWhich one?\nA. x\nB. y\nC. z\nThe answer is:", ("A", "B", "C")),  # after a worked example
    ("Does glorin lower fever? Answer yes or no.", YES_NO),
    ("Answer with yes, no or maybe.\n\nIn a trial, 12 were given glorin.\n\nDoes it lower fever?", MAYBE),
    ("Does glorin lower fever? Please reply only with \"yes\", \"no\" or \"maybe\".", MAYBE),
    ("Does glorin lower fever? (yes/no)", YES_NO),
    ("Does glorin lower fever? yes/no/maybe", MAYBE),
    ("Does glorin lower fever?\nYes, no, or maybe?\n\nThe answer is:", MAYBE),
    ("Yes or no: does glorin lower fever?", YES_NO),
])
def test_a_choice_is_recognised(text: str, labels: tuple[str, ...]) -> None:
    assert options_of(text) == labels


@pytest.mark.parametrize("text", [
    "", "A. ", "A. glorin\nB. lask", "What is glorin?", "Does glorin lower fever?", "Is it A. or B.?",
    "Summarise this note:\nA. glorin\nB. lask\nC. chalk",
    "Please translate the options.\n\nOptions:\nA. glorin\nB. lask",
    "He takes:\n1. glorin\n2. lask\n3. chalk",  # a list of drugs, and nothing to choose
    "Do these go together?\n1. glorin\n2. lask",
    f"{STEM}\nA. glorin\nB. lask\n\nExplain why.",
    f"{STEM}\nA. glorin\nB. lask\n\nAnswer with a reason for each.",
    f"{STEM}\nA. glorin\nB. lask\nHe was sent home and came back with the fever on the next day.",
    f"{STEM}\nA. glorin\nC. lask",
    f"{STEM}\nB. glorin\nC. lask",
    "Group (A) took glorin and group (B) took chalk. What is the difference?",
    "What is the difference between (A) glorin and (B) lask?",
    "Which states\n1) the cells it acts on and\n2) what it is?",
    "Vitamin A. B cells need it. What else do they need?",
    "The questionnaire has yes/no items. How is it scored?",
    "She could answer yes or no to every item. What is the score?",
    "Answer yes or no for each drug: glorin, lask.",
    "Answer yes or no and explain. Does glorin lower fever?",
    "Answer yes or no. Does glorin lower fever? Then say why.",
    "Yes or nothing?", "I know. Say yes, nobody minds.",
])
def test_free_text_is_not(text: str) -> None:
    assert options_of(text) is None


WORDS = st.text(st.characters(categories=["Ll", "Nd"], include_characters=" ,;'-"), min_size=1).filter(lambda text: text.strip() != "")


@given(st.lists(WORDS, min_size=2, max_size=26), st.sampled_from(["{}. ", "{}) ", "({}) ", "  {}.  "]),
       st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_any_options_at_line_starts_are_counted(options: list[str], mark: str, end: str) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:len(options)]
    listed = end.join(mark.format(letter) + option for letter, option in zip(letters, options, strict=True))
    assert options_of(f"Which is it?{end}{listed}") == tuple(letters)


@given(st.text(st.characters(categories=["L", "N", "Z", "Sm"], include_characters=",;-\n")))
def test_text_without_marks_or_an_instruction_is_free(text: str) -> None:
    assert options_of(f"Tell me about {text}") is None


@pytest.mark.parametrize("piece", ["\n", " ", "A) ", "\nA. ", "(", "answer ", "\nanswer only ", "yes/no ", "options: ", "?\n", "A) x\n\n"])
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    text = piece * (90_000 // len(piece))
    began = time.process_time()
    options_of(f"{text}x")
    options_of(f"Which?{text}")
    assert time.process_time() - began < 2  # in proportion to the square it would take minutes


@pytest.mark.parametrize(("kind", "path", "share"), [
    ("medqa", "medqa/us_4opt_test.jsonl", 1.0), ("medqa", "medqa/us_5opt_test.jsonl", 1.0), ("medmcqa", "medmcqa/dev.jsonl", 0.999),
    ("mmlu", "mmlu", 0.998), ("pubmedqa", "pubmedqa", 1.0)])
def test_questions_of_real_benchmarks(shared: Path, kind: str, path: str, share: float) -> None:
    """As our evaluation and a chat put them; and without their options they are free text, but for stems that bring a list of their own."""
    items = read_benchmark(Benchmark.model_validate({"name": kind, "kind": kind, "path": path}), shared / "benchmarks" / path).items
    asked = [options_of(message(item)) == (tuple("ABCDE"[:len(item.options)]) if item.lettered else MAYBE) for item in items]
    assert sum(asked) >= share * len(items)
    if items[0].lettered:
        assert sum(options_of(block(item, "top-token")) == options_of(message(item)) for item in items) == len(items)
    bare = [options_of(f"{item.context or ''}\n{item.question}") for item in items]
    assert sum(labels is not None for labels in bare) <= 1
