"""Numeric features of a sample's item, from the clicks strictly before its time. Not part of the parity protocol."""

import numpy as np

from logs import Log

HOUR_MS = 3600 * 1000


def numerics(log: Log, names: list[str]) -> np.ndarray:
    """[samples, names], each roughly of unit scale."""
    columns = [FEATURES[name](log).astype(np.float32) for name in names]
    return np.stack(columns, axis=1) if columns else np.zeros((len(log.item), 0), np.float32)


def age(log: Log) -> np.ndarray:
    """ln(1 + hours since the item's first positive event); 0 at that event itself."""
    first = np.full(1 + log.items, np.iinfo(np.int64).max)
    event, item = positives(log)
    np.minimum.at(first, item, log.time[event])
    time = log.time[log.event]
    return np.log1p(np.maximum(time - first[log.item], 0) / HOUR_MS) / 2


def clicks(log: Log, hours: float) -> np.ndarray:
    """ln(1 + positive events of the item in the last `hours`), with 0 events counted as 1.

    A sampled negative always has an event in the last 24 hours and a positive need not: without the
    floor, `clicks-24h` would tell the two apart by how negatives are drawn.
    """
    event, item = positives(log)
    origin = log.time.min() - 100 * 24 * HOUR_MS
    stride = int(log.time.max() - origin) + 1
    keys = np.sort(item * stride + (log.time[event] - origin))
    time = log.time[log.event] - origin
    end = np.searchsorted(keys, log.item * stride + time, side="left")
    begin = np.searchsorted(keys, log.item * stride + time - int(hours * HOUR_MS), side="left")
    return np.log1p(np.maximum(end - begin, 1)) / 4


def positives(log: Log) -> tuple[np.ndarray, np.ndarray]:
    liked = log.label > 0
    return log.event[liked], log.item[liked]


FEATURES = {
    "age": age,
    "clicks-1h": lambda log: clicks(log, 1),
    "clicks-6h": lambda log: clicks(log, 6),
    "clicks-24h": lambda log: clicks(log, 24),
}
