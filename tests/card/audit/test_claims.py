"""What the audit reads: numbers in the words that other cards use, and none where there is none."""

from __future__ import annotations

import pytest

from medloom.card.audit import parse_card
from medloom.card.audit.runs import device_hours, training_tokens, wall_hours, weights


@pytest.mark.parametrize(("sentence", "kind", "value"), [
    ("The model was trained on 48.1B tokens.", "tokens", 48.1e9),
    ("Trained on 1.5 trillion tokens of text.", "tokens", 1.5e12),
    ("We pre-train on 15T+ tokens.", "tokens", 15e12),
    ("A corpus of 79 billion high-quality biomedical tokens was used for training.", "tokens", 79e9),
    ("Training saw 3,276,800 tokens.", "tokens", 3_276_800),
    ("It is a 6.7B-parameter model.", "parameters", 6.7e9),
    ("It has 14 billion parameters.", "parameters", 14e9),
    ("It has 46.7B parameters, 12.9 billion active parameters.", "active", 12.9e9),
    ("A cumulative 7.7M GPU hours of computation on hardware of type H100-80GB.", "gpu_hours", 7.7e6),
    ("It took 184,320 A100-hours.", "gpu_hours", 184_320),
    ("This took 1720320 A100-80GB GPU hours.", "gpu_hours", 1_720_320),
    ("Total GPU hours: 588.8", "gpu_hours", 588.8),
    ("It was trained on 64 TPU v4 chips for 3 days.", "hours", 72),
    ("Training took about 2 weeks on 8 GPUs.", "hours", 336),
    ("We trained on 8x A100 GPUs.", "gpus", 8),
    ("We trained on 32 nodes, each with 8 GPUs.", "gpus", 256),
    ("We trained on four nodes of eight H100 GPUs.", "gpus", 32),
    ("We trained on 4 nodes (8 H100 GPUs each).", "gpus", 32),
    ("Training ran on A100-80GB x 16 for a day.", "gpus", 16),
    ("We trained on a single RTX 4090.", "gpus", 1),
    ("The TDP is 400 W.", "watts", 400),
    ("(TDP of 250W)", "watts", 250),
    ("a PUE of 1.1", "pue", 1.1),
    ("A Power Usage Effectiveness (PUE) of 1.12 is assumed.", "pue", 1.12),
    ("0.016 kgCO2/kWh", "intensity", 0.016),
    ("an efficiency of 432 gCO2eq/kWh", "intensity", 0.432),
    ("Total emissions were 539 tCO2eq.", "carbon", 539e3),
    ("It emitted 12.3 kg of CO\u2082-eq.", "carbon", 12.3),
    ("It emitted 31.2 metric tons of CO2 equivalent.", "carbon", 31.2e3),
    ("The run used 235.5 kWh.", "kwh", 235.5),
    ("The run used 1.2 MWh.", "kwh", 1200),
    ("tensor parallelism of 8", "tensor", 8),
    ("4-way pipeline parallelism", "pipeline", 4),
    ("TP=8, PP=2, DP=16", "data", 16),
    ("a global batch size of 1600", "global_batch", 1600),
    ("an effective batch size of 128", "global_batch", 128),
    ("a global batch size of 4M tokens", "batch_tokens", 4e6),
    ("It was trained for 14,679 steps.", "steps", 14_679),
    ("a warm-up of 2000 steps", "warmup", 2000),
    ("It was finetuned for three epochs.", "epochs", 3),
    ("a learning rate of 3 x 10^-4", "rate", 3e-4),
    ("learning_rate: 2e-05", "rate", 2e-5),
    ("| Setting | Value |\n|---|---|\n| Peak LR | 1.5e-4 |", "rate", 1.5e-4),
    ("| lr | GPUs |\n|---|---|\n| 1e-4 | 16 |", "gpus", 16),
    ("reached an MFU of 38.4 %", "utilisation", 38.4),
    ("Training ran at 24k tokens per second.", "throughput", 24e3),
    ("- **Number of GPUs:** 8", "gpus", 8),
    ("| Quantity | Value |\n|---|---|\n| Tokens (B) | 300 |", "tokens", 300e9),
    ("| Quantity | Value |\n|---|---|\n| Hardware | 4 nodes of 8x H100 |", "gpus", 32),
    ("The run took 21 days.", "hours", 504),
    ("- **Carbon Emitted:** 6.8 kg", "carbon", 6.8),
    ("<table><tr><th>Energy (MWh)</th><td>3.5</td></tr></table>", "kwh", 3500),
])
def test_a_number_is_read_in_its_unit(sentence: str, kind: str, value: float) -> None:
    assert parse_card(f"# Card\n\n{sentence}\n").values(kind) == [pytest.approx(value)]


