"""The laws that a card is held to, in one list: a law is added by writing a function and naming it here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..claims import Card
from ..finding import Finding
from . import agreement, batch, carbon, chance, counts, layout, means, superiority, work


@dataclass(frozen=True)
class Law:
    """A law: its name, what must hold, where that is from, and the function that finds where it does not. `by_run` laws are asked of
    what the card says in common and of each variant of the model; the others of the whole card."""

    name: str
    holds: str
    source: str
    find: Callable[[Card], Iterator[Finding]]
    by_run: bool = False


LAWS = (
    Law("compute", "6 x parameters x tokens fits into the device hours at no more than 70 % of the devices' peak",
        "Kaplan et al. 2020, arXiv:2001.08361, section 2.1; peaks: makers' data sheets", work.compute, by_run=True),
    Law("utilisation", "a stated utilisation lies between 0 and 70 % and is what the stated work makes it",
        "Chowdhery et al. 2022, arXiv:2204.02311, appendix B", work.utilisation, by_run=True),
    Law("throughput", "tokens = tokens per second x seconds", "arithmetic", work.throughput, by_run=True),
    Law("device-hours", "device hours = devices x hours", "arithmetic", work.device_hours_agree, by_run=True),
    Law("size", "layers and width make about the stated number of parameters", "Kaplan et al. 2020, arXiv:2001.08361, table 1", work.size),
    Law("layout", "devices = data x tensor x pipeline (x context) ranks, stated alike in prose and table",
        "Narayanan et al. 2021, arXiv:2104.04473, section 3", layout.layout, by_run=True),
    Law("batch", "global batch = micro-batch x data ranks x accumulation; tokens = steps x batch x length",
        "Narayanan et al. 2021, arXiv:2104.04473, section 3", batch.batch, by_run=True),
    Law("steps", "tokens x epochs = steps x batch x length", "arithmetic", batch.steps, by_run=True),
    Law("schedule", "the warm-up is a small part of the run, the last learning rate no more than the first", "arithmetic",
        batch.schedule, by_run=True),
    Law("carbon-factors", "each factor has one value, and a power usage effectiveness is at least 1", "ISO/IEC 30134-2",
        carbon.factors, by_run=True),
    Law("units", "power times time is energy", "SI", carbon.units),
    Law("energy", "kWh = device hours x W / 1000, or less, times the stated factors", "arithmetic", carbon.energy, by_run=True),
    Law("carbon", "kg CO2e = kWh x overhead x PUE x kg/kWh", "Lacoste et al. 2019, arXiv:1910.09700", carbon.identity, by_run=True),
    Law("carbon-range", "the emissions ask of the grid no more carbon than any grid has",
        "IPCC AR5 WG3, annex III, table A.III.2", carbon.grid, by_run=True),
    Law("mean", "a printed average is the mean of what it stands under", "arithmetic", means.means),
    Law("total", "a printed total is the sum of its column", "arithmetic", means.totals),
    Law("pooling", "a mean of groups of unequal size is told apart from the share of all questions", "arithmetic", means.pooling),
    Law("double-counting", "an average counts no question twice", "the benchmarks' releases", means.double_counting),
    Law("whole-questions", "a share of n questions is k / n for a whole k",
        "GRIM: Brown and Heathers 2017, doi:10.1177/1948550616673876", counts.whole_questions),
    Law("range", "a share lies between 0 and 100 %, and a spread is one that such scores can have",
        "Popoviciu 1935, with n - 1", counts.ranges),
    Law("below-chance", "a score's interval does not lie below guessing", "Wilson 1927, doi:10.1080/01621459.1927.10502953",
        chance.below_chance),
    Law("better-than", "a claim of being better is borne out by the intervals of the card's own scores",
        "two-proportion test; Holm 1979", superiority.claims_of_better),
    Law("own-numbers", "the card of a quantised file shows that file's scores", "convention", superiority.own_numbers),
    Law("validation-tokens", "tokens held out are not counted as trained on", "arithmetic; the corpora's papers",
        agreement.validation_tokens),
    Law("agreement", "prose, tables, settings and front matter state the same", "arithmetic", agreement.settings),
    Law("scores-agree", "prose and tables state the same scores", "arithmetic", agreement.scores),
)
