"""Metrics of one period, each straight from its definition."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score


def evaluate(user: np.ndarray, label: np.ndarray, logit: np.ndarray) -> dict:
    """AUC (ties count half), GAUC (users with both classes, weighted by samples), LogLoss from logits."""
    logit = logit.astype(np.float64)
    return {
        "auc": float(roc_auc_score(label, logit)),
        "gauc": gauc(user, label, logit),
        "logloss": float(np.mean(np.logaddexp(0, logit) - label * logit)),
        "samples": len(label),
    }


def gauc(user: np.ndarray, label: np.ndarray, score: np.ndarray) -> float:
    frame = pd.DataFrame({"user": user, "label": label.astype(np.float64), "score": score})
    frame["rank"] = frame.groupby("user")["score"].rank(method="average")
    frame["hit"] = frame["rank"] * frame["label"]
    sums = frame.groupby("user").agg(n=("label", "size"), positives=("label", "sum"), hits=("hit", "sum"))
    both = sums[(sums.positives > 0) & (sums.positives < sums.n)]
    pairs = both.positives * (both.n - both.positives)
    auc = (both.hits - both.positives * (both.positives + 1) / 2) / pairs
    return float((auc * both.n).sum() / both.n.sum())
