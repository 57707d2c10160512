"""What a study is made of, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medloom.ledger import Refusal
from medloom.review import AXES, Question, Store, create, make_study, read_questions

MODELS = [{"name": "one", "path": "/a"}, {"name": "two", "url": "http://host:8000/v1", "model": "m"}]


def test_settings_give_way_to_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('title = "Mine"\nreveal = "never"\n[sampling]\ntokens = 9\ntemperature = 0.5\n[[axes]]\nkey = "tone"\ntitle = "Tone"\n'
                    'question = "Is it kind?"\noptions = ["No", "Yes"]\n')
    study = make_study(file, {"models": MODELS, "raters": ["ann"], "sampling": {"tokens": 30}}, seed=5)
    assert (study.title, study.reveal, study.seed) == ("Mine", "never", 5)
    assert (study.sampling.tokens, study.sampling.temperature) == (30, 0.5)
    assert [axis.key for axis in study.axes] == ["tone"]


def test_models_of_a_settings_file_lie_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[[models]]\nname = "cold"\npath = "m.gguf"\n'
                    '[[models]]\nname = "hot"\npath = "m.gguf"\nsampling = { temperature = 1.0 }\n')
    study = make_study(file, {"raters": ["ann"]}, seed=5)
    assert {one.path for one in study.models} == {str(tmp_path / "m.gguf")}
    assert [study.sampling_of(name).temperature for name in ("cold", "hot")] == [0.0, 1.0]


def test_the_default_axes_are_those_that_were_asked_for() -> None:
    assert {"correctness", "completeness", "harm_extent", "harm_likelihood", "bias", "clarity"} <= {axis.key for axis in AXES}


@pytest.mark.parametrize(("change", "says"), [
    ({"models": MODELS[:1]}, "at least 2"),
    ({"models": [MODELS[0], MODELS[0]]}, "two models are called 'one'"),
    ({"models": [MODELS[0], {"name": "x", "path": "/a", "url": "http://h"}]}, "either a path or a url"),
    ({"models": [MODELS[0], {"name": "x", "url": "http://me:secret@h/v1"}]}, "MEDLOOM_API_KEY"),
    ({"raters": []}, "raters"),
    ({"raters": ["ann", "ann"]}, "two raters are called 'ann'"),
    ({"per_pair": 3}, "only 2 raters"),
    ({"axis": []}, "unknown key"),
    ({"sampling": {"temperature": 9}}, "sampling.temperature"),
])
def test_what_cannot_be_is_refused_by_name(change: dict[str, object], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        make_study(None, {"models": MODELS, "raters": ["ann", "ben"], **change}, seed=1)


def test_questions_of_both_forms_are_the_same(tmp_path: Path) -> None:
    lines, table = tmp_path / "q.jsonl", tmp_path / "q.csv"
    lines.write_text('{"id": 7, "question": "Why?\\nSay, please", "gold": "x"}\n\n{"question": "  How? "}\n')
    table.write_bytes('\ufeffid,question,gold\r\n7,"Why?\nSay, please",x\r\n,How?,\r\n'.encode())
    assert [one.text for one in read_questions(lines)] == [one.text for one in read_questions(table)] == ["Why?\nSay, please", "How?"]
    assert [one.id for one in read_questions(table)] == ["7", "q2"]


@pytest.mark.parametrize(("name", "content", "says"), [
    ("q.jsonl", '{"question": "a"}\n{"question": " "}\n', "line 2: no question"),
    ("q.jsonl", '{"id": "x", "question": "a"}\n{"id": "x", "question": "b"}\n', "twice"),
    ("q.jsonl", "[1]\n", "line 1: no question"),
    ("q.jsonl", "", "holds no question"),
    ("q.jsonl", '{"question": "a"\n', "not valid JSON"),
    ("q.csv", "id,text\n1,a\n", 'no column "question"'),
])
def test_questions_that_cannot_be_asked(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(Refusal, match=says):
        read_questions(tmp_path / name)


def test_a_study_stays_what_it_was_made(tmp_path: Path) -> None:
    study = make_study(None, {"models": MODELS, "raters": ["ann"]}, seed=1)
    store = create(tmp_path, study, [Question("a", "Why?")])
    assert store.study == study
    with store.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with pytest.raises(Refusal, match="a study here already"):
        create(tmp_path, study, [Question("a", "Why?")])
    file = tmp_path / "study.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "reveal": "never"}))
    with pytest.raises(Refusal, match="changed since the study was made"):
        Store(tmp_path)
    file.unlink()
    with pytest.raises(Refusal, match="no study here"):
        Store(tmp_path)
