"""The original's protocol, defect by defect, and the shape of its prompts.

What is expected was read in the published evaluation code (epfLLM/meditron, evaluation/, April 2024) and worked out by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medloom.evaluate import Benchmark, Item
from medloom.evaluate.asking import Asking, ask, posed
from medloom.evaluate.engine import Continuation, Ids, Sampling
from medloom.evaluate.meditron import BATCH, BRANCHES, DEFECTS, SEEDS, gold, instruction, pose_meditron, prompt, read_meditron, shots
from medloom.ledger import Refusal

LETTERED = Item("l", "Which drug lowers glucose", ("Metformin", "Warfarin", "Lisinopril", "Aspirin"), 0)
WORDS = Item("w", "Does it help?", ("yes", "no", "maybe"), 2, lettered=False, context="A trial.\nIt was small.")
TRAIN = tuple(Item(f"t{number}", f"Question {number}?", (f"one {number}", f"two {number}"), number % 2) for number in range(12))


def encode(texts: Sequence[str]) -> list[list[int]]:
    """A token for every character, after one that opens the document."""
    return [[0, *map(ord, text)] for text in texts]


def benchmark(*items: Item, **fields: Any) -> Benchmark:
    return Benchmark("b", items, protocol="meditron", **fields)


class Seeded:
    """An engine that answers with a letter by the seed alone."""

    context, batch = 4096, 4
    encode = staticmethod(encode)

    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        return [[Continuation(f"The answer is {'ABCD'[seed % 4]}", (seed,), True) for seed in own] for own in seeds]


def read(text: str, item: Item = LETTERED, shots: int = 0, cot: bool = False) -> int | None:
    return read_meditron([text], item, shots, cot)


def four(*items: Item) -> list[Item]:
    return [asked.item for asked in pose_meditron(benchmark(*items), "truthfulqa", encode, 1234)]


def truthful(number: int = 0) -> Item:
    return Item(f"q{number}", "Is it true?", tuple(f"claim {place}" for place in range(7)), 3, group="Health")


# What is written.

def test_top_token_is_one_token_of_text_with_a_frequency_penalty() -> None:
    (asked,) = pose_meditron(benchmark(LETTERED), "medqa", encode, 1234)
    assert asked.sampling == Sampling(1, 0.0, ("###",), 1.0)
    (aloud,) = pose_meditron(benchmark(LETTERED, mode="self-consistency"), "medqa", encode, 1234, cot=True)
    assert aloud.sampling == Sampling(1024, 0.8, ("###",), 1.0)


def test_the_budget_is_that_of_the_first_answer_of_its_batch() -> None:
    items = [replace(WORDS, id=str(number), answer=0 if number < BATCH else 2) for number in range(BATCH - 1)]
    items += [replace(WORDS, id="last", answer=2), *(replace(WORDS, id=f"next {number}", answer=2) for number in range(2))]
    budgets = [asked.sampling.tokens for asked in pose_meditron(benchmark(*items), "pubmedqa", encode, 1234)]
    # "yes" has three characters, "maybe" five; the last of the first batch, maybe, gets three.
    assert budgets == [3] * BATCH + [5, 5] and gold(items[BATCH - 1]) == "maybe"
    shown = pose_meditron(benchmark(LETTERED, shots=2, train=TRAIN), "medqa", encode, 1234)
    assert [asked.sampling.tokens for asked in shown] == [9]


def test_ten_branches_are_drawn_and_can_end_otherwise_than_the_papers_five() -> None:
    asked = benchmark(LETTERED, mode="self-consistency", branches=5)
    (line,) = ask(Seeded(), asked, Asking(1234), posed(asked, Seeded(), Asking(1234)), 0)  # type: ignore[arg-type]
    assert len(line["texts"]) == BRANCHES == 10
    said = [f"the answer is {letter}" for letter in "bbbaaaaaac"]
    assert read_meditron(said, LETTERED, 0, True) == 0 and read_meditron(said[:5], LETTERED, 0, True) == 1


def test_equal_prompts_share_an_answer() -> None:
    twice = benchmark(LETTERED, replace(LETTERED, id="again"), replace(LETTERED, id="other", question="Which drug thins blood"),
                      mode="self-consistency")
    first, again, other = ask(Seeded(), twice, Asking(1), posed(twice, Seeded(), Asking(1)), 0)  # type: ignore[arg-type]
    assert first["texts"] == again["texts"] != other["texts"]


# What is read.

@pytest.mark.parametrize(("text", "expected"), [
    ("A", 0), (" b", 1), ("because of x", 1), ("Cannot say", 2), ("due to renal failure", 3), ("answer: c", 0), ("the answer is b", None),
    ("**C**", 2), ("(d)", 3), ("e", None), ("I would say B", None), ("", None), ("...", None), ("\n## Answer: C\nB", 0)])
def test_the_first_character_answers_lettered_questions(text: str, expected: int | None) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("So the answer is B.", 1), ("The answer is A. No, the answer is due to age", 3), ("Due to age", 3), ("The answer is", None),
    ("The answer is: (C) Lisinopril ", 2), ("Metformin", None), ("ANSWER IS: Because", 1)])
def test_thinking_aloud_the_word_after_the_last_answer_is_counts(text: str, expected: int | None) -> None:
    assert read(text, cot=True) == expected


def test_with_shots_only_what_precedes_an_empty_line_is_read() -> None:
    assert read("B\n\nQuestion: next", shots=1) == 1 and read("\n\nB", shots=1) is None and read("\n\nB") == 1


@pytest.mark.parametrize(("text", "expected"), [
    ("Yes", 0), (" no.", 1), ("yes, it helps", None), ("Answer: yes", None), ("yesyes", 0), ("nono", 1), ("YesNo", 0), ("NoYes", 1),
    ("a", None)])
def test_yes_and_no_count_only_alone(text: str, expected: int | None) -> None:
    assert read(text, WORDS) == expected


def test_maybe_never_counts() -> None:
    assert read("maybe", WORDS) is None and read("The answer is maybe", WORDS, cot=True) is None
    assert read("The answer is yes, surely", WORDS, cot=True) == 0


def test_truthfulqa_is_read_as_words() -> None:
    (item,) = four(truthful())
    assert read("B", item) == 1 and read("B.", item) == 1 and read("B. claim 2", item) is None and read("because", item) is None
    assert read("The answer is B. claim 2", item, cot=True) == 1


def test_unread_branches_vote_for_their_own_text_and_the_first_wins_a_tie() -> None:
    unread, other, right = "It is hard", "Hmm", "The answer is A"
    assert read_meditron([unread, right], LETTERED, 0, True) is None and read_meditron([right, unread], LETTERED, 0, True) == 0
    assert read_meditron([unread, unread, right], LETTERED, 0, True) is None
    assert read_meditron([unread, other, right, right], LETTERED, 0, True) == 0
    assert read_meditron([], LETTERED, 0, True) is None


# What is asked.

def test_a_to_e_is_asked_of_four_options() -> None:
    assert "A to E" in prompt(LETTERED, instruction("medqa")) and "\nE." not in prompt(LETTERED, instruction("medqa"))
    assert "A to D" in instruction("medmcqa") == instruction("mmlu")


@pytest.mark.parametrize(("question", "asked"), [
    ("Which drug", "Which drug?"), ("Which drug?", "Which drug?"), ("Name it.", "Name it."), ("Name it:", "Name it:?")])
def test_a_question_mark_is_added(question: str, asked: str) -> None:
    assert f"Question: {asked}\n\nOptions:" in prompt(replace(LETTERED, question=question), "S")


def test_the_prompt_without_shots() -> None:
    listed = "Question: Which drug lowers glucose?\n\nOptions:\nA. Metformin\nB. Warfarin\nC. Lisinopril\nD. Aspirin\n"
    assert prompt(LETTERED, "S") == f"S\n{listed}The answer is:\n"
    assert prompt(LETTERED, "S", cot=True) == f"S\n{listed}Let's think step by step.\n"
    assert prompt(WORDS, "S") == "S\nA trial.\nIt was small.\nDoes it help?\nThe answer is:\n"


def test_the_instruction_stands_before_all_shots_and_the_last_line_end_is_cut() -> None:
    first, second = "Question: Question 0?\n\nOptions:\nA. one 0\nB. two 0\n", "Question: Question 1?\n\nOptions:\nA. one 1\nB. two 1\n"
    assert prompt(TRAIN[1], "S", TRAIN[:1]) == f"S\n{first}The answer is: A\n\n{second}The answer is:"
    taught = replace(WORDS, answer=0, context="Another.")
    assert prompt(WORDS, "S", [taught, taught]) == (
        "S\n" + "Another.\nDoes it help?\nThe answer is: yes\n\n" * 2 + "A trial.\nIt was small.\nDoes it help?\nThe answer is:")


def test_the_prompt_by_checkpoint() -> None:
    raw, shown = prompt(LETTERED, "S"), prompt(LETTERED, "S", TRAIN[:1])
    assert prompt(LETTERED, "S", checkpoint="finetuned") == f"<|im_start|>question\n{raw}<|im_end|>\n<|im_start|>answer\n"
    assert prompt(LETTERED, "S", TRAIN[:1], checkpoint="finetuned") == f"<|im_start|>question\n{shown}<|im_end|>\n<|im_start|>answer\n"
    system, user = prompt(LETTERED, "S", checkpoint="medical").split("<|im_end|>\n <|im_start|> user\n")
    assert system.startswith("<|im_start|> system\n") and user == f"{raw}<|im_end|>\n <|im_start|> assistant\n"


def test_the_first_question_of_each_mmlu_subject_is_lost() -> None:
    items = [replace(item, group="virology" if number < 5 else "anatomy") for number, item in enumerate(TRAIN)]
    asked = [one.item.id for one in pose_meditron(benchmark(*items), "mmlu", encode, 1234)]
    assert asked == [item.id for item in items if item.id not in ("t0", "t5")]


def test_1862_of_mmlus_1871_medical_questions_are_asked(shared: Path) -> None:
    mmlu = pytest.importorskip("medloom.evaluate.mmlu")
    items = mmlu.read(shared / "benchmarks" / "mmlu", "test")
    assert len(items) == 1871 and len(pose_meditron(benchmark(*items), "mmlu", encode, 1234)) == 1862


def test_truthfulqa_has_four_options_drawn_with_replacement() -> None:
    many = four(*map(truthful, range(300)))
    assert all(len(item.options) == 4 and item.options.count("claim 3") == 1 and item.options[item.answer] == "claim 3" for item in many)
    # Three of six wrong ones, with replacement: all different in 6·5·4 of 6³ cases, 56 %; all equal in 6 of 216.
    different = sum(len(set(item.options)) == 4 for item in many) / len(many)
    assert abs(different - 120 / 216) < 0.1 and any(len(set(item.options)) == 2 for item in many)
    assert {item.answer for item in many} == set(range(4)) and many == four(*map(truthful, range(300)))


def test_truthfulqa_has_no_shots_and_worked_ones_were_never_published() -> None:
    with pytest.raises(Refusal, match="0 training questions"):
        pose_meditron(benchmark(truthful(), shots=1), "truthfulqa", encode, 1234)
    with pytest.raises(Refusal, match="never published"):
        pose_meditron(benchmark(LETTERED, shots=1, train=TRAIN), "medqa", encode, 1234, cot=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_shots_are_the_first_of_numpys_permutation(seed: int) -> None:
    order = [int(item.id[1:]) for item in shots(TRAIN, 5, seed)]
    assert order == np.random.default_rng(seed).permutation(12)[:5].tolist() and order != sorted(order)
    (asked,) = pose_meditron(benchmark(LETTERED, shots=5, train=TRAIN), "medqa", encode, seed)
    places = [asked.text.index(f"Question {number}?") for number in order]
    assert all(before < after for before, after in pairwise(places))


def test_shots_are_those_of_datasets_shuffle() -> None:
    python = os.environ.get("MEDLOOM_DATASETS_PYTHON", "/opt/peers-eval/bin/python")
    script = ("import json; from datasets import Dataset; rows = Dataset.from_dict({'row': list(range(1000))}); "
              f"print(json.dumps([rows.shuffle(seed=seed)['row'][:8] for seed in {SEEDS}]))")
    try:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=120)
    except OSError:
        pytest.skip(f"needs a Python with the package datasets: set MEDLOOM_DATASETS_PYTHON, {python} is not there")
    if "No module named 'datasets'" in done.stderr:
        pytest.skip(f"needs the package datasets, which {python} does not have")
    train = [replace(LETTERED, id=str(number)) for number in range(1000)]
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[int(item.id) for item in shots(train, 8, seed)] for seed in SEEDS]


def test_every_defect_has_a_name_of_its_own_and_says_what_it_explains() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) == 16
    assert all(defect.effect and defect.explains for defect in DEFECTS)
