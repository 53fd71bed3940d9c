"""What Prometheus is told of this replica.

Feast switches the library to its mode for several processes, in which values outlive a registry:
they are of the process, and nothing is ever cleared.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counters of one application; the route is a label, never the path."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter(
            "shelfcast_requests_total",
            "Requests answered.",
            (*labels, "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "shelfcast_request_seconds",
            "Time from the request's head to the answer's end.",
            labels,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "shelfcast_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.refused = Counter(
            "shelfcast_requests_refused_total",
            "Requests refused by a replica; HAProxy refuses most before.",
            registry=self.registry,
        )
        self.model = Gauge(
            "shelfcast_model_info",
            "1 for the served version.",
            ("version",),
            registry=self.registry,
        )
        self.degraded = Gauge(
            "shelfcast_degraded", "1 while features are the last good ones.", registry=self.registry
        )
        self.lost = Gauge(
            "shelfcast_spool_lost_records",
            "Records that the ledger has lost since the start.",
            registry=self.registry,
        )

        self._version: str | None = None

    def _set_model(self, version: str | None, value: int) -> None:
        if version is not None:
            self.model.labels(version).set(value)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(method, route).observe(seconds)

    def text(self, version: str | None, *, degraded: bool, lost: int) -> bytes:
        """All of it in Prometheus' text format."""
        if version != self._version:
            self._set_model(self._version, 0)
            self._set_model(version, 1)
            self._version = version
        self.degraded.set(degraded)
        self.lost.set(lost)
        return bytes(generate_latest(self.registry))
