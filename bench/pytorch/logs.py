"""Reads the raw logs into padded arrays: one row per sample, histories per event.

An *event* is a rating or a click. A *sample* is what a model scores: the event itself, or a
negative drawn for it. On MovieLens the two coincide (ratings below 4 are the negatives); on Globo
every click has a second sample that shares its user, time, context and history.
"""

import glob
import gzip
import hashlib
import os
import pickle
from dataclasses import dataclass

import numpy as np
import pandas as pd

HISTORY = 30
DAY_MS = 24 * 3600 * 1000
GLOBO_CONTEXT = [
    "click_environment",
    "click_deviceGroup",
    "click_os",
    "click_country",
    "click_region",
    "click_referrer_type",
]


@dataclass
class Log:
    """A log in time order. Item ids start at 1; 0 is the reserved pad. Other ids start at 0."""

    user: np.ndarray  # [events]
    time: np.ndarray  # [events], in units of the file
    history: np.ndarray  # [events, HISTORY] item ids, 0 where there is none
    context: np.ndarray  # [events, fields]; no columns on MovieLens
    event: np.ndarray  # [samples] index of the sample's event
    item: np.ndarray  # [samples]
    label: np.ndarray  # [samples] 0 or 1
    cates: np.ndarray  # [1 + items, categories], rows sum to 1 (row 0 to 0); no columns on Globo
    users: int
    items: int
    context_sizes: list[int]
    notes: dict  # counts worth reporting

    def samples_of_events(self, start: int, stop: int) -> slice:
        """The samples whose events are in [start, stop): samples are kept in event order."""
        lo, hi = np.searchsorted(self.event, [start, stop])
        return slice(int(lo), int(hi))


def load(data: str, dataset: str, negatives: str = "uniform", data_seed: int = 0) -> Log:
    """Loads a log; what it made is cached in the temporary folder, keyed by the arguments and this file."""
    with open(__file__, "rb") as source:
        code = hashlib.sha256(source.read()).hexdigest()
    key = hashlib.sha256(f"{os.path.abspath(data)} {dataset} {negatives} {data_seed} {code}".encode())
    folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), "perennial-bench-cache")
    path = os.path.join(folder, f"{key.hexdigest()[:24]}.pickle")
    if not os.path.exists(path):
        log = READERS[dataset](data, negatives, data_seed)
        os.makedirs(folder, exist_ok=True)
        with open(f"{path}.{os.getpid()}", "wb") as out:
            pickle.dump(log, out, protocol=5)
        os.replace(f"{path}.{os.getpid()}", path)
    with open(path, "rb") as cached:
        return pickle.load(cached)


def read_ml_100k(data: str, _negatives: str, _data_seed: int) -> Log:
    folder = os.path.join(data, "ml-100k")
    names = ["user", "item", "rating", "time"]
    ratings = pd.read_csv(os.path.join(folder, "u.data"), sep="\t", names=names)
    genres = {}
    with open(os.path.join(folder, "u.item"), encoding="latin-1") as rows:
        for row in rows:
            cells = row.rstrip("\n").split("|")
            genres[int(cells[0])] = [g for g, flag in enumerate(cells[-19:]) if flag == "1"]
    return movielens(ratings, genres)


def read_ml_1m(data: str, _negatives: str, _data_seed: int) -> Log:
    folder = os.path.join(data, "ml-1m-half")
    with gzip.open(os.path.join(folder, "ratings.dat.gz"), "rt") as rows:
        cells = [row.rstrip("\n").split("::") for row in rows]
    ratings = pd.DataFrame(np.array(cells, dtype=np.int64), columns=["user", "item", "rating", "time"])
    genres = {}
    with open(os.path.join(folder, "movies.dat"), encoding="latin-1") as rows:
        for row in rows:
            movie, _title, names = row.rstrip("\n").split("::")
            genres[int(movie)] = names.split("|")
    return movielens(ratings, genres)


def movielens(ratings: pd.DataFrame, genres: dict) -> Log:
    ratings = ratings.sort_values("time", kind="stable")
    user, users = ids(ratings["user"])
    item, items = ids(ratings["item"])
    item += 1
    time = ratings["time"].to_numpy()
    label = (ratings["rating"].to_numpy() >= 4).astype(np.float32)
    return Log(
        user=user,
        time=time,
        history=histories(user, time, item, label > 0),
        context=np.zeros((len(user), 0), np.int64),
        event=np.arange(len(user)),
        item=item,
        label=label,
        cates=genre_means([genres[raw] for raw in sorted(ratings["item"].unique())]),
        users=users,
        items=items,
        context_sizes=[],
        notes={"positives": float(label.mean())},
    )


