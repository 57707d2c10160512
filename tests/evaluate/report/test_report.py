"""The report of an evaluation says what the answers in the run's folder give, and no more than the tests allow."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from medloom.evaluate.report import draw_evaluation
from medloom.evaluate.report.gather import gather
from medloom.evaluate.report.published import beside, published_table
from medloom.evaluate.scores.contaminated import split_by_contamination
from medloom.evaluate.scores.scoring import Outcome, adjust, compare_outcomes, read_answers, score_outcomes
from medloom.ledger import Refusal
from medloom.notice import NOTICE
from medloom.plots import INSET, symmetric

SIZES = {"Health": 55, "Nutrition": 16, "Psychology": 19, "Science": 9}
BENCHMARKS: list[dict[str, Any]] = [
    {"name": "truthful", "kind": "truthfulqa", "mode": "option-text", "shots": 0, "seeds": [], "domain": "medical"},
    {"name": "exam", "kind": "medqa", "mode": "top-token", "shots": 3, "seeds": [1234, 432], "domain": "medical"},
    {"name": "school", "kind": "mmlu", "mode": "top-token", "shots": 0, "seeds": [], "domain": "general"},
]
SKILL = {("base", "truthful"): 0.25, ("base", "exam"): 0.3, ("base", "school"): 0.72,
         ("pretrained", "truthful"): 0.3, ("pretrained", "exam"): 0.6, ("pretrained", "school"): 0.52}
MINUS = "\N{MINUS SIGN}"


def _answers(benchmark: str, skill: float, random_: random.Random) -> list[Outcome]:
    """Answers that are right about so often, with a certainty that says something; some exam answers are unread."""
    groups = [group for group, size in SIZES.items() for _ in range(size)] if benchmark == "truthful" else [None] * 150
    found = []
    for asked in ("", "seed 432") if benchmark == "exam" else ("",):
        for number, group in enumerate(groups):
            gold = (number * 7 + number // 4) % 4
            right = random_.random() < skill
            choice = gold if right else (gold + 1 + int(3 * random_.random() ** 2)) % 4
            height = random_.uniform(0.2, 3.0 if right else 1.8)
            logprobs = tuple(-0.5 if option == choice else -0.5 - height - 0.1 * option for option in range(4))
            unread = benchmark == "exam" and number % 40 == 7
            found.append(Outcome(f"q-{number}", gold, None if unread else choice, 4, number % 60 == 3,
                                 None if unread else logprobs, group, None, asked))
    return found


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def make_run(root: Path) -> Path:
    """A run's folder with two models on three benchmarks, its records written by the real functions."""
    random_ = random.Random(5)
    rows, outcomes = [], {}
    for (model, benchmark), skill in SKILL.items():
        asked = next(entry for entry in BENCHMARKS if entry["name"] == benchmark)
        own = outcomes[model, benchmark] = _answers(benchmark, skill, random_)
        questions = len({outcome.id for outcome in own})
        figures = {**score_outcomes(own).figures(), "mode": asked["mode"], "shots": asked["shots"], "protocol": "medloom",
                   "available": 400 if benchmark == "exam" else questions, "unasked": ["q-7"] if benchmark == "exam" else [],
                   "shortened": 4 if benchmark == "exam" else 0, "sentences_dropped": 9 if benchmark == "exam" else 0,
                   "integrity": {"questions": 400 if benchmark == "exam" else questions, "options": {"4": questions},
                                 "duplicate_questions": 0, "duplicate_options": 2, "ambiguous_gold": 1,
                                 "release": "TruthfulQA of 2021, medical categories, MC1 (99)" if benchmark == "truthful" else None}}
        if model == "pretrained" and benchmark == "exam":
            shares = [{"id": outcome.id, "share": 0.9 if number % 5 == 0 else 0.0} for number, outcome in enumerate(own)]
            figures["contamination"] = split_by_contamination(own, shares)
        folder = root / "latest" / f"evaluate-{model}-{benchmark}"
        _write(folder / "answers.jsonl", "".join(json.dumps(_line(outcome)) + "\n" for outcome in own))
        _write(folder / "record.json", {"name": folder.name, "params": {"benchmark": asked}, "figures": figures})
    for entry in BENCHMARKS:
        name = entry["name"]
        rows.append(compare_outcomes(outcomes["pretrained", name], outcomes["base", name], benchmark=name, mode=entry["mode"],
                                     model="pretrained", base_name="base"))
    _write(root / "latest" / "compare" / "record.json", {"figures": {"rows": [row.figures() for row in adjust(rows)]}})
    for model, values in (("base", (0.82, 1.31)), ("pretrained", (0.94, 0.71))):
        figures = {domain: {"bits_per_byte": value, "bytes": 9000, "tokens": 2000, "documents": 40, "cut": 0}
                   for domain, value in zip(("general", "medical"), values, strict=True)}
        _write(root / "latest" / f"heldout-{model}" / "record.json", {"figures": figures})
    _write(root / "recipe.json", {"name": "a small run", "evaluate": {"benchmarks": BENCHMARKS}})
    _write(root / "summary.json", {})
    return root


