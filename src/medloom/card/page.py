"""The card as a page for people: the notice first, then plain words and plots; every figure leads to its key at the page's end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import count, groupby
from typing import Any

from markdown_it import MarkdownIt

from .. import pages
from ..plots import SHARES, Bar, reaching, rows, symmetric
from .compose import Card
from .prose import Section, linked, quoted
from .results import comparisons, final, interval
from .trail import Trail

ORDER = ("results", "uses", "risk", "contamination", "forgetting", "files", "limits", "data", "training", "environment", "details")
TITLES = {"results": "What it answers rightly", "uses": "What it is for, and what not", "risk": "Truthfulness, risk and bias",
          "contamination": "Whether it had seen the questions", "forgetting": "What it forgot",
          "files": "Smaller files and what they lose", "limits": "Limits", "data": "What it was trained on",
          "training": "How it was trained", "environment": "Energy and carbon", "details": "Model details",
          "keys": "Where every figure comes from"}
ABOUT = {
    "results": "Every dot is the share of questions answered rightly, with its 95 % interval; the upright mark is guessing, the dashed one "
               "always giving the commonest answer.",
    "differences": "The difference to the model before, in percentage points with its 95 % interval. Right of the zero line more questions "
                   "are answered rightly; an interval that touches the line shows no difference.",
    "forgetting": "From the hollow circle, before, to the full one, after: how badly held-out text is predicted, in bits per byte. Left is "
                  "better.",
    "files": "The difference to the model before quantisation, over all questions, in percentage points with its 95 % interval.",
}
MARKS = (("chance", "guessing"), ("majority", "always the commonest answer"))
_MARK = re.compile(r"\[\^(\d+)\]")


def html_page(card: Card) -> str:
    """The page. It runs no script and asks no network for anything; all that comes from outside is escaped."""
    plots = _Plots(card.trail)
    drawn = {"results": plots.scores() + plots.differences(), "forgetting": plots.forgetting(), "files": plots.files()}
    bodies = {key: _body(card, card.section(key), drawn.get(key, "")) for key in ORDER}
    bodies["keys"] = _keys(card.trail)
    warnings = "".join(f'<p class="caution" role="note">{_html(card, [warning]).removeprefix("<p>").removesuffix("</p>")}</p>'
                       for warning in card.warnings)
    opening = (f'<h1>{escape(card.name)}</h1><p class="notice" role="note"><strong>Advisory notice.</strong> {escape(card.notice)}</p>'
               f'{warnings}<div class="lead">{_html(card, [card.lead])}</div>{_tiles(card)}')
    closing = ("<p>Written from the run's ledger alone. Every figure is a link to its key; `medloom card check` looks each of them up "
               "again.</p>").replace("`medloom card check`", "<code>medloom card check</code>")
    return pages.html_page(f"Model card of {card.name}", opening, TITLES, bodies, closing, __package__, plots=True)


def _body(card: Card, section: Section, plot: str) -> str:
    """Words, then the plot, then the tables: behind a click where a plot shows the same, or where few will want them."""
    tables = _html(card, section.tables)
    if tables and (plot or section.key == "training"):
        tables = f"<details><summary>The numbers</summary>{tables}</details>"
    return _html(card, section.words) + plot + tables


def _html(card: Card, lines: Sequence[str]) -> str:
    """Lines of Markdown as HTML; tables in boxes that scroll by themselves where the window is narrow."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = str(reader.render(quoted("\n".join(lines)))).strip()
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>')
    html = html.replace("</table>", "</table></div>").replace('style="text-align:right"', 'class="num"')
    html = _MARK.sub(r'<a class="mark" href="#k\1">\1</a>', html)
    return linked(html, card.trail.figures)


def _tiles(card: Card) -> str:
    """The final model's share of right answers on each benchmark, large."""
    tiles = []
    for place, row in comparisons(card.trail):
        if row["model"] == final(card.trail):
            right, chance = (_link(card.trail, f"{place}/{field}") for field in ("accuracy", "chance"))
            told = f"right; guessing gives {chance}" if chance else "right"
            tiles.append(f'<div><dt>{escape(row["benchmark"])}</dt><dd>{right} <small>{told}</small></dd></div>')
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def _link(trail: Trail, key: str) -> str:
    """A share that the card states somewhere, as a link to its key; empty where it does not."""
    for figure in trail.figures:
        if figure.key == key:
            return f'<a class="figure" href="#k{figure.mark}" title="{escape(key)}">{escape(figure.printed)}&nbsp;%</a>'
    return ""


