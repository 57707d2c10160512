"""The plan against published runs and against arithmetic done by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from medloom.ledger import Refusal
from medloom.plan import on_grid, on_hardware, plan, tables
from medloom.recipe import Recipe, RecipeError, read_recipe
from medloom.recipe.tables import GGUFType

MEDITRON = Path(__file__).resolve().parents[2] / "recipes" / "meditron-7b.toml"
SEVENTY = ("base.path=Llama-2-70b-hf", "base.name=meta-llama/Llama-2-70b-hf", "layout.data=2", "layout.tensor=8", "layout.pipeline=8",
           "hardware.count=128", "pretrain.length=4096", "pretrain.batch=512", "pretrain.micro_batch=4", "finetune.length=4096")
SMALL = {"hidden": 64, "feed_forward": 172, "layers": 5, "heads": 8, "kv_heads": 4, "context": 512, "vocabulary": 512}


def small(**more: object) -> Recipe:
    recipe = {"name": "small", "base": {"new": SMALL}, "corpus": {"sources": [{"name": "a", "format": "text", "path": "a"}]},
              "pretrain": {"tokens": 1_000_000}, **more}
    return Recipe.model_validate(recipe)


def test_meditron_7b_has_llama_2s_parameters_and_the_flops_of_its_tokens() -> None:
    found = plan(read_recipe(MEDITRON))
    assert found.parameters == 6_738_415_616
    assert found.flops == pytest.approx(1.945e21, rel=1e-3)
    assert found.flops_with_attention == pytest.approx(2.062e21, rel=1e-3)
    assert found.steps == 14_679


def test_meditron_7b_takes_the_hours_of_64_gpus_not_of_8() -> None:
    found = plan(read_recipe(MEDITRON), utilisation=0.368)
    assert found.gpu_hours == pytest.approx(64 * 73.6, rel=0.05)
    assert found.hours == pytest.approx(73.6, rel=0.05)
    assert found.utilisation_with_attention == pytest.approx(0.390, abs=0.001)
    assert found.fits
    assert found.memory_per_rank_gb < 80
    assert found.kg_co2e == pytest.approx(53.9, rel=0.01)


def test_meditron_7bs_prose_layout_is_refused_on_8_gpus() -> None:
    prose = ("layout.data=2", "layout.pipeline=4", "layout.tensor=1", "hardware.count=8", "pretrain.micro_batch=20",
             "finetune.micro_batch=2")
    found = plan(read_recipe(MEDITRON, prose))
    assert not found.fits
    assert found.memory_per_rank_gb > 80
    assert found.memory.stage == 0, "the first stage has the most micro-batches in flight"


def test_the_tables_layout_needs_more_than_8_gpus() -> None:
    with pytest.raises(RecipeError, match="64 processes"):
        read_recipe(MEDITRON, ("hardware.count=8",))


def test_whatever_the_trainer_would_refuse_is_a_reason() -> None:
    found = plan(read_recipe(MEDITRON, ("layout.tensor=5", "hardware.count=80")))
    assert not found.fits
    assert "does not divide the 32 attention heads" in found.reasons[0]
    long = plan(read_recipe(MEDITRON, ("pretrain.length=8192",)))
    assert any(reason.startswith("pretrain: length = 8192 is more than the 4096 positions") for reason in long.reasons)


def test_the_cards_schedule_ends_where_its_paper_says() -> None:
    """The card's 2000 steps of warm-up are 13.6 % of its run, and its paper's last rate 1.68e-4 (arXiv 2311.16079, appendix D.1)."""
    (stage,) = plan(read_recipe(MEDITRON)).stages
    assert stage.warmup_steps == pytest.approx(2000, abs=2)
    assert stage.warmup_steps / stage.steps == pytest.approx(0.136, abs=5e-4)
    assert stage.last_rate == pytest.approx(1.68e-4, rel=1e-3)
    assert stage.tokens_per_step == 1600 * 2048 and stage.micro_batches == 10


def test_other_hardware_and_another_grid_change_what_rests_on_them() -> None:
    """The card's GPU-hours with the node's overhead and PUE of its paper and the grid of 2023: 117 kg instead of the printed 6.8."""
    read = read_recipe(MEDITRON)
    swiss = plan(on_grid(read, "che"), utilisation=0.368)
    assert swiss.kg_co2e == pytest.approx(117, rel=0.01)
    assert swiss.g_per_kwh == 34.8 and "2023" in swiss.grid
    elsewhere, device = on_hardware(read, "H100-80G")
    quick = plan(elsewhere, device=device, utilisation=0.368)
    assert quick.gpu_hours == pytest.approx(swiss.gpu_hours * 312 / 989)
    assert quick.watts == 700 and quick.overhead == 1.625
    with pytest.raises(Refusal, match="--search 8xH100-80G"):
        on_hardware(read, "8xH100-80G")


def test_adapters_learn_a_little_and_keep_no_gradients_of_the_rest() -> None:
    """Rank 16 on all projections of Llama 2 7B: 39,976,960 weights, as peft counts them."""
    lora = ("layout.data=64", "layout.tensor=1", "pretrain.micro_batch=64", "finetune.lora.rank=16")
    found = plan(read_recipe(MEDITRON, lora), tokens={"finetune": 100_000_000})
    stage = found.stages[1]
    assert stage.learned == 39_976_960
    assert stage.flops / stage.tokens == pytest.approx(4 * found.parameters + 6 * 39_976_960)
    assert stage.memory.optimiser_gb == pytest.approx(8 * 39_976_960 / 64 / 1e9)
    assert stage.memory.weights_gb == pytest.approx(4 * (found.parameters + 39_976_960) / 64 / 1e9, rel=1e-3)


def test_disk_is_what_the_road_writes() -> None:
    """Llama 2 7B in GGUF as llama.cpp's users know it: 13.48, 7.16 and 4.08 GB; tokens of two bytes."""
    disk = plan(read_recipe(MEDITRON)).disk
    assert disk.tokens_gb == pytest.approx(96.2)
    assert disk.gguf_gb == pytest.approx({"F16": 13.48, "Q8_0": 7.16, "Q4_K_M": 4.08}, rel=2e-3)
    every = [kind for kind in get_args(GGUFType) if not kind.startswith(("F", "B"))]
    sizes = plan(read_recipe(MEDITRON, (f"export.types={json.dumps(every)}", "export.imatrix=100_000"))).disk.gguf_gb
    assert list(sizes) == every and all(1.6 < size < 7.2 for size in sizes.values())
    assert disk.checkpoints_gb == pytest.approx(3 * 12 * 6.738415616)


