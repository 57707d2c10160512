"""What a person sees on the terminal: steps as they pass, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .numbers import change, percent, probability, significant

if TYPE_CHECKING:
    from rich.table import Table

    from .corpus.mixture import Forecast
    from .ledger import Done
    from .passport import Contamination, Sketch
    from .run import Run
    from .sweep import Sweep


MOST_FIGURES = 30


def step_line(name: str, done: Done) -> str:
    """One line about a step that was passed."""
    figures = done.record["figures"]
    learned = f"   loss {figures['first_loss']:.3f} to {figures['last_loss']:.3f}" if figures.get("last_loss") is not None else ""
    return f"  {name:<30} {done.record['wall_seconds']:7.1f} s{learned}" if done.fresh else f"  {name:<30}  there already"


def result_tables(summary: Mapping[str, Any]) -> Iterable[Table]:
    """Benchmarks, forgetting and quantisation, as far as the run has them."""
    if summary["comparisons"]:
        yield _benchmarks(summary["comparisons"])
    if summary["forgetting"]:
        yield _forgetting(summary["forgetting"])
    if summary["quantisation"]:
        yield _quantisation(summary["quantisation"])


def raters_table(raters: Iterable[Mapping[str, Any]]) -> Table:
    """How far each rater of a review has come."""
    from rich.table import Table

    table = Table("rater", "votes", "of", "last vote (UTC)", "link")
    for row in raters:
        table.add_row(row["rater"], str(row["done"]), str(row["total"]), row["last_vote"] or "none yet",
                      "given" if row["has_link"] else "none yet")
    return table


def cautions(summary: Mapping[str, Any]) -> list[str]:
    """What the table must not be read as: a line for each model whose answers to a benchmark are not above chance."""
    lines = []
    for row in summary["comparisons"]:
        asked = f"  {row['model']} on {row['benchmark']}:"
        if row["accuracy_high"] < row["chance"]:
            lines.append(f"{asked} below chance, which is a matter of how it answers and not of what it knows")
        elif row["accuracy_low"] <= row["chance"]:
            lines.append(f"{asked} at chance, no knowledge is shown")
        elif row["accuracy_low"] <= row["majority"]:
            lines.append(f"{asked} above chance, not shown to be above always giving the commonest answer")
    return lines


def where_files_lie(run: Run) -> list[str]:
    """A line for each thing that a person would open, and what it is."""
    latest = run.root / "latest"
    shown: list[tuple[str, Path]] = []
    if "card" in run.done:
        shown += [("model card", latest / "card" / "README.md"), ("model card, to be read", latest / "card" / "card.html")]
    trained = [name for name in ("finetune", "pretrain") if name in run.done]
    if trained:
        alone = (latest / trained[0] / "adapter_config.json").is_file()
        shown.append(("adapter, peft's form" if alone else "model, Hugging Face form", latest / trained[0]))
    measured = [row["type"] for row in run.summary["quantisation"]]  # without the step between, where there was one
    kinds = measured or [name.removeprefix("export-") for name in run.done if name.startswith("export-")]
    shown += [(f"GGUF {kind}", latest / f"export-{kind}" / f"model-{kind}.gguf") for kind in kinds]
    shown += [("all figures", run.root / "summary.json"), ("ledger", run.root / "ledger.jsonl")]
    return [f"  {what:<26} {path}" for what, path in shown]


def mixture_table(rows: Sequence[Forecast]) -> Table:
    """What each source is to give, and the sums."""
    from rich.table import Column, Table

    table = Table("source", *(Column(name, justify="right") for name in ("train documents", "held out", "train tokens", "held-out tokens",
                                                                          "tokens read", "share")),
                  title="Mixture forecast", title_justify="left", show_footer=False)
    read = sum(row.read_tokens for row in rows)
    for row in rows:
        table.add_row(row.name, f"{row.train_documents:,}", f"{row.valid_documents:,}", f"{row.train_tokens:,}", f"{row.valid_tokens:,}",
                      f"{row.read_tokens:,}", f"{row.read_tokens / read:.2%}")
    table.add_section()
    sums = [sum(getattr(row, name) for row in rows) for name in ("train_documents", "valid_documents", "train_tokens", "valid_tokens",
                                                                "read_tokens")]
    table.add_row("all", *(f"{value:,}" for value in sums), "100.00%")
    return table


def sweep_table(found: Sweep) -> Table:
    """Each benchmark under every seed, and how far the seeds lie apart."""
    from rich.table import Column, Table

    numbers = ("n", "chance", "base", *(f"seed {seed}" for seed in found.seeds), "mean", "deviation", "range")
    table = Table("benchmark", *(Column(name, justify="right") for name in numbers),
                  title="Accuracy by the seed of the finetuning", title_justify="left")
    for row in found.benchmarks:
        table.add_row(f"{row['benchmark']} ({row['mode']})", str(row["n"]), percent(row["chance"]), percent(row["base_accuracy"]),
                      *map(percent, row["accuracies"]), percent(row["mean"]), f"{100 * row['deviation']:.1f}",
                      f"{percent(row['low'])} to {percent(row['high'])}")
    return table


def contamination_lines(found: Contamination, sketch: Sketch) -> list[str]:
    """A benchmark held against a passport, in words."""
    from .passport.contamination import CONTAMINATED

    lines = [f"passport   {len(sketch.entries):,} entries: one {sketch.n}-word n-gram in {sketch.sampling} of {sketch.words:,} words in "
             f"{sketch.documents:,} documents; an unread one passes for read once in {1 / max(found.false_positive_rate, 1e-12):,.0f}",
             f"benchmark  {found.questions:,} questions, {found.tested:,} of which can be tested"]
    if found.share is None or found.low is None or found.high is None:
        return [*lines, "nothing can be said: no n-gram of this benchmark is among those that the passport samples"]
    lines += [f"read       {found.found:,} of {found.ngrams:,} n-grams of its own: {found.share:.2%} "
              f"[{found.low:.2%}, {found.high:.2%}]; by chance alone {found.ngrams * found.false_positive_rate:.1f} would be",
              f"           {found.contaminated:,} questions with {CONTAMINATED:.0%} of their n-grams read or more"]
    worst = sorted(found.rows, key=lambda row: (-row["share"], -row["ngrams"], row["id"]))[:5]
    lines += [f"           {row['id']}: {row['found']} of {row['ngrams']}" for row in worst if row["found"]]
    return [*lines, "What the base model had read before is not known to its passport."]


MAY_SHIP = {"passes": "yes", "fails": "no", "not shown": "not shown"}


def gate_tables(found: Mapping[str, Any]) -> Iterable[Table]:
    """Every file's figures and the gate's verdict, and its answers to each benchmark."""
    from rich.table import Column, Table

    def right(*names: str) -> list[Column]:
        return [Column(name, justify="right") for name in names]

    table = Table("GGUF", *right("MB", "KL", "at most", "99th %", "same token", "bits/byte", "accuracy", "difference [95 %]", "tok/s"),
                  "may ship", title="The gate", title_justify="left")
    answers = Table("GGUF", "benchmark", *right("n", "accuracy", "difference [95 %]", "won", "lost", "p", "ECE", "the model's"),
                    title="Each benchmark", title_justify="left")
    for row in found["files"]:
        pooled = row["pooled"]
        table.add_row(row["type"], f"{row['bytes'] / 1e6:.2f}", *(significant(row[key]) for key in ("kl", "kl_high", "kl_99")),
                      percent(row["argmax_agreement"]), "" if row["bits_per_byte"] is None else f"{row['bits_per_byte']:.4f}",
                      *(("", "") if pooled is None else (percent(pooled["accuracy"]), change(pooled))),
                      f"{row['write_tokens_per_second'] or 0:,.0f}", MAY_SHIP[row["verdict"]])
        for own in row["benchmarks"]:
            errors = ("" if own[key] is None else f"{own[key]:.3f}" for key in ("ece", "base_ece"))
            answers.add_row(row["type"], own["benchmark"], str(own["n"]), percent(own["accuracy"]), change(own), str(own["gained"]),
                            str(own["lost"]), probability(own["p_value"]), *errors)
        answers.add_section()
    yield table
    if answers.rows:
        yield answers


def gate_lines(found: Mapping[str, Any], folder: Path) -> list[str]:
    """Why a file does not pass, what may ship, and where the picture and the cards lie."""
    lines = [f"  {row['type']}: {finding['law']} {'not shown' if finding['verdict'] == 'not shown' else 'failed'}: {finding['reason']}"
             for row in found["files"] for finding in row["findings"] if finding["verdict"] != "passes"]
    margins = found["margins"]
    said = (f"no more than {100 * margins['accuracy']:g} points of accuracy and {margins['kl']:g} nats a token lost, "
            "each with 97.5 % certainty")
    lines.append(f"Smallest file that may ship: {found['smallest'] or 'none'} ({said})")
    return [*lines, f"  picture   {folder / 'quantisation.png'}", f"  cards     {folder / 'cards'}", f"  figures   {folder / 'gate.json'}"]


def reproduced_tables(report: Mapping[str, Any]) -> Iterable[Table]:
    """Every step of two runs, the answers that changed, and the figures that are not identical."""
    from rich.table import Column, Table

    table = Table("step", "output", *(Column(name, justify="right") for name in ("identical", "equivalent", "different")), "why",
                  title="Run again: outputs, and how many figures are alike", title_justify="left")
    for row in report["steps"]:
        table.add_row(row["step"], "states times" if row["output"] == "times" else row["output"],
                      *(str(row[key] or "") for key in ("identical", "equivalent", "different")), "\n".join(row["why"]))
    yield table
    changed = [row for row in report["answers"] if row["verdict"] != "identical"]
    if changed:
        numbers = (Column(name, justify="right") for name in ("n", "then", "now", "difference [95 %]"))
        table = Table("model", "benchmark", *numbers, "verdict", "why", title="Answers that changed", title_justify="left")
        for row in changed:
            table.add_row(row["model"], row["benchmark"], str(row["n"] or ""), percent(row["then"]), percent(row["now"]),
                          "" if row["difference"] is None else change(row), row["verdict"], row["why"])
        yield table
    if report["figures"]:
        table = Table("figure", Column("then", justify="right"), Column("now", justify="right"), "verdict",
                      title="Figures that are not identical", title_justify="left")
        for row in sorted(report["figures"], key=lambda row: str(row["verdict"]))[:MOST_FIGURES]:
            table.add_row(row["name"], str(row["then"]), str(row["now"]), row["verdict"])
        yield table


def reproduced_lines(report: Mapping[str, Any]) -> list[str]:
    """The verdict on two runs, what differs between their machines, and where all figures lie."""
    counts = {key: sum(row[key] for row in report["steps"]) for key in ("identical", "equivalent", "different")}
    compared = [row for row in report["steps"] if row["output"] != "times"]
    same = sum(row["output"] == "same" for row in compared)
    lines = [f"  {name}: {then} then, {now} now" for part in report["machines"].values() for name, (then, now) in part.items()]
    lines = ["What else differs between the two runs:", *lines] if lines else []
    tolerance = report["tolerance"]
    return [*lines,
            f"{report['verdict']}: {same} of {len(compared)} outputs to the last bit; of {sum(counts.values()):,} figures "
            + ", ".join(f"{value:,} {key}" for key, value in counts.items()),
            f"  equivalent: accuracy within {100 * tolerance['accuracy']:g} points with 95 % certainty, other numbers within "
            f"{100 * tolerance['relative']:g} %; times, speeds and memory are not compared",
            f"  {report['fresh']} steps were run just now, in {report['seconds']:.1f} s; all figures: {report['again']}/reproduction.json"]


def _benchmarks(rows: Iterable[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("benchmark", "model", "n", "chance", "accuracy [95 %]", "base", "difference [95 %]", "p (Holm)",
                  title="Questions answered", title_justify="left")
    last = None
    for row in sorted(rows, key=lambda row: str(row["benchmark"])):
        if last not in (None, row["benchmark"]):
            table.add_section()
        last = row["benchmark"]
        interval = f"{percent(row['accuracy'])} [{percent(row['accuracy_low'])}, {percent(row['accuracy_high'])}]"
        table.add_row(f"{row['benchmark']} ({row['mode']})", row["model"], str(row["n"]), percent(row["chance"]), interval,
                      percent(row["base_accuracy"]), change(row), probability(row["holm_p"]))
    return table


def _forgetting(lines: Iterable[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    lines = list(lines)
    models = list(lines[0]["stages"])
    table = Table("held-out text", "documents", *models, title="Bits per byte (less is better)", title_justify="left")
    for line in lines:
        shown = (f"{line['stages'][model]:.3f}" if model in line["stages"] else "" for model in models)
        table.add_row(line["domain"], str(line["documents"]), *shown)
    return table


def _quantisation(rows: Iterable[Mapping[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("GGUF", "megabytes", "KL (nats)", "same next token", "all benchmarks", "p (Holm) against unquantised", "may ship",
                  title="Quantised files", title_justify="left")
    for row in rows:
        table.add_row(row["type"], f"{row['bytes'] / 1e6:.2f}", significant(row["kl"]), percent(row["argmax_agreement"]),
                      percent(row["accuracy"]), probability(row["p_value"]), MAY_SHIP[row["verdict"]])
    return table