def genre_means(genres_of_items: list) -> np.ndarray:
    """[1 + items, genres]: row times the genre table is the mean of the item's genre rows."""
    names = sorted({genre for genres in genres_of_items for genre in genres})
    means = np.zeros((1 + len(genres_of_items), len(names)), np.float32)
    for row, genres in enumerate(genres_of_items, start=1):
        means[row, [names.index(genre) for genre in genres]] = 1 / len(genres)
    return means


def read_globo(data: str, negatives: str, data_seed: int) -> Log:
    files = sorted(glob.glob(os.path.join(data, "globo-clicks-w1", "*.csv.gz")))
    if not files:
        raise SystemExit(f"no globo-clicks-w1/*.csv.gz under {data}")
    clicks = pd.concat([pd.read_csv(file, dtype=np.int64) for file in files], ignore_index=True)
    clicks = clicks[clicks.groupby("user_id")["user_id"].transform("size") >= 5]
    clicks = clicks.sort_values("click_timestamp", kind="stable")
    user, users = ids(clicks["user_id"])
    item, items = ids(clicks["click_article_id"])
    item += 1
    time = clicks["click_timestamp"].to_numpy()
    context = [ids(clicks[column]) for column in GLOBO_CONTEXT]
    history = histories(user, time, item, np.ones(len(user), bool))
    drawn, stuck = draw_negatives(time, item, history, negatives, data_seed)

    has = drawn > 0
    event = np.repeat(np.arange(len(user)), 1 + has)
    label = np.ones(len(event), np.float32)
    label[1:][event[1:] == event[:-1]] = 0
    samples = np.repeat(item, 1 + has)
    samples[label == 0] = drawn[has]
    return Log(
        user=user,
        time=time,
        history=history,
        context=np.stack([column for column, _ in context], axis=1),
        event=event,
        item=samples,
        label=label,
        cates=np.zeros((1 + items, 0), np.float32),
        users=users,
        items=items,
        context_sizes=[size for _, size in context],
        notes={"clicks": len(user), "clicks_without_negative": stuck},
    )


def ids(column: pd.Series) -> tuple[np.ndarray, int]:
    """Dense ids from 0 over the whole log, in order of the raw id, and how many there are."""
    values, dense = np.unique(column.to_numpy(), return_inverse=True)
    return dense.astype(np.int64), len(values)


def histories(user: np.ndarray, time: np.ndarray, item: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """[events, HISTORY]: the user's latest positives with a strictly smaller time."""
    order = np.lexsort((time, user))  # stable: time order is kept within a user
    u, t, p = user[order], time[order], positive[order]
    before = np.cumsum(p) - p  # positives ahead of each event, over all users
    new_user = np.r_[True, u[1:] != u[:-1]]
    new_time = new_user | np.r_[True, t[1:] != t[:-1]]
    row = np.arange(len(u))
    first = before[np.maximum.accumulate(np.where(new_user, row, 0))]
    last = before[np.maximum.accumulate(np.where(new_time, row, 0))]

    liked = item[order][p]
    back = last[:, None] - 1 - np.arange(HISTORY)[None, :]
    found = np.where(back >= first[:, None], liked[np.maximum(back, 0)], 0)
    result = np.zeros((len(u), HISTORY), np.int32)
    result[order] = found
    return result


def draw_negatives(time, item, history, how: str, seed: int) -> tuple[np.ndarray, int]:
    """One article per click from the clicks in [t - 24 h, t), 0 where there is no candidate.

    `uniform` gives every distinct article of the window the same chance: a click drawn uniformly is
    kept when it is its article's first in the window. `popularity` keeps every click drawn. The
    positive and the articles of the history are redrawn; after 2000 draws the candidates are listed,
    and a click that truly has none keeps its positive sample only.
    """
    rng = np.random.default_rng(seed)
    low = np.searchsorted(time, time - DAY_MS, side="left")
    high = np.searchsorted(time, time, side="left")
    previous = previous_click(item)
    drawn = np.zeros(len(time), np.int64)
    open_ = np.flatnonzero(high > low)
    for _ in range(2000):
        click = rng.integers(low[open_], high[open_])
        article = item[click]
        good = (article != item[open_]) & ~(history[open_] == article[:, None]).any(axis=1)
        if how == "uniform":
            good &= previous[click] < low[open_]
        drawn[open_[good]] = article[good]
        open_ = open_[~good]
        if len(open_) == 0:
            break
    for event in open_:
        window = item[low[event] : high[event]]
        window = window[~np.isin(window, np.r_[history[event], item[event]])]
        candidates = np.unique(window) if how == "uniform" else window
        if len(candidates):
            drawn[event] = rng.choice(candidates)
    return drawn, int((drawn == 0).sum())


def previous_click(item: np.ndarray) -> np.ndarray:
    """Index of the article's click before each click, -1 for its first."""
    order = np.argsort(item, kind="stable")
    previous = np.full(len(item), -1)
    same = item[order[1:]] == item[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous


READERS = {"ml-100k": read_ml_100k, "ml-1m": read_ml_1m, "globo": read_globo}
