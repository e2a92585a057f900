"""What a service counts, for Prometheus: no name of a person, an item or a key is among it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        """Begins at 0."""
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("trine_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "trine_request_seconds",
            "Seconds from the request to the end of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.working = Gauge("trine_requests_in_work", "Requests in work.", registry=self.registry)
        self.refused = Counter(
            "trine_refused", "Requests refused, by the code of the error.", ("code",), registry=self.registry
        )
        self.batches = Histogram(
            "trine_batch_items",
            "Items embedded together.",
            ("gallery",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.items = Gauge("trine_gallery_items", "Items of a gallery.", ("gallery",), registry=self.registry)
        self.identities = Gauge(
            "trine_gallery_identities", "Identities of a gallery.", ("gallery",), registry=self.registry
        )
        self.jobs = Gauge("trine_jobs", "Jobs by their state.", ("state",), registry=self.registry)

    def text(self) -> bytes:
        """The counters in Prometheus' text format."""
        return generate_latest(self.registry)
