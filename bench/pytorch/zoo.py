"""CTR models of a public library (FuxiCTR 2.3.10) under the protocol of `examples/split/frappe.toml`.

Models are wired of the library's own embedding, linear, interaction and tower layers, trained by its `train_step` (Adam,
gradients clipped to norm 10), with its initial values: tables N(0, 1e-4), kernels Xavier-normal, biases zero. FmFM and AFN+
have no layers there. Prints JSON: AUC and LogLoss on the test file after epoch 3, at the best validation epoch and after the
last, for each seed.

    pip install torch polars scikit-learn h5py tqdm pyyaml && pip install --no-deps fuxictr==2.3.10
    python bench/pytorch/zoo.py --data PATH/TO/frappe
"""

import argparse
import gzip
import json
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import (
    CompressedInteractionNet,
    CrossNet,
    FactorizationMachine,
    FeatureEmbedding,
    InnerProductInteraction,
    LogisticRegression,
    MLP_Block,
)
from fuxictr.pytorch.models import BaseModel
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

FIELDS, DIM, HIDDEN, BATCH = 10, 10, [400, 400, 400], 1024
TRAIN, VALID = 51_950, 5_772


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    parts, sizes = read(args.data)
    report = [run(name, seed, parts, sizes, args.epochs) for name in args.models for seed in args.seeds]
    print(json.dumps(report, indent=1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the libfm files")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=10, help="at least 3")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read(folder: Path):
    """(ids, labels) of train, valid and test; ids of a field are 1.. in the training part, 0 is unknown."""
    known, test = rows(folder / "frappe.validation.libfm.gz"), rows(folder / "frappe.test.libfm.gz")
    train, valid = [part[:TRAIN] for part in known], [part[-VALID:] for part in known]
    sizes, codes = [], []
    for field in range(FIELDS):
        keys = sorted(set(train[1][:, field]))
        codes.append({key: place + 1 for place, key in enumerate(keys)})
        sizes.append(len(keys) + 1)

    def encode(part):
        labels, keys = part
        ids = np.array([[codes[f].get(key, 0) for f, key in enumerate(row)] for row in keys])
        return torch.from_numpy(ids), torch.from_numpy(labels)

    return [encode(part) for part in (train, valid, test)], sizes


def rows(path: Path):
    labels, keys = [], []
    with gzip.open(path, "rt") as file:
        for line in file:
            label, *pairs = line.split()
            labels.append(1.0 if float(label) > 0 else 0.0)
            keys.append([int(pair.split(":")[0]) for pair in pairs])
    return np.array(labels, dtype=np.float32), np.array(keys)


def feature_map(sizes: list) -> FeatureMap:
    features = FeatureMap("frappe", ".")
    for field, size in enumerate(sizes):
        spec = {"source": "", "type": "categorical", "vocab_size": size}
        features.features[f"f{field}"] = spec
    features.labels, features.num_fields = ["label"], len(sizes)
    features.default_emb_dim = DIM
    return features


class Model(BaseModel):
    """Any sum of parts; `build` makes them, `logit` joins them."""

    def __init__(self, features, vectors: bool, build, logit):
        super().__init__(features, verbose=0, model_root=".", metrics=["AUC"])
        self.embedding = FeatureEmbedding(features, DIM) if vectors else None
        self.parts = nn.ModuleDict(build(features))
        self.logit = logit
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()
        self._max_gradient_norm = 10.0

    def forward(self, inputs):
        ids = self.get_inputs(inputs)
        logit = self.logit(self.parts, ids, self.embedding(ids) if self.embedding else None)
        return {"y_pred": self.output_activation(logit)}


def tower(width: int, output: int | None = 1):
    return MLP_Block(input_dim=width, hidden_units=HIDDEN, output_dim=output)


def linear(features):
    return LogisticRegression(features, use_bias=True)


FLAT = FIELDS * DIM
PAIRS = FIELDS * (FIELDS - 1) // 2

MODELS = {
    "lr": (lambda f: {"lr": linear(f)}, lambda p, x, e: p["lr"](x)),
    "fm": (lambda f: {"fm": FactorizationMachine(f)}, lambda p, x, e: p["fm"](x, e)),
    "nfm": (
        lambda f: {"lr": linear(f), "pool": InnerProductInteraction(FIELDS, "bi_interaction"), "mlp": tower(DIM)},
        lambda p, x, e: p["lr"](x) + p["mlp"](p["pool"](e)),
    ),
    "ipnn": (
        lambda f: {"pairs": InnerProductInteraction(FIELDS, "inner_product"), "mlp": tower(FLAT + PAIRS)},
        lambda p, x, e: p["mlp"](torch.cat([e.flatten(1), p["pairs"](e)], dim=1)),
    ),
    "dnn": (lambda f: {"mlp": tower(FLAT)}, lambda p, x, e: p["mlp"](e.flatten(1))),
    "wide-deep": (
        lambda f: {"lr": linear(f), "mlp": tower(FLAT)},
        lambda p, x, e: p["lr"](x) + p["mlp"](e.flatten(1)),
    ),
    "deepfm": (
        lambda f: {"fm": FactorizationMachine(f), "mlp": tower(FLAT)},
        lambda p, x, e: p["fm"](x, e) + p["mlp"](e.flatten(1)),
    ),
    "dcn": (
        lambda f: {"cross": CrossNet(FLAT, 3), "mlp": tower(FLAT, None), "out": nn.Linear(FLAT + HIDDEN[-1], 1)},
        lambda p, x, e: p["out"](torch.cat([p["cross"](e.flatten(1)), p["mlp"](e.flatten(1))], dim=1)),
    ),
    "xdeepfm": (
        lambda f: {"lr": linear(f), "cin": CompressedInteractionNet(FIELDS, [16, 16, 16]), "mlp": tower(FLAT)},
        lambda p, x, e: p["lr"](x) + p["cin"](e) + p["mlp"](e.flatten(1)),
    ),
}


def run(name: str, seed: int, parts: list, sizes: list, last: int) -> dict:
    torch.manual_seed(seed)
    (ids, labels), valid, test = parts
    model = Model(feature_map(sizes), name != "lr", *MODELS[name])
    epochs, clock = [], time.perf_counter()
    for _ in range(last):
        model.train()
        for batch in torch.randperm(len(labels)).split(BATCH):
            model.train_step(inputs(ids[batch], labels[batch]))
        epochs.append({"valid": metrics(model, valid), "test": metrics(model, test)})
    best = max(range(last), key=lambda epoch: epochs[epoch]["valid"]["auc"])
    row = {"model": name, "seed": seed, "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}
    row |= {"epoch 3": epochs[2]["test"], "best": {"epoch": best + 1, **epochs[best]["test"]}, "last": epochs[-1]["test"]}
    row["seconds"] = round(time.perf_counter() - clock, 1)
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def inputs(ids, labels) -> dict:
    columns = OrderedDict((f"f{field}", ids[:, field]) for field in range(FIELDS))
    return columns | {"label": labels}


@torch.no_grad()
def metrics(model, part) -> dict:
    model.eval()
    ids, labels = part
    predicted = torch.cat([model(inputs(i, l))["y_pred"] for i, l in zip(ids.split(8192), labels.split(8192))])
    p = predicted.flatten().double().numpy()
    return {"auc": round(roc_auc_score(labels, p), 5), "log_loss": round(log_loss(labels, p), 5)}


if __name__ == "__main__":
    main()
