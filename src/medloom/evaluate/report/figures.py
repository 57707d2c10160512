"""What each section of the page draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import count, groupby

from ...plots import SHARES, Axis, Bar, Line, chart, pairs, reaching, rows, symmetric
from .gather import Asked, Gathered, Result, words
from .published import MARK, Beside
from .tables import apart, between, domains, groups, how, letter, parts, percent, signed

COLOURS = 6


class Figures:
    """The plots of one evaluation; every method gives the HTML of one section, empty where there is nothing to draw."""

    def __init__(self, gathered: Gathered, known: Sequence[Beside]) -> None:
        self.gathered, self.known = gathered, known
        self._idents = (f"plot-{n}" for n in count(1))

    def colour(self, model: str) -> str:
        """The class of a model's colour."""
        return f"m-{self.gathered.models.index(model) % COLOURS}" if model in self.gathered.models else "m-0"

    def scores(self) -> str:
        """Every model's accuracy on every benchmark, with the published ones."""
        drawn = [(f"{asked.name} ({how(asked)})", SHARES, [*self._accuracies(asked), *self._published(asked)])
                 for asked in self.gathered.benchmarks]
        return _figure(rows(next(self._idents), "Accuracy by benchmark and model", drawn))

    def _accuracies(self, asked: Asked) -> Iterator[Bar]:
        for result in self.gathered.of(asked):
            score = result.score
            yield Bar(result.model, f"{percent(score.accuracy)} ({between(score.low, score.high)})", score.accuracy,
                      self.colour(result.model), (score.low, score.high),
                      marks=((score.chance, f"chance {percent(score.chance)}"), (score.majority, f"majority {percent(score.majority)}")))

    def _published(self, asked: Asked) -> Iterator[Bar]:
        for part in self.known:
            if part.group is None and part.results[0].asked == asked:
                for model in dict.fromkeys(one.model for one in part.published):
                    own = [one for one in part.published if one.model == model]
                    yield Bar(f"{model}, {MARK}", ", ".join(percent(one.share) for one in own), None, "",
                              faint=tuple((one.share, f"{model}, {one.source}, {MARK}: {percent(one.share)}") for one in own))

    def differences(self) -> str:
        """The forest: a row for each benchmark and model."""
        compared = self.gathered.comparisons
        if not compared:
            return ""
        axis = symmetric(max(max(abs(row["low"]), abs(row["high"])) for row in compared))
        drawn: list[tuple[str, Axis, list[Bar]]] = []
        for (benchmark, base), own in groupby(compared, key=lambda row: (row["benchmark"], row["base"])):
            bars = [Bar(row["model"], f"{apart(row)} {words(row)}", row["difference"],
                        self.colour(row["model"]), (row["low"], row["high"])) for row in own]
            drawn.append((f"{benchmark}, against {base}", axis, bars))
        return _figure(rows(next(self._idents), "Paired differences in accuracy, percentage points", drawn, zero=True))

    def reliability(self) -> str:
        """A card for each benchmark and model whose options have probabilities."""
        cards = []
        for result in self.gathered.results:
            if found := result.calibration:
                most = max(one.n for one in found.bins)
                line = Line(result.model, f"ECE {percent(found.ece)}; " + ", ".join(
                    f"{percent(one.confidence)} sure, {percent(one.accuracy)} right of {one.n:,}" for one in found.bins),
                    tuple((one.confidence, one.accuracy) for one in found.bins), self.colour(result.model),
                    tuple(one.n / most for one in found.bins))
                title = f"Reliability of {result.model} on {result.asked.name}"
                plot = chart(next(self._idents), title, "confidence, %", "right, %", [line], diagonal=True)
                sure = "too sure" if found.overconfidence > 0 else "not sure enough"
                told = f"ECE {percent(found.ece)}; {100 * abs(found.overconfidence):.1f} points {sure} on average; {found.n:,} answers"
                cards.append(_card(f"{result.model}, {result.asked.name}", told, plot))
        return _cards(cards)

    def subjects(self) -> str:
        """A card for each benchmark that has groups, and model."""
        cards = []
        for asked in self.gathered.benchmarks:
            results = self.gathered.of(asked)
            names = groups(results)
            for result in results if names else ():
                chance = ((result.score.chance, f"chance {percent(result.score.chance)}"),)
                bars = [Bar(f"{name} (n {own['n']:,.0f})", f"{percent(own['accuracy'])} ({between(own['low'], own['high'])})",
                            own["accuracy"], self.colour(result.model), (own["low"], own["high"]), filled=True, marks=chance)
                        for name in names if (own := result.score.groups.get(name))]
                plot = rows(next(self._idents), f"{asked.name} by subject: {result.model}", [("", SHARES, bars)])
                cards.append(_card(f"{result.model}, {asked.name}", "", plot))
        return _cards(cards)

    def risk(self) -> str:
        """A card for each benchmark with a curve for each model."""
        cards = []
        for asked in self.gathered.benchmarks:
            found = [(result, result.calibration) for result in self.gathered.of(asked) if result.calibration]
            if not found:
                continue
            top = min(1.0, reaching(max(risk for _, own in found for _, risk in own.curve)).high)
            lines = [Line(result.model, f"{percent(own.curve[-1][1])} wrong of all; right of the surest "
                          + ", ".join(f"{share.replace('%', ' %')} {percent(right)}" for share, right in own.accuracy_at.items()),
                          own.curve, self.colour(result.model)) for result, own in found]
            plot = chart(next(self._idents), f"Risk by coverage, {asked.name}", "answered, %", "wrong, %", lines, top)
            cards.append(_card(asked.name, "", plot + self._legend(result for result, _ in found)))
        return _cards(cards)

    def _legend(self, results: Iterable[Result]) -> str:
        return '<ul class="parts">' + "".join(f'<li><span class="chip {self.colour(result.model)}"></span>{escape(result.model)}</li>'
                                              for result in results) + "</ul>"

    def forgetting(self) -> str:
        """Held-out text and what was known before medicine, in one plot: bits per byte above, accuracy below."""
        heldout = self.gathered.heldout
        drawn: list[tuple[str, Axis, list[Bar]]] = []
        known = [own["bits_per_byte"] for found in heldout.values() for own in found.values()]
        if known:
            bars: list[Bar] = []
            for domain in domains(self.gathered):
                values = [(model, heldout[model][domain]["bits_per_byte"]) for model in self.gathered.models
                          if domain in heldout.get(model, {})]
                bars += self._changes(f"{domain} text", [(model, value, f"{value:.3f}") for model, value in values], 3, 1)
            drawn.append(("Held-out text, bits per byte: left is better", reaching(max(known)), bars))
        general = [asked for asked in self.gathered.benchmarks if asked.general]
        bars = []
        for asked in general:
            values = [(result.model, result.score.accuracy) for result in self.gathered.of(asked)]
            bars += self._changes(asked.name, [(model, value, percent(value)) for model, value in values], 1, 100)
        if bars:
            drawn.append(("General benchmarks, accuracy: right is better", SHARES, bars))
        return _figure(rows(next(self._idents), "Before and after: held-out text and general benchmarks", drawn)) if drawn else ""

    def _changes(self, name: str, values: Sequence[tuple[str, float, str]], digits: int, scale: float) -> list[Bar]:
        """A row for every model after the first, from the first's value to its own."""
        (first, before, told), *others = values
        return [Bar(f"{name}, {model}", f"{told} → {after} ({signed(scale * (value - before), digits)})", value, self.colour(model),
                    since=before) for model, value, after in others] or [Bar(f"{name}, {first}", told, before, self.colour(first))]

    def letters(self) -> str:
        """A card for each benchmark and model: how often each option was right and was chosen."""
        cards = []
        for result in self.gathered.results:
            score = result.score
            options = sorted({*score.chosen, *score.golds}, key=int)
            if options:
                bars = [(letter(option), score.golds.get(option, 0), score.chosen.get(option, 0)) for option in options]
                plot = pairs(next(self._idents), f"Options right and chosen: {result.model}, {result.asked.name}", bars,
                             self.colour(result.model))
                cards.append(_card(f"{result.model}, {result.asked.name}", "", plot))
        return _cards(cards)

    def askings(self) -> str:
        """The accuracy of each asking, where a benchmark was asked several times."""
        drawn = []
        for asked in self.gathered.benchmarks:
            bars = [Bar(result.model, f"{percent(score.accuracy)}, spread {100 * (score.spread or 0):.1f}", score.accuracy,
                        self.colour(result.model), dots=tuple((share, f"{name or 'first'}: {percent(share)}")
                                                              for name, share in score.by_asking.items()))
                    for result in self.gathered.of(asked) if (score := result.score).by_asking]
            if bars:
                drawn.append((asked.name, SHARES, bars))
        return _figure(rows(next(self._idents), "Accuracy of every asking", drawn)) if drawn else ""

    def contamination(self) -> str:
        """Clean beside contaminated, where the run tells them apart."""
        drawn = []
        for asked in self.gathered.benchmarks:
            bars = [Bar(f"{result.model}, {name} (n {own['n']:,})", f"{percent(own['accuracy'])} ({between(own['low'], own['high'])})",
                        own["accuracy"], self.colour(result.model), (own["low"], own["high"]))
                    for result in self.gathered.of(asked) for name, own in parts(result)]
            if bars:
                drawn.append((asked.name, SHARES, bars))
        return _figure(rows(next(self._idents), "Accuracy on clean and on contaminated questions", drawn)) if drawn else ""


def _figure(plot: str) -> str:
    return f'<figure class="plot">{plot}</figure>'


def _card(title: str, told: str, plot: str) -> str:
    about = f'<p class="note">{escape(told)}</p>' if told else ""
    return f'<figure class="card"><h3>{escape(title)}</h3>{about}{plot}</figure>'


def _cards(cards: Sequence[str]) -> str:
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""