@pytest.mark.parametrize(("sentence", "kind"), [
    ("The context length is 32,000,000 tokens.", "tokens"),
    ("A batch of 4M tokens.", "tokens"),
    ("The vocabulary has 32M tokens.", "tokens"),
    ("LoRA has trainable parameters: 4,194,304 parameters", "tokens"),
    ("Inference needs 2 GPUs.", "gpus"),
    ("Training used 8 GPUs per node.", "gpus"),
    ("For inference, tensor parallelism of 8 is used.", "tensor"),
    ("The model fits on 1 A100.", "gpus"),
    ("Patients wait 24 hours.", "hours"),
    ("Trained on vital signs of the first 48 hours.", "hours"),
    ("A warm-up of 2000 steps.", "steps"),
    ("A checkpoint every 500 steps.", "steps"),
    ("The grid has 0.432 kgCO2eq/kWh.", "carbon"),
    ("This is equivalent to 12 kg CO2 of a car.", "carbon"),
    ("Batch size of 4M tokens.", "global_batch"),
    ("```python\ntrain(steps=5000)  # 5000 steps\n```", "steps"),
    ("<!-- trained for 5000 steps --> Nothing.", "steps"),
    ("data parallelism across nodes and tensor parallelism of 8", "data"),
])
def test_a_number_is_not_taken_for_what_it_is_not(sentence: str, kind: str) -> None:
    assert parse_card(f"# Card\n\n{sentence}\n").values(kind) == []


def test_a_claim_carries_its_sentence_and_its_rounding() -> None:
    [claim] = parse_card("# Card\n\nFirst this. It was trained on 48.1B tokens\nof text. Then that.\n").of("tokens")
    assert claim.quote == "It was trained on 48.1B tokens of text."
    assert claim.half == pytest.approx(0.05e9)


def test_the_base_model_s_tokens_are_not_the_card_s() -> None:
    card = parse_card("# Wren-8B\n\nWren continues Llama-3-8B. Llama 3 was pretrained on 15T tokens. We trained Wren on 2B tokens.\n")
    assert [claim.value for claim in training_tokens(card)] == [2e9]
    own = parse_card("# Llama 3\n\nLlama 3 was pretrained on 15T tokens.\n")
    assert [claim.value for claim in training_tokens(own)] == [15e12]


def test_a_part_of_the_corpus_is_not_its_whole() -> None:
    card = parse_card("# C\n\nThe training corpus has 48.1B tokens:\n\n- **Replay data**: 400M tokens of pretraining text\n")
    assert [claim.value for claim in training_tokens(card)] == [48.1e9]


def test_device_hours_are_told_from_hours_of_the_clock() -> None:
    card = parse_card("# C\n\nTraining took 73.6 hours on 8 A100 GPUs, that is 588.8 hours of computation.\n")
    assert wall_hours(card) == [73.6]
    assert [hours.value for hours in device_hours(card)] == [pytest.approx(588.8)]


def test_variants_keep_their_numbers_apart() -> None:
    card = parse_card("# Heron\n\n| | Params | GPU hours |\n|---|---|---|\n| Heron small | 7B | 100 |\n| Heron large | 70B | 1000 |\n"
                      "| Total | | 1100 |\n")
    common, small, large = card.runs
    assert (small.variant, small.values("gpu_hours"), weights(small)) == ("Heron small", [100], (7e9, "as stated"))
    assert (large.variant, large.values("gpu_hours"), weights(large)) == ("Heron large", [1000], (70e9, "as stated"))
    assert common.values("gpu_hours") == [1100]


def test_a_turned_table_has_its_variants_in_its_header() -> None:
    card = parse_card("# Heron\n\n| | 7B | 70B |\n|---|---|---|\n| DP size | 16 | 2 |\n| TP size | 4 | 8 |\n| PP size | 1 | 8 |\n")
    assert [(run.variant, run.values("data"), run.values("tensor")) for run in card.runs[1:]] == [("7B", [16], [4]), ("70B", [2], [8])]