def test_meditron_70b_within_five_percent_of_its_hours_at_the_prior() -> None:
    found = plan(read_recipe(MEDITRON, SEVENTY))
    assert found.parameters == 68_976_648_192
    assert found.gpu_hours == pytest.approx(42_496, rel=0.05)
    assert found.ranks == 128


def test_the_shape_is_read_from_a_folder_a_checkpoint_or_a_published_name(tmp_path: Path, shared: Path) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": 512, "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5,
              "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
              "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    by_folder = plan(small(), model_folder=tmp_path)
    checkpoint = next((shared / "models" / "stories260K").glob("*.bin"))
    tokenizer = {"path": str(checkpoint), "tokenizer": "unused.model"}
    assert by_folder.parameters == plan(small(base=tokenizer)).parameters == plan(small()).parameters
    assert 250_000 < by_folder.parameters < 270_000


def test_an_unknown_shape_is_refused_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"config\.json.*base\.name"):
        plan(small(base={"path": str(tmp_path / "nowhere")}))


def test_states_are_sixteen_bytes_a_parameter_in_float32_and_shard_over_data() -> None:
    alone = plan(small(pretrain={"tokens": 1000, "precision": "fp32", "batch": 32}))
    states = alone.memory.weights_gb + alone.memory.gradients_gb + alone.memory.optimiser_gb
    assert states * 1e9 == pytest.approx(16 * alone.parameters)
    split = plan(small(pretrain={"tokens": 1000, "precision": "fp32", "batch": 32}, layout={"data": 4}, hardware={"count": 4}))
    assert split.memory.optimiser_gb == pytest.approx(alone.memory.optimiser_gb / 4)


def test_energy_and_carbon_are_the_product_of_their_named_factors() -> None:
    machine = {"watts": 300, "overhead": 1.2, "peak_tflops": 1, "dollars_per_hour": 2}
    found = plan(small(hardware=machine, grid={"g_per_kwh": 50, "pue": 1.1, "source": "s"}))
    assert found.gpu_hours == pytest.approx(6 * found.parameters * 1e6 / 0.4e12 / 3600)
    assert found.kwh == pytest.approx(found.gpu_hours * 0.3 * 1.2 * 1.1)
    assert found.kg_co2e == pytest.approx(found.kwh * 0.05)
    assert found.dollars == pytest.approx(2 * found.gpu_hours)
    assert found.gpu_hours_range["low"] > found.gpu_hours > found.gpu_hours_range["high"]


def test_tokens_are_guessed_from_files_and_refused_without_any(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 800)
    whole, drawn = {"name": "a", "format": "text", "path": str(tmp_path)}, {"name": "b", "format": "text", "path": "b", "share": 0.5}
    found = plan(small(corpus={"sources": [whole, drawn]}, pretrain={"epochs": 2}))
    assert found.tokens == 4000
    assert any("guessed" in note for note in found.notes)
    with pytest.raises(Refusal, match=r"pretrain\.tokens"):
        plan(small(pretrain={}))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_impossible_utilisation_is_refused(share: float) -> None:
    with pytest.raises(Refusal, match="utilisation"):
        plan(small(), utilisation=share)


def test_the_tables_state_what_the_json_states() -> None:
    found = plan(read_recipe(MEDITRON), utilisation=0.368)
    page = Console(file=StringIO(), width=200)
    for table in tables(found):
        page.print(table)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    for part in ("6,738,415,616", "1.945e+21", f"{found.gpu_hours:,.1f}", "overhead 1.625", "PUE 1.1", "16 g/kWh", "fits"):
        assert part in text
    assert text.count("PUE") == text.count("g/kWh") == text.count("overhead") == 1
    assert json.loads(json.dumps(asdict(found)))["fits"] is True
