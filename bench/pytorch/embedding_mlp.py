"""Embedding&MLP, the base model of ASMG (Peng et al., RecSys 2021)."""

import math

import torch
from torch import nn
from torch.nn import functional


class EmbeddingMlp(nn.Module):
    """Logit of [E_user ; mean of the history ; target item ; context ; numerics], shape [batch].

    An item is [E_item ; mean of its E_cate]. Every parameter starts Glorot-uniform, biases too
    (limit sqrt(3 / length)); a table's fan is the number of distinct ids, the pad row not counted.
    """

    def __init__(self, log, hidden: list[int], dim: int, numerics: int, item_bias: bool, seed: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)  # of the initial values
        self.register_buffer("cates", torch.from_numpy(log.cates))
        categories = log.cates.shape[1]
        self.user = self.table(log.users, dim)
        self.item = self.table(log.items, dim, pad=True)
        self.cate = self.table(categories, dim) if categories else None
        self.context = nn.ParameterList([self.table(size, dim) for size in log.context_sizes])
        self.item_bias = nn.Parameter(torch.zeros(1 + log.items, 1)) if item_bias else None
        item_width = dim * (2 if categories else 1)
        widths = [dim + 2 * item_width + dim * len(log.context_sizes) + numerics, *hidden, 1]
        self.weights = nn.ParameterList(
            [self.uniform((b, a), math.sqrt(6 / (a + b))) for a, b in zip(widths, widths[1:])]
        )
        self.biases = nn.ParameterList([self.uniform((b,), math.sqrt(3 / b)) for b in widths[1:]])

    def forward(self, user, item, history, context, numerics):
        items = self.item
        if self.cate is not None:
            items = torch.cat([items, self.cates @ self.cate], dim=1)
        length = (history > 0).sum(dim=1, keepdim=True)
        pooled = functional.embedding_bag(history, items, mode="sum", padding_idx=0) / (length + 1e-8)
        parts = [functional.embedding(user, self.user), pooled, functional.embedding(item, items)]
        parts += [functional.embedding(context[:, f], table) for f, table in enumerate(self.context)]
        x = torch.cat([*parts, numerics], dim=1)
        # Never a slice of a ParameterList: it makes new leaves of generated values, and their gradient is lost.
        *hidden, (weight, bias) = zip(self.weights, self.biases)
        for inner_weight, inner_bias in hidden:
            x = torch.relu(functional.linear(x, inner_weight, inner_bias))
        logit = functional.linear(x, weight, bias).squeeze(1)
        if self.item_bias is not None:
            logit = logit + functional.embedding(item, self.item_bias).squeeze(1)
        return logit

    def table(self, rows: int, dim: int, pad: bool = False) -> nn.Parameter:
        table = self.uniform((rows, dim), math.sqrt(6 / (rows + dim)))
        return nn.Parameter(torch.cat([torch.zeros(1, dim), table.detach()])) if pad else table

    def uniform(self, shape, limit: float) -> nn.Parameter:
        return nn.Parameter(torch.empty(shape).uniform_(-limit, limit, generator=self.generator))
