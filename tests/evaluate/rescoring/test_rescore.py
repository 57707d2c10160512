"""Answers in the many forms that people publish, scored anew."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from medloom.evaluate.rescoring.describe import describe_rescore
from medloom.evaluate.rescoring.rescore import rescore
from medloom.ledger import Refusal


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


GOLDS = (0, 1, 2, 3, 0, 1, 2, 3, 3, 3)
CHOICES = (0, 1, 2, 0, 0, 2, 2, 3, None, 0)  # six right, one unread
TEXTS = ["aspirin", "a drug", "rest", "surgery"]


def letter(number: int | None) -> str | None:
    return None if number is None else "ABCD"[number]


@pytest.mark.parametrize(("form", "more"), [
    (lambda number: letter(number), {}),
    (lambda number: None if number is None else f"({letter(number)})", {}),
    (lambda number: "" if number is None else f"{'abcd'[number]}.", {}),
    (lambda number: number, {}),
    (lambda number: -1 if number is None else number, {}),
    (lambda number: None if number is None else str(number), {}),
    (lambda number: None if number is None else number + 1, {"options": "4"}),
    (lambda number: None if number is None else float(number + 1), {"first": 1}),
    (lambda number: None if number is None else TEXTS[number].upper(), {"options": "given"}),
    (lambda number: None if number is None else TEXTS[number], {"options": "one,two,three,four"}),
    (lambda number: "none of these" if number is None else letter(number), {"options": "lettered"}),
], ids=["letters", "brackets", "small letters", "from 0", "-1 for unread", "spelt", "from 1", "from 1, said", "words", "fields", "object"])
def test_all_ways_to_name_an_option_give_the_same_score(form: Any, more: dict[str, Any], tmp_path: Path) -> None:
    options = {"given": TEXTS, "one": TEXTS[0], "two": TEXTS[1], "three": TEXTS[2], "four": TEXTS[3],
               "lettered": dict(zip("ABCD", TEXTS, strict=True))}
    path = write(tmp_path / "a.jsonl", *({"doc": {"id": number}, "target": form(gold), "answer": [form(choice)], **options}
                                         for number, (gold, choice) in enumerate(zip(GOLDS, CHOICES, strict=True))))
    found = rescore(path, id="doc.id", gold="target", choice="answer.0", **more)
    score = found["score"]
    assert (score["n"], score["correct"], score["unparsed"], score["chance"], score["majority"]) == (10, 6, 1, 0.25, 0.4)
    assert score["chosen"] == {"0": 4, "1": 1, "2": 3, "3": 1}
    assert found["calibration"] is None and found["options"] == [4]
    json.dumps(found, allow_nan=False)


def test_choices_may_hold_anything(tmp_path: Path) -> None:
    strange = ["E", 0, "unclear", 7, True, {"a": 1}, [], None, 2.5, "A and B"]
    path = write(tmp_path / "a.jsonl", *({"id": number, "gold": "ABCD"[number % 4], "pick": pick} for number, pick in enumerate(strange)))
    found = rescore(path, id="id", gold="gold", choice="pick", first=1)
    assert found["options"] == [4] and found["score"]["unparsed"] == 10


def test_a_letter_is_a_place_though_an_option_should_read_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": "B", "pick": "A", "groups": ["B", "A", "AB", "0"]})
    score = rescore(path, id="id", gold="gold", choice="pick", options="groups")["score"]
    assert (score["golds"], score["chosen"]) == ({"1": 1}, {"0": 1})


def test_words_without_a_list_of_options(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"pmid": 1, "final_decision": "yes", "pred": "Yes"},
                 {"pmid": 2, "final_decision": "maybe", "pred": "no"}, {"pmid": 3, "final_decision": "no", "pred": "unclear"})
    score = rescore(path, id="pmid", gold="final_decision", choice="pred")["score"]
    assert (score["correct"], score["unparsed"], score["chosen"]) == (1, 1, {"0": 1, "1": 1}) and score["chance"] == pytest.approx(1 / 3)
    assert rescore(path, id="pmid", gold="final_decision", choice="pred", options="3")["score"] == score
    assert rescore(path, id="pmid", gold="final_decision", choice="pred", options="yes, no, maybe")["score"] == score
    with pytest.raises(Refusal, match=r"line 1: the right answer 'yes' is none of 5 options"):
        rescore(path, id="pmid", gold="final_decision", choice="pred", options=5)


def test_other_words_without_a_list_of_options(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": True, "pick": "true"}, {"id": 2, "gold": False, "pick": True})
    assert rescore(path, id="id", gold="gold", choice="pick")["score"]["correct"] == 1
    many = write(tmp_path / "b.jsonl", *({"id": number, "gold": f"drug {number}", "pick": "x"} for number in range(20)))
    with pytest.raises(Refusal, match="cannot tell how many options"):
        rescore(many, id="id", gold="gold", choice="pick")


def test_log_probabilities_decide_and_calibrate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"id": number, "gold": letter(gold), "lp": {"B": -2.0, "A": -1.0, "D": -1.0 - gold, "C": -9.0}}
                                         for number, gold in enumerate(GOLDS)))
    found = rescore(path, id="id", gold="gold", logprobs="lp")
    assert found["score"]["correct"] == 2 and found["score"]["ties"] == 2 and found["read_by"] == "logprobs"
    assert found["calibration"]["n"] == 10 and found["calibration"]["accuracy"] == 0.2
    beside = write(tmp_path / "b.jsonl", *({"id": number, "gold": gold, "pick": gold, "lp": [-1, -2, -3, -4]}
                                           for number, gold in enumerate(GOLDS)))
    found = rescore(beside, id="id", gold="gold", choice="pick", logprobs="lp")
    weights = [math.exp(-number) for number in range(4)]
    assert found["score"]["accuracy"] == 1 and found["calibration"]["confidence"] == pytest.approx(
        sum(weights[gold] for gold in GOLDS) / 10 / sum(weights))


def test_decisions_with_log_probabilities(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": "maybe", "lp": [-3, -2, -1]}, {"id": 2, "gold": "yes", "lp": [-3, -2, -1]})
    assert rescore(path, id="id", gold="gold", logprobs="lp")["score"]["correct"] == 1


def test_numbers_of_options_that_vary(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": 0, "n": 2, "pick": 0}, {"id": 2, "gold": 4, "n": 5, "pick": 3})
    found = rescore(path, id="id", gold="gold", choice="pick", options="n")
    assert found["score"]["chance"] == pytest.approx((1 / 2 + 1 / 5) / 2) and found["options"] == [2, 5]


def test_against_a_base_in_any_order(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours.jsonl", *({"id": n, "gold": "A", "pick": "A" if n < 25 else "B", "topic": f"t{n % 2}"}
                                            for n in range(40)))
    base = write(tmp_path / "base.jsonl", *({"id": n, "gold": "A", "pick": "D" if n < 15 else "A" if n < 27 else "C", "topic": "t0"}
                                            for n in reversed(range(40))))
    found = rescore(ours, id="id", gold="gold", choice="pick", base=base, group="topic", options=4)
    row = found["comparison"]
    assert (row["gained"], row["lost"], row["model"], row["base"], row["verdict"]) == (15, 2, "ours", "base", "better")
    assert row["p_value"] == pytest.approx(2 * (1 + 17 + 136) / 2**17)
    assert found["score"]["chance"] == found["base_score"]["chance"] == 0.25
    assert found["score"]["groups"]["t0"]["n"] == 20
    lines = "\n".join(describe_rescore(found))
    assert "62.5 % [" in lines and "better (McNemar p 0.0023" in lines and "t1 " in lines


def test_askings_and_clusters_by_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"id": n, "gold": 0, "pick": int(n + seed > 6), "seed": seed, "passage": n // 4}
                                         for seed in range(3) for n in range(8)))
    found = rescore(path, id="id", gold="gold", choice="pick", asked="seed", cluster="passage", options=4)
    assert (found["score"]["n"], found["score"]["askings"], found["score"]["clusters"]) == (8, 3, 2)
    assert found["score"]["by_asking"] == {"0": 7 / 8, "1": 6 / 8, "2": 5 / 8}
    assert "standard deviation 12.5 points" in "\n".join(describe_rescore(found))
    with pytest.raises(Refusal, match=r"line 9: answers 0 a second time; .*--asked"):
        rescore(path, id="id", gold="gold", choice="pick", options=4)


def test_a_list_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": 1, "gold": "A", "pick": "A"}, {"id": 2, "gold": "B", "pick": "A"}], indent=1))
    assert rescore(tmp_path / "a.json", id="id", gold="gold", choice="pick")["score"]["correct"] == 1


GOOD = {"id": 1, "gold": "A", "pick": "A", "lp": [-1, -2]}


@pytest.mark.parametrize(("line", "fields", "says"), [
    ({"id": 2, "gold": "A"}, {"choice": "pick"}, "line 2: has no field pick; its fields are id, gold"),
    ({"id": 2, "gold": "E", "pick": "A"}, {"choice": "pick", "options": 4}, "line 2: the right answer 'E' is none of 4 options"),
    ({"id": 2, "gold": "A", "lp": [-1, -2, -3]}, {"logprobs": "lp", "options": 2}, "line 2: lp must hold a number for each of 2 options"),
    ({"id": 2, "gold": "A", "lp": [-1, "x"]}, {"logprobs": "lp"}, "line 2: lp must hold a number"),
    ({"id": 2, "gold": "A", "lp": [-1, math.nan]}, {"logprobs": "lp"}, "line 2: lp must hold a number"),
    ({"id": 2, "gold": "A", "lp": None}, {"logprobs": "lp"}, "line 2: lp holds no log-probabilities"),
    ({"id": 2, "gold": "B", "pick": "A"}, {"choice": "pick", "options": "gold"}, "line 1: gold does not hold options"),
    ({"id": 2, "gold": "B", "pick": "A"}, {"choice": "pick", "options": 40}, "line 1: 40 options"),
    ({"id": 2, "gold": "B", "pick": "A"}, {}, "give --text, --choice or --logprobs"),
    ({"id": 2, "gold": "B", "pick": "A"}, {"choice": "pick", "text": "pick"}, "give one of them"),
])
def test_what_cannot_be_read_is_refused(line: dict[str, Any], fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, line)
    with pytest.raises(Refusal, match=says):
        rescore(path, id="id", gold="gold", **fields)


def test_numbers_that_could_count_from_either_are_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": 1, "pick": 1}, {"id": 2, "gold": 2, "pick": 3})
    with pytest.raises(Refusal, match="--first 0 or --first 1"):
        rescore(path, id="id", gold="gold", choice="pick")
    with pytest.raises(Refusal, match="--first 0 or --first 1"):
        rescore(path, id="id", gold="gold", choice="pick", options=4)
    assert rescore(path, id="id", gold="gold", choice="pick", options=4, first=1)["score"]["golds"] == {"0": 1, "1": 1}


def test_files_that_are_none(tmp_path: Path) -> None:
    broken = {"": "holds no answers", "{}\n{": "line 2: not valid JSON",
              "[1]": "entry 1: not a JSON object", "7\n": "line 1: not a JSON object"}
    for content, says in broken.items():
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(Refusal, match=says):
            rescore(tmp_path / "a.jsonl", id="id", gold="gold", choice="pick")
    with pytest.raises(Refusal, match="no such file"):
        rescore(tmp_path / "b.jsonl", id="id", gold="gold", choice="pick")
    with pytest.raises(Refusal, match="not a text file"):
        rescore(tmp_path, id="id", gold="gold", choice="pick")
    one, two = write(tmp_path / "c.jsonl", GOOD), write(tmp_path / "d.jsonl", {**GOOD, "id": 5})
    with pytest.raises(Refusal, match=r"c.jsonl and .*d.jsonl: 2 questions are in one only"):
        rescore(one, id="id", gold="gold", choice="pick", base=two)


def test_pubmedqas_own_annotators_get_their_published_accuracies(shared: Path, tmp_path: Path) -> None:
    # Jin et al. 2019, arXiv 1909.06146: one human reaches 78.0 % on the 500 test questions, and 90.4 % having read the conclusion.
    questions = json.loads((shared / "benchmarks/pubmedqa/ori_pqal.json").read_text())
    test = json.loads((shared / "benchmarks/pubmedqa/test_ground_truth.json").read_text())
    for name in ("required", "free"):
        write(tmp_path / f"{name}.jsonl", *({"pmid": pmid, "gold": gold, "pred": questions[pmid][f"reasoning_{name}_pred"]}
                                            for pmid, gold in test.items()))
    found = rescore(tmp_path / "free.jsonl", id="pmid", gold="gold", choice="pred", base=tmp_path / "required.jsonl")
    assert found["score"]["accuracy"] == 0.904 and found["base_score"]["accuracy"] == 0.78
    assert found["score"]["majority"] == 0.552 and found["comparison"]["verdict"] == "better"


def test_one_answer_has_no_standard_error(tmp_path: Path) -> None:
    found = rescore(write(tmp_path / "a.jsonl", GOOD), id="id", gold="gold", choice="pick", options=2)
    assert found["score"]["standard_error"] is None
    assert "accuracy    100.0 % [20.7 %, 100.0 %]; 1 questions" in "\n".join(describe_rescore(found))


def test_raw_texts_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl",
                 {"id": 1, "gold": "B", "raw": "The answer is B.", "options": {"A": "rest", "B": "aspirin"}},
                 {"id": 2, "gold": "A", "raw": "The answer is: (B)", "options": {"A": "rest", "B": "aspirin"}},
                 {"id": 3, "gold": "A", "raw": [f"The answer is {read}." for read in "ABA"], "options": {"A": "rest", "B": "aspirin"}},
                 {"id": 4, "gold": "A", "raw": "", "options": {"A": "rest", "B": "aspirin"}})
    score = rescore(path, id="id", gold="gold", text="raw", options="options")["score"]
    assert (score["n"], score["correct"], score["unparsed"]) == (4, 2, 1)
    assert rescore(path, id="id", gold="gold", text="raw", options=2)["score"]["correct"] == 2


def test_raw_decisions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 1, "gold": "yes", "raw": "The answer is: yes"},
                 {"id": 2, "gold": "maybe", "raw": "The answer is: no"})
    score = rescore(path, id="id", gold="gold", text="raw")["score"]
    assert (score["correct"], score["chosen"]) == (1, {"0": 1, "1": 1})
