"""What rescoring and comparing found, in lines that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...numbers import percent, probability


def describe_rescore(found: Mapping[str, Any]) -> list[str]:
    """The lines of a `rescore`: the score, what may be wrong with it, the calibration, and how it stands against the base."""
    lines = [f"{found['file']}, answers read by {found['read_by']}", *_score(found["score"]), *_calibration(found["calibration"])]
    if "comparison" in found:
        lines += ["", f"{found['base_file']}, the base", *_score(found["base_score"]), *_calibration(found["base_calibration"]),
                  "", *_difference(found["comparison"])]
    return lines


def describe_compare(found: Mapping[str, Any]) -> list[str]:
    """The lines of a `compare_files`: a table of the benchmarks, and what was left out of it."""
    rows = [("benchmark", "n", "chance", "a [95 %]", "b", "a less b [95 %]", "only a, only b right", "p (Holm)", "")]
    for row in found["benchmarks"]:
        rows.append((row["benchmark"], f"{row['n']:,}", percent(row["chance"]),
                     f"{percent(row['accuracy'])} [{percent(row['accuracy_low'])}, {percent(row['accuracy_high'])}]",
                     percent(row["base_accuracy"]), _points(row), f"{row['gained']}, {row['lost']}",
                     probability(row["holm_p"]), row["verdict"]))
    lines = [f"a  {found['a']}", f"b  {found['b']}", "", *_aligned(rows), ""]
    for row in found["benchmarks"]:
        lines.append(f"{row['benchmark']}: paired by {row['paired_by']}, {row['test']} test, {_detectable(row)}")
        for side in "ab":
            if row[f"unpaired_{side}"]:
                lines.append(f"  {row[f'unpaired_{side}']:,} questions of {side} alone are left out, such as "
                             f"{', '.join(row[f'unpaired_{side}_named'])}")
    return lines + [f"in {side} alone: {', '.join(found[f'only_{side}'])}" for side in "ab" if found[f"only_{side}"]]


def _score(score: Mapping[str, Any]) -> list[str]:
    error = "" if score["standard_error"] is None else f", standard error {100 * score['standard_error']:.2f} points"
    asked = f", each asked up to {score['askings']} times" if score["askings"] > 1 else ""
    together = f" in {score['clusters']:,} clusters" if score["clusters"] < score["n"] else ""
    lines = [f"  accuracy    {percent(score['accuracy'])} [{percent(score['low'])}, {percent(score['high'])}]{error}; "
             f"{score['n']:,} questions{together}{asked}",
             f"  against     chance {percent(score['chance'])}, always the commonest answer {percent(score['majority'])}: "
             f"{score['verdict']}",
             f"  unread      {score['unparsed']:,} answers ({percent(score['unparsed_rate'])}); ties {score['ties']:,}"]
    if score["spread"] is not None:
        each = ", ".join(f"{name or 'first'} {percent(share)}" for name, share in score["by_asking"].items())
        lines.append(f"  askings     {each}; standard deviation {100 * score['spread']:.1f} points; "
                     f"the same choice in all for {percent(score['agreement'])}")
    if score["position_p"] is not None:
        numbers = sorted({*score["chosen"], *score["golds"]}, key=int)
        counts = ", ".join(f"{number}: {score['chosen'].get(number, 0)} / {score['golds'].get(number, 0)}" for number in numbers)
        lines.append(f"  options     chosen / right {counts}; alike: p {probability(score['position_p'])}")
    return lines + [f"  {name:<11} {percent(part['accuracy'])} [{percent(part['low'])}, {percent(part['high'])}] of {part['n']:,}"
                    for name, part in score["groups"].items()]


def _calibration(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    kept = ", ".join(f"{share} {percent(accuracy)}" for share, accuracy in found["accuracy_at"].items())
    return [f"  confidence  {percent(found['confidence'])} on average, {100 * found['overconfidence']:+.1f} points against accuracy; ECE "
            f"{100 * found['ece']:.1f} (adaptive {100 * found['adaptive_ece']:.1f}) points, Brier {found['brier']:.3f}",
            f"  when sure   accuracy on the most confident {kept}; AURC {found['aurc']:.3f}"]


def _difference(row: Mapping[str, Any]) -> list[str]:
    return [f"difference    {_points(row)} points: {row['verdict']} ({row['test']} p {probability(row['p_value'])}; {row['gained']:,} "
            f"answers right from the first alone, {row['lost']:,} from the base alone)",
            f"  bootstrap   [{100 * row['bootstrap_low']:+.1f}, {100 * row['bootstrap_high']:+.1f}]; {_detectable(row)}"]


def _detectable(row: Mapping[str, Any]) -> str:
    if row["detectable"] is None:
        return "the two never differ"
    return f"a true difference of {100 * row['detectable']:.1f} points would be found four times in five"


def _points(row: Mapping[str, Any]) -> str:
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *middle, _ = widths
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:-1], middle), row[-1]]).rstrip() for row in rows]
