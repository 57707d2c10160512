"""The original's protocol: its prompts, and each of its defects, pinned down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medloom.evaluate import Benchmark, Item
from medloom.evaluate.asking.ask import Asking, _chains, _seed
from medloom.evaluate.asking.meditron import (
    BRANCHES,
    DEFECTS,
    SEEDS,
    instruction,
    pose_meditron,
    prompt,
    question_block,
    read_meditron,
    shots,
)
from medloom.evaluate.asking.prompts import Prompt
from medloom.evaluate.benchmarks import mmlu
from medloom.ledger import Refusal

MCQ = Item("m", "What is it", ("one", "two", "three", "four"), 2)
ASKED = Item("p", "Does it help?", ("yes", "no", "maybe"), 2, lettered=False, context="It was tried.\nIt did.")


def words(texts: Sequence[str]) -> list[list[int]]:
    """A tokenizer with a beginning token, a token a word and one more for every four letters of it."""
    return [[1, *(number for word in text.split() for number in range(1 + len(word) // 4))] for text in texts]


def greedy(text: str, item: Item = MCQ, shots: int = 0) -> int | None:
    return read_meditron([text], item, shots, cot=False)


def aloud(text: str, item: Item = MCQ) -> int | None:
    return read_meditron([text], item, 0, cot=True)


def test_a_prompt_without_and_with_shots() -> None:
    asked = "Question: What is it?\n\nOptions:\nA. one\nB. two\nC. three\nD. four"
    assert prompt(MCQ, "System.") == f"System.\n{asked}\nThe answer is:\n"
    assert prompt(MCQ, "System.", cot=True).endswith("\nLet's think step by step.\n")
    shown = prompt(MCQ, "System.", [replace(MCQ, id="a"), replace(MCQ, id="b")])
    assert shown == f"System.\n{asked}\nThe answer is: C\n\n{asked}\nThe answer is: C\n\n{asked}\nThe answer is:"  # no line end with shots
    raw = prompt(MCQ, "System.")
    assert prompt(MCQ, "System.", checkpoint="finetuned") == f"<|im_start|>question\n{raw}<|im_end|>\n<|im_start|>answer\n"
    medical = prompt(MCQ, "System.", checkpoint="medical")
    assert medical.startswith("<|im_start|> system\n")
    assert medical.endswith(f"<|im_end|>\n <|im_start|> user\n{raw}<|im_end|>\n <|im_start|> assistant\n")


def test_questions_get_a_mark_unless_they_end_in_one_or_a_full_stop() -> None:
    for question, shown in (("What is it", "What is it?"), ("It is.", "It is."), ("Is it?", "Is it?"), ("All but:", "All but:?")):
        assert question_block(replace(MCQ, question=question)).startswith(f"Question: {shown}\n")


def test_shots_are_the_first_of_numpys_permutation() -> None:
    train = [replace(MCQ, id=str(number)) for number in range(50)]
    for seed in SEEDS:
        assert [item.id for item in shots(train, 3, seed)] == [str(number) for number in np.random.default_rng(seed).permutation(50)[:3]]


@pytest.mark.slow
def test_shots_are_those_that_datasets_draws() -> None:
    peer = Path(os.environ.get("MEDLOOM_PEERS_EVAL", "/opt/peers-eval/bin/python"))
    if not peer.exists():
        pytest.skip("needs an environment with datasets; name its interpreter in MEDLOOM_PEERS_EVAL")
    code = ("import datasets; d = datasets.Dataset.from_dict({'id': list(range(50))});"
            f"print([d.shuffle(seed=seed)['id'][:5] for seed in {SEEDS}])")
    told = subprocess.run([peer, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}).stdout
    train = [replace(MCQ, id=str(number)) for number in range(50)]
    assert eval(told.strip().splitlines()[-1]) == [[int(item.id) for item in shots(train, 5, seed)] for seed in SEEDS]


def test_the_first_character_is_the_answer() -> None:
    assert greedy("because of the kidney") == 1 and greedy("Cannot say.") == 2 and greedy("Due to it") == 3 and greedy("answer: c") == 0
    assert greedy("the answer is b") is None and greedy("I think") is None and greedy("") is None
    assert greedy("e") is None  # beyond the options
    assert aloud("Hence the answer is: due to the kidney") == 3 and aloud("No. The answer is A. So the answer is b ###") == 1
    assert aloud("Because it is so") == 1  # without the words, the whole text is read


def test_maybe_never_counts() -> None:
    assert greedy("Yes, the study shows", ASKED) is None and greedy("yes\nthe trial", ASKED) is None and greedy("yesyes", ASKED) == 0
    assert greedy("Because", replace(MCQ, true=(2,))) is None and greedy("c", replace(MCQ, true=(2,))) == 2
    assert greedy("x\n## Answer\nC") == 0
    assert greedy("yes", ASKED) == 0 and greedy("No.", ASKED) == 1
    assert greedy("maybe", ASKED) is None and aloud("the answer is maybe", ASKED) is None


def test_line_ends_and_marks_are_spaces_before_answer_is_is_looked_for() -> None:
    assert aloud("The answer\nis B") == 1 and aloud("The answer is: **(C)** three") == 2 and aloud("answer is", MCQ) is None


def test_with_shots_what_follows_a_blank_line_is_not_read() -> None:
    assert greedy("\n\nB", shots=3) is None and greedy(" \n\nB", shots=3) is None and greedy("C\n\nQuestion: B", shots=3) == 2


def test_answers_that_are_not_read_vote() -> None:
    assert read_meditron(["?", "?", "the answer is b"], MCQ, 0, cot=True) is None
    assert read_meditron(["?", "the answer is b", "answer is b"], MCQ, 0, cot=True) == 1
    apart = ["?", "!", "...", "hm", "eh", "oh"]  # unread, but not alike: each votes for itself
    assert read_meditron([*apart, "the answer is b", "the answer is b"], MCQ, 0, cot=True) == 1
    assert read_meditron(["answer is e", "The answer is E.", "answer is b"], MCQ, 0, cot=True) is None  # read, though not an option
    assert read_meditron(["?", "answer is b"], MCQ, 0, cot=True) is None  # the first of equals
    assert read_meditron([], MCQ, 0, cot=True) is None
    assert read_meditron(["so\n\nanswer is b"] * 2, MCQ, 3, cot=True) == 1  # self-consistency is read as if there were no shots


def test_ten_branches_are_drawn_and_equal_prompts_draw_alike() -> None:
    same = [Prompt(replace(MCQ, id=name), "the same", (1,), ()) for name in ("one", "other")]
    benchmark = Benchmark("b", (MCQ,), protocol="meditron", mode="self-consistency")
    assert len({_seed(benchmark, Asking(1), one, 0) for one in same}) == 1 and BRANCHES == 10
    assert _chains(replace(benchmark, mode="top-token", kind="mmlu")) and not _chains(replace(benchmark, mode="top-token"))


def test_truthfulqa_has_nothing_to_take_shots_from() -> None:
    with pytest.raises(Refusal, match="there are 0 training questions"):
        pose_meditron(Benchmark("b", (MCQ,), shots=1, kind="truthfulqa"), words, 1)


def test_an_answer_has_the_tokens_of_the_first_gold_of_its_batch() -> None:
    items = tuple(replace(ASKED, id=str(number), answer=2 if number in (1, 16) else 0) for number in range(20))
    posed = pose_meditron(Benchmark("b", items, kind="pubmedqa"), words, 1234)
    assert [one.sampling.tokens for one in posed] == [1] * 16 + [2] * 4  # "yes" is one token, "maybe" two; the beginning does not count
    shown = pose_meditron(Benchmark("b", items, train=items[:3], shots=1, kind="pubmedqa"), words, 1234)
    assert shown[0].sampling.tokens == 9
    reasoned = pose_meditron(Benchmark("b", items, kind="pubmedqa", mode="self-consistency"), words, 1234)
    assert reasoned[0].sampling.tokens == 1024 and reasoned[0].sampling.temperature == 0.8
    assert all(one.sampling.frequency_penalty == 1.0 and one.sampling.stop == ("###",) for one in (*posed, *reasoned))


def test_five_options_are_asked_for_where_there_are_four() -> None:
    assert "A to E" in instruction("medqa") and "A to E" in pose_meditron(Benchmark("b", (MCQ,)), words, 1)[0].text


def test_the_instruction_stands_once_before_the_shots() -> None:
    (posed,) = pose_meditron(Benchmark("b", (MCQ,), train=(replace(MCQ, id="t"),), shots=1), words, 1)
    assert posed.text.startswith(instruction("medqa")) and posed.text.count("A to E") == 1


def test_each_subject_of_mmlu_loses_its_first_question() -> None:
    items = tuple(replace(MCQ, id=f"{group}-{number}", group=group) for group in ("anatomy", "virology") for number in range(3))
    posed = pose_meditron(Benchmark("b", items, kind="mmlu"), words, 1)
    assert [one.item.id for one in posed] == ["anatomy-1", "anatomy-2", "virology-1", "virology-2"]


def test_1862_of_the_1871_are_asked(shared: Path) -> None:
    items = mmlu.read(shared / "benchmarks" / "mmlu", "test")
    assert len(items) == 1871 and len(pose_meditron(Benchmark("b", items, kind="mmlu"), words, 1)) == 1862


def test_wrong_options_of_truthfulqa_are_drawn_with_replacement() -> None:
    items = tuple(replace(MCQ, id=str(number), options=("true", "f", "g", "h", "i")[:3 + number % 3], answer=0) for number in range(60))
    posed = pose_meditron(Benchmark("b", items, kind="truthfulqa"), words, 1)
    assert all(len(one.item.options) == 4 and one.item.options[one.item.answer] == "true" for one in posed)
    assert any(len(set(one.item.options)) < 4 for one in posed) and len({one.item.answer for one in posed}) == 4


def test_every_defect_is_named_once() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 12 and all(defect.effect and defect.explains for defect in DEFECTS)
