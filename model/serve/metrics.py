"""Figures of a server for Prometheus, by its own library (the extra `serve`): counts and times, no content, no keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.serve.engine import Engine
    from model.serve.guard import Record
    from model.serve.limits import Turns

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)  # upper bounds of the histogram's buckets


class Metrics:
    """The figures of one server. Raises ImportError where the library is not installed."""

    def __init__(self, turns: Turns, engine: Engine) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory and processor time
        by = ("method", "path", "status")
        self.requests = Counter("slm_requests", "Requests that were answered or refused.", by, registry=registry)
        self.seconds = Histogram(
            "slm_request_seconds", "From a request to the end of its response.", ("path",), registry=registry,
            buckets=SECONDS,
        )  # fmt: skip
        self.prompts = Counter("slm_prompt_tokens", "Tokens of prompts that were read.", registry=registry)
        self.answers = Counter("slm_answer_tokens", "Tokens that were generated.", registry=registry)
        running = Gauge("slm_texts_running", "Texts that are being generated.", registry=registry)
        running.set_function(lambda: engine.rows)
        asked = Gauge("slm_requests_waiting", "Requests that wait for their turn.", registry=registry)
        asked.set_function(lambda: turns.waiting)

    def count(self, record: Record, seconds: float) -> None:
        """Count a request that has ended."""
        self.requests.labels(record.method, record.path, str(record.status)).inc()
        self.seconds.labels(record.path).observe(seconds)
        self.prompts.inc(record.prompt_tokens)
        self.answers.inc(record.tokens)

    def text(self) -> tuple[bytes, str]:
        """(all figures in Prometheus's text format, its media type)."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
