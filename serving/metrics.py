"""What Prometheus is told of the API by any of its replicas: they share prometheus_client's files.

Ray starts replicas with PROMETHEUS_MULTIPROC_DIR set (serving.deploy), which switches the library
to its mode for several processes. Without it Feast does, with a folder of the process. Values
outlive a registry in that mode: what a replica counted stays counted when it is gone.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class State(NamedTuple):
    """What gauges tell of a replica."""

    version: str | None = None
    degraded: bool = False
    lost: int = 0


class Metrics:
    """Counters of one application; the route is a label, never the path.

    With the `folder` that replicas share, they are told of all of them, else of this process alone.
    """

    def __init__(self, state: Callable[[], State] = State, folder: Path | None = None) -> None:
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
            "shelfcast_requests_in_flight",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.refused = Counter(
            "shelfcast_requests_refused_total",
            "Requests refused by a replica; HAProxy refuses most before.",
            registry=self.registry,
        )
        self.model = Gauge(
            "shelfcast_model_info",
            "1 for each version that a replica serves.",
            ("version",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.degraded = Gauge(
            "shelfcast_degraded",
            "1 while features are the last good ones in a replica.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.lost = Gauge(
            "shelfcast_spool_lost_records",
            "Records that the ledger has lost since the start.",
            registry=self.registry,
            multiprocess_mode="sum",
        )
        self._told, self._read, self._folder = State(), state, folder

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer, and notes the state that it was given in."""
        self.requests.labels(method, route, status).inc()
        self.seconds.labels(method, route).observe(seconds)
        self.note()

    def note(self) -> None:
        """Tells the gauges of this replica what changed: others are asked for them as well."""
        state, told = self._read(), self._told
        if state == told:
            return
        self._told = state
        if state.version != told.version:
            for version, value in ((told.version, 0), (state.version, 1)):
                if version is not None:
                    self.model.labels(version).set(value)
        self.degraded.set(state.degraded)
        self.lost.set(state.lost)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        if self._folder is None:
            return bytes(generate_latest(self.registry))
        shared = CollectorRegistry()
        shared.register(Shared(self._folder))
        return bytes(generate_latest(shared))


class Shared(Collector):
    """Our metrics of all processes that write into a folder; Feast's are there, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The metrics added up, gauges over the processes that live."""
        for path in self._folder.glob("gauge_live*_*.db"):
            if not psutil.pid_exists(pid := int(path.stem.rsplit("_", 1)[1])):
                with suppress(FileNotFoundError):  # another replica is asked at the same time
                    mark_process_dead(pid, str(self._folder))
        for metric in MultiProcessCollector(None, str(self._folder)).collect():
            if metric.name.startswith("shelfcast_"):
                yield metric
