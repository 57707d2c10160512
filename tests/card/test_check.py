"""The check: a whole card holds, and one digit or byte changed anywhere in it, in a record or in the model is found."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from medloom.card.manifest import altered
from medloom.checking import check
from medloom.ledger import Refusal

FORMS = ("README.md", "card.html", "card.json", "mlbom.cdx.json", "applied-model-card.xml", ".eval_results/medloom.yaml", "manifest.json")


def card_of(run: Path) -> Path:
    return (run / "latest" / "card").resolve()


def altered_digit(path: Path, place: int) -> None:
    """Change the digit of a file that lies nearest after a place in it."""
    text = path.read_text()
    found = re.compile(r"\d").search(text, place) or re.compile(r"\d").search(text)
    assert found is not None
    path.write_text(text[:found.start()] + str((int(found[0]) + 1) % 10) + text[found.end():])


def test_a_card_holds_by_the_folder_of_its_run_or_its_own(run: Path) -> None:
    assert check(run) == (card_of(run), [])
    assert check(card_of(run)) == (card_of(run), [])


@pytest.mark.parametrize("name", FORMS)
def test_one_digit_anywhere_in_any_form_is_found(run: Path, name: str) -> None:
    path = card_of(run) / name
    whole = path.read_text()
    for share in (0.02, 0.35, 0.65, 0.98):
        altered_digit(path, int(share * len(whole)))
        faults = check(run)[1]
        assert faults, share
        # In the manifest a digit may stand in a path, which is then said to be missing, or in a digest, which no file has.
        assert any(name in fault for fault in faults) or name == "manifest.json"
        path.write_text(whole)
    assert check(run)[1] == []


def test_a_changed_figure_is_told_once_in_each_form_and_with_both_wordings(run: Path) -> None:
    path = card_of(run) / "README.md"
    path.write_text(path.read_text().replace("| 78.3 |", "| 79.3 |", 1))
    (fault,) = check(run)[1]
    assert fault.startswith("README.md, line ")
    assert "| 79.3 |" in fault.partition("should say")[0]
    assert "| 78.3 |" in fault.partition("should say")[2]


def test_every_digit_of_the_readme_counts(run: Path) -> None:
    from medloom.card import check_card
    from medloom.recipe import Recipe
    from medloom.summary import lineage

    folder = card_of(run)
    record = json.loads((folder / "record.json").read_text())
    folders = {name: run / "steps" / made["step"] for name, made in record["inputs"].items()}
    made = lineage(Recipe.model_validate(record["params"]["recipe"]), folders)
    whole = (folder / "README.md").read_text()
    digits = [place for place, letter in enumerate(whole) if letter.isdigit()]
    for place in digits[::len(digits) // 25]:
        (folder / "README.md").write_text(whole[:place] + str((int(whole[place]) + 1) % 10) + whole[place + 1:])
        assert check_card(folder, made, folders), whole[place - 20:place + 20]
    (folder / "README.md").write_text(whole)
    assert check_card(folder, made, folders) == []


@pytest.mark.parametrize("step, name", [("pretrain", "model.safetensors"), ("export-Q4_K_M", "model-Q4_K_M.gguf")])
def test_a_byte_of_the_model_is_found(run: Path, step: str, name: str) -> None:
    path = run / "latest" / step / name
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(bytes(content))
    (fault,) = check(run)[1]
    assert fault.endswith(f"{name}: differs from its record")
    (fault,) = altered(card_of(run), json.loads((card_of(run) / "manifest.json").read_text()))
    assert f"{name}: is not the file that the manifest names" in fault


def test_a_picture_that_was_exchanged_is_found(run: Path) -> None:
    path = card_of(run) / "accuracy.png"
    path.write_bytes(path.read_bytes() + b"0")
    (fault,) = check(run)[1]
    assert fault.startswith("accuracy.png: is not the file that the manifest names")


def test_an_altered_record_is_found_by_the_chain_and_by_every_form(run: Path) -> None:
    path = run / "latest" / "compare" / "record.json"
    path.write_text(path.read_text().replace('"holm_p": 0.9', '"holm_p": 0.8', 1))
    faults = check(run)[1]
    assert any("was altered after it was entered" in fault for fault in faults)
    assert any("compare:figures/rows/0/holm_p: the card says 0.9, the ledger 0.8" in fault for fault in faults)
    assert any(fault.startswith("README.md, line") for fault in faults)


def test_answers_are_counted_again(run: Path) -> None:
    """Changed answers whose digest was mended everywhere still do not come to the recorded figure."""
    from medloom.card.recount import recount
    from medloom.card.trail import Trail

    folder = (run / "latest" / "evaluate-finetuned-invented").resolve()
    lines = (folder / "answers.jsonl").read_text().replace('"choice": 1', '"choice": 0', 1)
    (folder / "answers.jsonl").write_text(lines)
    trail = Trail({"steps": [json.loads((folder / "record.json").read_text())]})
    (fault,) = recount(trail, {"evaluate-finetuned-invented": folder})
    assert "the record says 47, its answers.jsonl holds 48" in fault


def test_what_is_missing_or_added_is_named(run: Path) -> None:
    (card_of(run) / "mlbom.cdx.json").unlink()
    (card_of(run) / "leaflet.txt").write_text("safe for patients")
    faults = check(run)[1]
    assert "mlbom.cdx.json: is missing" in faults
    assert "leaflet.txt: does not belong to the card" in faults


def test_forms_that_are_no_longer_readable_are_faults_and_no_accident(run: Path) -> None:
    for name in ("card.json", "manifest.json"):
        (card_of(run) / name).write_text("{")
    faults = check(run)[1]
    assert any(fault.startswith("card.json: holds no figures") for fault in faults)
    assert "manifest.json: is missing, or cannot be read" in faults


def test_a_folder_without_a_card_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(Refusal, match="medloom card RECIPE"):
        check(tmp_path)
    with pytest.raises(Refusal, match="medloom card RECIPE"):
        check(run / "latest" / "compare")


def test_the_check_does_not_depend_on_where_the_run_lies(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere", symlinks=True)
    assert check(tmp_path / "elsewhere")[1] == []


def test_a_record_that_no_card_can_be_written_from_is_a_fault(run: Path) -> None:
    path = run / "latest" / "compare" / "record.json"
    path.write_text(path.read_text().replace('"rows"', '"lines"', 1))
    faults = check(run)[1]
    assert any("was altered after it was entered" in fault for fault in faults)
    assert any("no card can be written from these records" in fault for fault in faults)


def test_a_broken_chain_is_a_fault(run: Path) -> None:
    chain = run / "ledger.jsonl"
    chain.write_text(chain.read_text().replace('"entered": "2', '"entered": "3', 1))
    assert any("does not follow the line before" in fault for fault in check(run)[1])


def test_the_last_card_is_found_after_a_road_that_wrote_none(run: Path) -> None:
    (run / "latest" / "card").unlink()
    (folder,) = (run / "steps").glob("card-*")
    assert check(run) == (folder.resolve(), [])