def _line(outcome: Outcome) -> dict[str, Any]:
    return {"id": outcome.id, "gold": outcome.gold, "choice": outcome.choice, "options": outcome.options, "logprobs": outcome.logprobs,
            "tie": outcome.tie, "group": outcome.group, "cluster": outcome.cluster, **({"asked": outcome.asked} if outcome.asked else {})}


class _Page(HTMLParser):
    """The rows of a page's tables by section, the texts of its plots, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section = ""
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.rows[self.section][-1].append("".join(self._cell))
            self._cell = None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_run(tmp_path_factory.mktemp("run"))
    draw_evaluation(root)
    return root


def _html(run: Path) -> str:
    return (run / "evaluation.html").read_text()


def _section(text: str, key: str) -> str:
    return text.partition(f'<section id="{key}"')[2].partition("</section>")[0]


def test_same_inputs_give_the_same_bytes(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other")
    told, paths = draw_evaluation(other)
    assert [path.name for path in paths] == ["evaluation.html", "evaluation.md"]
    assert all(path.read_bytes() == (run / path.name).read_bytes() for path in paths)
    assert told["models"] == ["base", "pretrained"] and told["benchmarks"] == ["truthful", "exam", "school"]


def test_scores_are_those_of_the_answers(run: Path) -> None:
    rows: dict[tuple[str, str], list[str]] = {}
    whole: list[str] = []
    for row in _Page(_html(run)).rows["scores"][1:]:
        whole = row if len(row) == 11 else [*whole[:5], *row]
        rows[whole[5], whole[0]] = whole
    for model, benchmark in SKILL:
        score = score_outcomes(read_answers(run / "latest" / f"evaluate-{model}-{benchmark}" / "answers.jsonl"))
        row = rows[model, benchmark]
        assert row[-5:-3] == [f"{100 * score.accuracy:.1f} %", f"{100 * score.low:.1f} to {100 * score.high:.1f}"]
        assert row[-9:-6] == [f"{score.n}", f"{100 * score.chance:.1f} %", f"{100 * score.majority:.1f} %"]
        assert row[-3].split(" ")[0] == str(score.unparsed) and row[-2] == str(score.ties)
    assert rows["base", "exam"][-3].startswith("8 (")  # four of 150 questions, asked twice


def test_the_forest_draws_the_intervals_of_the_comparisons(run: Path) -> None:
    text = _section(_html(run), "differences")
    compared = json.loads((run / "latest" / "compare" / "record.json").read_text())["figures"]["rows"]
    axis = symmetric(max(max(abs(row["low"]), abs(row["high"])) for row in compared))
    drawn = [tuple(float(end) for end in ends) for ends in re.findall(r'class="line m-1" x1="([\d.]+)%" x2="([\d.]+)%"', text)]
    spans = [(low, high) for low, high in drawn if high > low]

    def value(place: float) -> float:
        inner = (place / 100 - INSET) / (1 - 2 * INSET)
        return axis.low + inner * (axis.high - axis.low)

    assert len(spans) == 3
    for row, (low, high) in zip(compared, spans, strict=True):
        assert math.isclose(value(low), row["low"], abs_tol=1e-4) and math.isclose(value(high), row["high"], abs_tol=1e-4)
    assert f'class="zero" x1="{axis.place(0):.3%}"' in text and axis.place(0) == 0.5


def test_nothing_is_called_better_that_is_not_shown_to_be(run: Path, tmp_path: Path) -> None:
    rows = {row[0]: row for row in _Page(_html(run)).rows["differences"][1:]}
    compared = {row["benchmark"]: row for row in json.loads((run / "latest" / "compare" / "record.json").read_text())["figures"]["rows"]}
    assert compared["truthful"]["holm_p"] >= 0.05 and compared["truthful"]["difference"] > 0
    assert compared["exam"]["holm_p"] < 0.05 and compared["school"]["holm_p"] < 0.05
    assert [rows[name][6] for name in ("truthful", "exam", "school")] == ["not shown to differ", "better", "worse"]

    # A row that calls itself better is believed by its p-value alone.
    other = make_run(tmp_path / "boasting")
    record = other / "latest" / "compare" / "record.json"
    value = json.loads(record.read_text())
    for row in value["figures"]["rows"]:
        row.update(verdict="better", holm_p=0.05, p_value=0.02)
    record.write_text(json.dumps(value))
    told, paths = draw_evaluation(other)
    assert {row["verdict"] for row in told["comparisons"]} == {"not shown to differ"}
    assert [row[6] for row in _Page(paths[0].read_text()).rows["differences"][1:]] == ["not shown to differ"] * 3
    assert not re.search(r"\d+ better|\) better|\| better", paths[0].read_text() + paths[1].read_text())


def test_confidence_and_risk(run: Path) -> None:
    own = {(result.model, result.asked.name): result.calibration for result in gather(run).results}
    page = _html(run)
    for (model, name), found in own.items():
        assert found is not None
        assert f"<h3>{model}, {name}</h3><p class=\"note\">ECE {100 * found.ece:.1f} %" in _section(page, "calibration")
    curves = re.findall(r'<polyline class="line m-1" points="([^"]+)"', _section(page, "risk"))
    assert len(curves) == 3
    ends = [tuple(map(float, curve.split()[-1].split(","))) for curve in curves]
    assert all(x == pytest.approx(288, abs=0.1) for x, _ in ends)  # every curve ends where all is answered
    found = own["pretrained", "school"]
    assert found is not None and f"{100 * (1 - found.accuracy):.1f} % wrong of all" in _section(page, "risk")


def test_groups_forgetting_askings_and_contamination(run: Path) -> None:
    page = _html(run)
    truthful = score_outcomes(read_answers(run / "latest/evaluate-pretrained-truthful/answers.jsonl"))
    for group, size in SIZES.items():
        own = truthful.groups[group]
        assert f"{group} (n {size})" in _section(page, "subjects")
        assert f"{100 * own['accuracy']:.1f} % ({100 * own['low']:.1f} to {100 * own['high']:.1f})" in _section(page, "subjects")
    forgetting = _section(page, "forgetting")
    assert forgetting.count("<svg") == 1  # text and accuracy in one plot
    assert "0.820 → 0.940 (+0.120)" in forgetting and f"1.310 → 0.710 ({MINUS}0.600)" in forgetting and "school, pretrained" in forgetting
    assert "exam" not in forgetting.partition("<svg")[2].partition("</svg>")[0]  # medical
    exam = score_outcomes(read_answers(run / "latest/evaluate-base-exam/answers.jsonl"))
    assert f"spread {100 * (exam.spread or 0):.1f}" in _section(page, "askings") and "seed 432" in _section(page, "askings")
    record = json.loads((run / "latest/evaluate-pretrained-exam/record.json").read_text())["figures"]["contamination"]
    assert f"pretrained, contaminated (n {record['contaminated']['n']})" in _section(page, "contamination")
    assert f"{100 * record['clean']['accuracy']:.1f} %" in _section(page, "contamination")
    told = _section(page, "integrity")
    for sentence in ("The published release: TruthfulQA of 2021", "150 of 400 questions were asked", "and counted as wrong: 1 question.",
                     "4 prompts had to be shortened, by 9 sentences", "2 questions with two equal options"):
        assert sentence in told


def test_published_rows_are_marked_and_judged(run: Path) -> None:
    page = _html(run)
    rows, title = [], ""
    for row in _Page(page).rows["published"][1:]:
        title = row[0] if len(row) == 5 else title
        rows.append([title, *row[-4:]])
    printed = [row for row in rows if row[1].startswith(("Meditron", "Llama"))]
    assert len(printed) == 4 * 5 and all(row[2].startswith("published, unpaired: Table 13") for row in printed)
    remarks = {(row[0], row[1]): row[4] for row in printed}
    assert remarks["TruthfulQA, medical: Nutrition", "Meditron-70B"] == (
        "Cannot be right: of 16 questions, 12 right are 75.0 % and 13 are 81.2 %.")
    assert "Below blind guessing (25.0 %) by more than 99 questions vary" in remarks["TruthfulQA, medical", "Llama-2-7B"]
    assert remarks["TruthfulQA, medical: Health", "Meditron-70B"] == ""  # 45 of 55
    assert sum(remark.startswith("Cannot be right") for remark in remarks.values()) == 1
    assert "Meditron-70B, published, unpaired" in _section(page, "scores") and 'class="faint"' in _section(page, "scores")
    # The exam has neither as many questions as MedQA, nor the school as many as MMLU's medical part.
    assert "MedQA" not in _section(page, "published") and "MMLU" not in _section(page, "published")


@pytest.mark.parametrize(("questions", "options", "kind", "title", "ours"), [
    (1273, "5", "medqa", "MedQA, five options", ("28.7 % ± 0.8", "47.9 %")),
    (1273, "4", "medqa", "MedQA, four options", ("37.4 % ± 3.3", "52.0 %")),
    (500, "3", "pubmedqa", "PubMedQA", ("69.3 % ± 15.1", "74.4 %"))])
def test_published_rows_go_by_what_was_asked(tmp_path: Path, questions: int, options: str, kind: str, title: str,
                                             ours: tuple[str, str]) -> None:
    root = make_run(tmp_path)
    recipe = json.loads((root / "recipe.json").read_text())
    recipe["evaluate"]["benchmarks"][1]["kind"] = kind
    (root / "recipe.json").write_text(json.dumps(recipe))
    for model in ("base", "pretrained"):
        record = root / f"latest/evaluate-{model}-exam/record.json"
        value = json.loads(record.read_text())
        value["figures"]["integrity"].update(questions=questions, options={options: questions})
        record.write_text(json.dumps(value))
    rows = [row for row in published_table(beside(gather(root))).rows if row[0] == title]
    assert [row[3] for row in rows if row[1] == "Meditron-7B"] == list(ours)
    impossible = [row for row in rows if row[4].startswith("Cannot be right")]
    # Of three shares whose mean is 49.1 % none can spread by 51.1 points.
    assert [row[1:4:2] for row in impossible] == ([("Llama-2-7B", "49.1 % ± 51.1")] if kind == "pubmedqa" else [])


def test_the_page_asks_for_nothing_and_markdown_says_the_same(run: Path) -> None:
    page, text = _html(run), (run / "evaluation.md").read_text()
    tags = _Page(page).tags
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags}
    assert all((attrs.get("href") or "#").startswith("#") and "src" not in attrs for _, attrs in tags)
    assert "url(" not in page and "@import" not in page and "prefers-color-scheme: dark" in page and "@media print" in page
    idents = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(idents) == len(set(idents))
    assert page.index(NOTICE) < page.index("<table") and NOTICE in text
    assert "Of 3 paired comparisons, corrected for their number, 1 better, 1 worse and 1 not shown to differ." in page
    assert "| exam | base | 150 | pretrained |" in text and "published, unpaired" in text and "Cannot be right" in text
    lines = [line for line in text.splitlines() if line.startswith("| exam | base | 150 | pretrained |")]
    assert [line.count("|") - line.count("\\|") for line in lines] == [12]


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    root = make_run(tmp_path)
    answers = root / "latest/evaluate-base-truthful/answers.jsonl"
    answers.write_text(answers.read_text().replace('"Nutrition"', '"<b>|Nu"'))
    _, (page, text) = draw_evaluation(root)
    assert "<b>" not in page.read_text() and "&lt;b&gt;|Nu" in page.read_text() and r"\<b\>\|Nu" in text.read_text()


def test_a_record_that_does_not_fit_its_answers_is_told(tmp_path: Path) -> None:
    root = make_run(tmp_path)
    record = root / "latest/evaluate-base-school/record.json"
    value = json.loads(record.read_text())
    value["figures"]["accuracy"] = 0.99
    record.write_text(json.dumps(value))
    _, (page, _) = draw_evaluation(root)
    assert "The record says an accuracy of 99.0 %, and the answers give" in page.read_text()


def test_a_folder_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"recipe\.json: no such file"):
        draw_evaluation(tmp_path)
    _write(tmp_path / "recipe.json", {"evaluate": {"benchmarks": BENCHMARKS}})
    with pytest.raises(Refusal, match="no benchmark has been answered yet"):
        draw_evaluation(tmp_path)
