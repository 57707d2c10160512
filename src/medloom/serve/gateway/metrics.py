"""What a server counts, in Prometheus's form. No text, and no name of a key, is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from ..models import Model

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one server; they go with it."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("medloom_requests", "Requests, by the status of the answer, or \"left\" where the client did",
                                ["path", "status"], registry=registry)
        self.read = Counter("medloom_tokens_read", "Tokens of prompts", ["model"], registry=registry)
        self.written = Counter("medloom_tokens_written", "Tokens of answers", ["model"], registry=registry)
        self.abstained = Counter("medloom_abstentions", "Questions that the model was too unsure to answer", ["model"], registry=registry)
        self.queued = Histogram("medloom_queue_seconds", "Time in the queue", ["model"], registry=registry, buckets=SECONDS)
        self.first = Histogram("medloom_first_piece_seconds", "Time from a slot to the first piece of a stream", ["model"],
                               registry=registry, buckets=SECONDS)
        self.took = Histogram("medloom_answer_seconds", "Time from a slot to the end of the answer", ["model"], registry=registry,
                              buckets=SECONDS)
        now: list[tuple[str, str, Callable[[Model], float]]] = [
            ("medloom_running", "Requests that hold a slot", lambda model: model.admission.running),
            ("medloom_waiting", "Requests in the queue", lambda model: model.admission.waiting),
            ("medloom_slots", "Requests that may run at once", lambda model: model.engine.slots),
            ("medloom_ready", "Whether the engine takes requests", lambda model: model.engine.ready),
            ("medloom_engine_restarts", "How often the engine had to be started again", lambda model: model.engine.restarts)]
        for name, told, read in now:
            gauge = Gauge(name, told, ["model"], registry=registry)
            for model in models:
                gauge.labels(model.name).set_function(partial(read, model))

    def text(self) -> bytes:
        """All of it, for a scrape."""
        return generate_latest(self._registry)
