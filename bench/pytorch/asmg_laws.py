"""What must hold of `asmg.py` whatever the data, checked on a small made-up log. Prints each law; a broken one raises."""

import copy

import numpy as np
import pandas as pd
import torch

import asmg
import logs
import sml
from asmg import VARIANTS, Generated, Stream, Variant, Version, snapshot
from generators import Cells, Gru, Linear, coordinates
from incctr import IncCtr
from protocol import PERIODS, PRETRAIN
from spmf import Reservoir, Spmf

FIRST = PRETRAIN + 1  # the period of the first base model


def main():
    torch.set_num_threads(1)
    log = made_up_log(np.random.default_rng(0))
    stream = make_stream(log)
    before = copy.deepcopy(stream.trajectory)
    for law in LAWS:
        law(stream)
        print("holds:", law.__doc__)
    assert all(same(a.values, b.values) for a, b in zip(before, stream.trajectory))
    assert same(before[-1].values, make_stream(log).trajectory[-1].values)
    print("holds: no generator touches the base trajectory")


def made_up_log(rng, users: int = 60, items: int = 80, count: int = 31 * 150) -> logs.Log:
    """Some ids are rare and late, so that several are first seen long after pre-training."""
    taste, kind = rng.normal(size=(users, 3)), rng.normal(size=(items, 3))
    time = np.arange(count)
    user = rng.integers(np.maximum(users * (time + count) // (2 * count), 1))
    item = rng.integers(np.maximum(items * (time + count) // (2 * count), 1))
    rating = np.where((taste[user] * kind[item]).sum(axis=1) + rng.normal(size=count) > 0, 5, 1)
    frame = pd.DataFrame({"user": user, "item": item, "rating": rating, "time": time})
    return logs.movielens(frame, {i: ["ab"[i % 2], "cde"[i % 3]] for i in range(items)})


def make_stream(log, *options: str) -> Stream:
    return Stream(asmg.arguments(["--batch", "32", *options]), log, seed=3)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def past_of(stream, period: int) -> list:
    """The base models that exist when `period` is scored."""
    return stream.trajectory[: period - FIRST]


def updated(stream, method: str | Variant, until: int, output: str = "plain") -> Generated:
    """A generator after its updates on all periods up to `until`."""
    variant = VARIANTS[method] if isinstance(method, str) else method
    generated = Generated(stream, variant, stream.gru(output))
    for period in range(FIRST, until + 1):
        if generated.ready(past_of(stream, period)):
            generated.update(past_of(stream, period), period)
    return generated


def linear_newest(stream):
    """Linear with all weight on the newest model is incremental, exactly"""
    linear = Linear(stream.trajectory[0].values, 3)
    with torch.no_grad():
        for logits in linear.logits:
            logits[:-1] = -torch.inf
    for period in range(FIRST + 3, PERIODS + 1):
        past = past_of(stream, period)
        values = linear(past[-3:])[0][-1]
        assert same(values, past[-1].values)
        assert stream.score(Version(stream.pretrained.model, values), period) == stream.incremental[period]


def linear_mean(stream):
    """Linear before its first update is the mean of the sequence"""
    past = past_of(stream, FIRST + 3)
    for name, value in Linear(past[0].values, 3)(past)[0][-1].items():
        torch.testing.assert_close(value, sum(p.values[name] for p in past) / 3)


def single_step(stream):
    """Multi and single are one method at k = 1"""
    short = make_stream(stream.log, "--k", "1")
    a, b = (updated(short, method, 20).generator.state_dict() for method in ["gru-multi", "gru-single"])
    assert same(a, b)


def first_update(stream):
    """Zero and multi agree after their first update and differ after the second"""
    first = FIRST + stream.args.k
    for period, agree in [(first, True), (first + 1, False)]:
        a, b = (updated(stream, method, period).generator.state_dict() for method in ["gru-multi", "gru-zero"])
        assert same(a, b) == agree


def full_is_zero(stream):
    """Full and zero generate the same from one sequence of k models"""
    past = past_of(stream, FIRST + 3)
    full, zero = (Generated(stream, VARIANTS[m], stream.gru("plain")) for m in ["gru-full", "gru-zero"])
    assert same(full.serve(past), zero.serve(past))


def carried_state(stream):
    """Serving from the carried state is one more step of the sequence last learned from, and no gradient reaches it"""
    generated = updated(stream, "gru-multi", 18)
    past = past_of(stream, 19)
    assert not any(value.requires_grad for value in generated.memory.values())
    outputs, states = generated.generator(past[-3:], generated.memory)
    longer, _ = generated.generator(past[-1:], states[1])
    assert same(outputs[-1], longer[-1]) and same(outputs[-1], generated.serve(past))


def kept_state(stream):
    """The state kept is that after the first step of the sequence learned from, under the generator learned"""
    generated = updated(stream, "gru-multi", 17)
    before, past = generated.memory, past_of(stream, 18)
    generated.update(past, 18)
    assert same(generated.memory, generated.generator(past[-3:-2], before)[1][0])


def residual_start(stream):
    """A residual generator starts as incremental, exactly; a plain one knows nothing"""
    for period in [FIRST + 3, PERIODS]:
        past = past_of(stream, period)[-3:]
        assert same(stream.gru("residual")(past)[0][-1], past[-1].values)
    values = stream.gru("plain")(past)[0][-1]
    assert abs(stream.score(Version(stream.pretrained.model, values), PERIODS)["auc"] - 0.5) < 0.15


def scalar_formulas(stream):
    """A step of the cells is the formulas of the paper, scalar by scalar"""
    rng = torch.Generator().manual_seed(1)
    d, count, rows = 4, 3, 5
    cells = Cells(count, d, False, rng).double()
    x, h = torch.randn(count, rows, dtype=torch.double), torch.randn(count, d, rows, dtype=torch.double)
    state = cells.step(x.unsqueeze(1), h)
    output = cells.output(state)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    u, w, w_new, w_y, b_y = (
        p.detach().numpy() for p in [cells.u, cells.w_gates, cells.w_new, cells.w_y, cells.b_y]
    )
    for p in range(count):
        for row in range(rows):
            value, old = x[p, row].item(), h[p, :, row].numpy()
            r = sigmoid(u[p, :d, 0] * value + w[p, :d] @ old)
            z = sigmoid(u[p, d : 2 * d, 0] * value + w[p, d:] @ old)
            g = np.tanh(u[p, 2 * d :, 0] * value + w_new[p] @ (r * old))
            new = (1 - z) * old + z * g
            np.testing.assert_allclose(state[p, :, row].detach().numpy(), new, rtol=1e-12)
            np.testing.assert_allclose(output[p, row].item(), w_y[p, 0] @ new + b_y[p, 0, 0], rtol=1e-12)


def sharing(stream):
    """Permuting the rows of a table permutes what is generated; permuting its dimensions does not"""
    past = past_of(stream, FIRST + 3)
    gru = stream.gru("plain")
    plain = gru(past)[0][-1]["user"]

    def generate(change):
        changed = [asmg.Snapshot(p.period, p.values | {"user": change(p.values["user"])}) for p in past]
        return gru(changed)[0][-1]["user"]

    # A matrix product may round by a row's place.
    torch.testing.assert_close(generate(lambda v: v.flip(0)), plain.flip(0), rtol=0, atol=1e-6)
    assert not torch.allclose(generate(lambda v: v.flip(1)), plain.flip(1), rtol=0, atol=1e-3)


def sizes(stream):
    """3 d^2 + 4 d + 1 = 65 parameters per generator of d = 4, 69,225 with three tables; limits shrink with P"""
    gru = stream.gru("plain")
    assert sum(p.numel() for p in gru.parameters()) == 65 * (1041 + 3 * 8) == 69_225
    for name, cells in zip(gru.names, gru.cells):
        count = len(coordinates(name, stream.trajectory[0].values[name]))
        for weight, a, b in [(cells.u, 1, 4), (cells.w_gates, 4, 4), (cells.w_new, 4, 4), (cells.w_y, 4, 1)]:
            limit = (6 / (count * (a + b))) ** 0.5
            assert limit / 3 < weight.abs().max() <= limit
        assert cells.b_y.abs().max() <= (3 / count) ** 0.5


def weights(stream):
    """The weights of the steps sum to 1 and are j / 6 for k = 3"""
    assert np.allclose(VARIANTS["gru-multi"].weights(3), [1 / 6, 2 / 6, 3 / 6])
    for variant in VARIANTS.values():
        assert np.isclose(sum(variant.weights(7)), 1)


def born(stream):
    """Before its first sample a row is generated as it is; from then on it starts from a zero state"""
    late = make_stream(stream.log, "--born")
    generated = updated(late, "gru-multi", 18)
    past = past_of(late, 19)
    outputs, states = generated.generator(past[-3:], generated.memory)
    for name in ["user", "item"]:
        unborn = late.born[name] > 18
        assert unborn.any() and torch.equal(outputs[-1][name][unborn], snapshot(late.pretrained.model)[name][unborn])
        assert not states[-1][name][:, :, unborn].any()
        newborn = late.born[name] == 18
        fresh, _ = Gru.forward(generated.generator, past[-1:], None)
        torch.testing.assert_close(outputs[-1][name][newborn], fresh[0][name][newborn], rtol=0, atol=1e-6)
        rows = late.samples(1, 18)
        seen = late.log.user[late.log.event[rows]] if name == "user" else late.log.item[rows]
        assert set(np.flatnonzero(late.born[name] <= 18)) - {0} == set(seen) - {0}


def rivals(stream):
    """IncCTR of weight 0, SPMF that replays nothing (and shuffles not), SML that keeps the update: incremental"""
    learner = copy.deepcopy(stream.pretrained)
    rival = IncCtr(stream, learner, 0.0)
    assert stream.online(rival, rival.update) == stream.incremental

    class Keep(torch.nn.Module):
        def forward(self, _previous, updated):
            return updated

    rival = sml.Sml(stream, copy.deepcopy(stream.pretrained), Keep(), 0.0, stream.args.lr)
    assert stream.online(rival, rival.update) == stream.incremental

    rival = Spmf(stream, copy.deepcopy(stream.pretrained), 0.3, 0.0)
    plain = copy.deepcopy(stream.pretrained)

    def in_order(period: int):
        rows = stream.samples(period, period)
        stream.fit(plain, torch.arange(rows.start, rows.stop))

    assert stream.online(rival, rival.update) == stream.online(plain, in_order)


def reservoir(stream):
    """A reservoir holds everything offered with equal chance"""
    rng = np.random.default_rng(5)
    counts = np.zeros(40)
    for _ in range(4000):
        held = Reservoir(np.arange(20), 10, rng)
        held.offer(np.arange(20, 30), rng)
        held.offer(np.arange(30, 40), rng)
        assert len(set(held.held)) == 10
        counts[held.held] += 1
    chi_square = ((counts - 1000) ** 2 / (1000 * (1 - 10 / 40))).sum()
    assert chi_square < 80, chi_square  # 39 degrees of freedom: 1 in 10,000


def transfer_formulas(stream):
    """A transfer network is its formulas, row by row"""
    net = sml.RowTransfer(8, *sml.EMBEDDING, torch.Generator().manual_seed(2)).double()
    p, q = torch.randn(2, 5, 8, dtype=torch.double)
    gelu = lambda v: v * (1 + torch.erf(v / 2**0.5)) / 2
    for row, out in enumerate(net(p, q)):
        three = torch.stack([p[row], q[row], p[row] * q[row] / (p[row].square().sum().sqrt() + 1e-15)])
        mixed = gelu(net.mix @ gelu(net.filters @ three))
        expected = net.out @ gelu(net.hidden @ mixed.reshape(-1) + net.hidden_bias) + net.out_bias
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


LAWS = [
    linear_newest,
    linear_mean,
    single_step,
    first_update,
    full_is_zero,
    carried_state,
    kept_state,
    residual_start,
    scalar_formulas,
    sharing,
    sizes,
    weights,
    born,
    rivals,
    reservoir,
    transfer_formulas,
]


if __name__ == "__main__":
    main()