def _keys(trail: Trail) -> str:
    """Every figure with its key, by footnote."""
    bodies = []
    for mark, group in groupby(sorted(trail.figures, key=lambda figure: figure.mark), key=lambda figure: figure.mark):
        for place, figure in enumerate(group):
            named = f' id="k{mark}"' if place == 0 else ""
            bodies.append(f'<tr{named}><td class="num">{mark}</td><th scope="row">{escape(figure.name)}</th><td class="num">'
                          f"{escape(figure.printed)}</td><td><code>{escape(figure.key)}</code></td></tr>")
    if not bodies:
        return ""
    return ('<p class="note">A key is <code>step:path</code>: the step of the run, and the way through its record.</p>'
            '<div class="scroll" tabindex="0" role="region" aria-label="keys"><table class="keys"><thead><tr><th class="num">Note</th>'
            f'<th>Figure</th><th class="num">As printed</th><th>Key</th></tr></thead><tbody>{"".join(bodies)}</tbody></table></div>')


class _Plots:
    """The plots; each is empty where there is nothing to draw."""

    def __init__(self, trail: Trail) -> None:
        self.trail, self.rows = trail, [row for _, row in comparisons(trail)]
        self.models = list(dict.fromkeys([row["base"] for row in self.rows] + [row["model"] for row in self.rows]))
        self._idents = (f"plot-{n}" for n in count(1))

    def _colour(self, model: str) -> str:
        return f"m-{self.models.index(model) % 6}" if model in self.models else "m-0"

    def scores(self) -> str:
        """Accuracy of every model on every benchmark."""
        if not self.rows:
            return ""
        parts = [(benchmark, SHARES, list(self._scores([row for row in self.rows if row["benchmark"] == benchmark])))
                 for benchmark in dict.fromkeys(row["benchmark"] for row in self.rows)]
        return _figure("results", rows(next(self._idents), "Right answers by benchmark and model", parts))

    def _scores(self, own: Sequence[dict[str, Any]]) -> Iterator[Bar]:
        seen: set[str] = set()
        for row in own:
            for model, accuracy in ((row["base"], row["base_accuracy"]), (row["model"], row["accuracy"])):
                if model in seen or (model != row["model"] and any(each["model"] == model for each in own)):
                    continue
                seen.add(model)
                low, high = interval(row if model == row["model"] else {"accuracy": accuracy, "n": row["n"]})
                marks = tuple((row[key], f"{word} {100 * row[key]:.1f} %") for key, word in MARKS if row.get(key) is not None)
                told = f"{100 * accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
                yield Bar(model, told, accuracy, self._colour(model), (low, high), marks=marks)

    def differences(self) -> str:
        """Paired differences to the model before."""
        known = [row for row in self.rows if row.get("low") is not None and row.get("difference") is not None]
        if not known:
            return ""
        axis = symmetric(max(max(abs(row["low"]), abs(row["high"])) for row in known))
        pairs = dict.fromkeys((row["benchmark"], row["base"]) for row in known)
        parts = [(f"{benchmark}, against {base}", axis,
                  [self._difference(row["model"], row) for row in known if (row["benchmark"], row["base"]) == (benchmark, base)])
                 for benchmark, base in pairs]
        return _figure("differences", rows(next(self._idents), "Paired differences in points", parts, zero=True))

    def _difference(self, name: str, row: dict[str, Any]) -> Bar:
        told = f"{100 * row['difference']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        return Bar(name, told, row["difference"], self._colour(name), (row["low"], row["high"]))

    def forgetting(self) -> str:
        """Bits per byte before and after, by domain."""
        lines = self.trail.summary.get("forgetting") or []
        if not lines:
            return ""
        axis = reaching(max(max(line["before"], line["after"]) for line in lines))
        bars = [Bar(line["domain"], f"{line['before']:.3f} to {line['after']:.3f}", line["after"], "m-1", since=line["before"])
                for line in lines]
        return _figure("forgetting", rows(next(self._idents), "Bits per byte before and after", [("", axis, bars)]))

    def files(self) -> str:
        """What each quantised file loses of the answers."""
        files = self.trail.find("gate:figures/files") or ()
        known = [file for file in files if file.get("pooled") and file["pooled"].get("low") is not None]
        if not known:
            return ""
        axis = symmetric(max(max(abs(file["pooled"]["low"]), abs(file["pooled"]["high"])) for file in known))
        bars = [self._difference(file["type"], file["pooled"]) for file in known]
        return _figure("files", rows(next(self._idents), "Difference of each file to the model", [("", axis, bars)], zero=True))


def _figure(key: str, plot: str) -> str:
    told = f"{ABOUT[key]} The same numbers, each with its key, stand in the table below."
    return f'<p class="note">{escape(told)}</p><figure class="plot">{plot}</figure>'
