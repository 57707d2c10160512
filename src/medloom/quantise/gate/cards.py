"""A card for each file: its own figures, never those of the model it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.ledger.files import write_text
from medloom.notice import NOTICE
from medloom.numbers import change, percent, probability

from .judge import Margins


def write_file_cards(name: str, licence: str | None, rows: Sequence[Mapping[str, Any]], margins: Margins, out: Path) -> None:
    """Write `out`/TYPE.md for each of `rows`, which are the gate's figures. name: the model's; licence: None where none is stated."""
    for row in rows:
        write_text(out / f"{row['type']}.md", "\n".join(_card(name, licence, row, margins)))


def _card(name: str, licence: str | None, row: Mapping[str, Any], margins: Margins) -> list[str]:
    lines = [f"# {name}, {row['type']}", "", f"> **{NOTICE}**", "",
             f"- **File:** `{row['file']}`, {row['bytes']:,} bytes, SHA-256 `{row['sha256']}`",
             f"- **Licence:** {licence or 'not stated'}",
             f"- **May ship:** {_ANSWER[row['verdict']]}", "", "| law | verdict | why |", "|---|---|---|"]
    lines += [f"| {finding['law']} | {finding['verdict']} | {finding['reason']} |" for finding in row["findings"]]
    lines += ["", "A law is passed where the 95 % interval rules out a loss of more than "
              f"{100 * margins.accuracy:g} points of accuracy, or of {margins.kl:g} nats a token. All figures were measured "
              "on this file, against the model before quantisation in float32.",
              "", "## Distribution", "", "| figure | this file |", "|---|---|"]
    lines += [f"| {label} | {shown} |" for label, shown in _distribution(row)]
    if row["benchmarks"]:
        lines += ["", "## Benchmarks", "",
                  "| benchmark | n | this file | the model | difference, points [95 %] | won back | lost | p | calibration error "
                  "| the model's |", f"|{'---|' * 10}"]
        lines += [_benchmark(own) for own in row["benchmarks"]]
        lines += ["", "Won back: questions that the model answered wrongly and this file rightly; lost: the other way round. "
                  "p: McNemar's exact test, not adjusted. Calibration error: expected, 15 bins."]
    return [*lines, ""]


_ANSWER = {"passes": "yes, it is shown not to be worse by more than the margins", "fails": "no",
           "not shown": "not shown: too little was asked or read to tell"}


def _distribution(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    def number(value: float | None, form: str) -> str:
        return "none" if value is None else format(value, form)

    return [("positions, texts", f"{row['positions']:,}, {row['texts']:,}"),
            ("KL divergence, mean nats a token [95 %]", f"{number(row['kl'], '.3g')} [{number(row['kl_low'], '.3g')}, "
                                                         f"{number(row['kl_high'], '.3g')}]"),
            ("its 99th percentile", number(row["kl_99"], ".3g")),
            ("same likeliest token", percent(row["argmax_agreement"]) or "none"),
            ("bits per byte of this file, of the model", f"{number(row['bits_per_byte'], '.4f')}, "
                                                       f"{number(row['base_bits_per_byte'], '.4f')}"),
            (f"tokens a second read, written ({row['threads']} threads, where it was measured)",
             f"{row['read_tokens_per_second']:.0f}, {number(row['write_tokens_per_second'], '.0f')}")]


def _benchmark(own: Mapping[str, Any]) -> str:
    errors = ["" if own[key] is None else f"{own[key]:.3f}" for key in ("ece", "base_ece")]
    cells = (own["benchmark"], str(own["n"]), percent(own["accuracy"]), percent(own["base_accuracy"]), change(own), str(own["gained"]),
             str(own["lost"]), probability(own["p_value"]), *errors)
    return f"| {' | '.join(cells)} |"
