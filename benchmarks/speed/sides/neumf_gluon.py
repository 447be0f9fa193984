"""NeuMF as Gluon's own blocks give it, over a data loader: ``python neumf_gluon.py FOLDER``.

It imports MXNet with no help from this library.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
# MXNet 1.9.1 was made for a NumPy that still had names for Python's own types.
vars(np).update(bool=bool, int=int, float=float, object=object)

import mxnet as mx  # noqa: E402
from common import best_ten, draw_epoch, finish, matrix_of, read  # noqa: E402
from mxnet import autograd, gluon  # noqa: E402


class Net(gluon.HybridBlock):  # type: ignore[misc]
    """A weighted dot product and an MLP, each with its own vectors."""

    def __init__(self, n_users: int, n_items: int, factors: int, layers: int) -> None:
        super().__init__()
        widths = [factors * 2**step for step in reversed(range(layers))]

        def table(n: int, size: int) -> Any:
            return gluon.nn.Embedding(n, size, weight_initializer=mx.init.Normal(0.01))

        with self.name_scope():
            self.users, self.items = table(n_users, factors), table(n_items, factors)
            self.mlp_users, self.mlp_items = table(n_users, widths[0] // 2), table(n_items, widths[0] // 2)
            self.hidden = gluon.nn.HybridSequential()
            for width in widths:
                self.hidden.add(gluon.nn.Dense(width, activation="relu"))
            self.output = gluon.nn.Dense(1)

    def hybrid_forward(self, F: Any, users: Any, items: Any) -> Any:
        """Score pairs, (n,) and (n,) -> (n,)."""
        dot = self.users(users) * self.items(items)
        deep = self.hidden(F.concat(self.mlp_users(users), self.mlp_items(items), dim=1))
        return self.output(F.concat(dot, deep, dim=1)).reshape((-1,))


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    mx.random.seed(settings["seed"])
    random = np.random.default_rng(settings["seed"])
    seen = matrix_of(data)
    seen.sort_indices()
    n_users, n_items = seen.shape
    ctx = mx.gpu() if settings["device"] == "cuda" else mx.cpu()
    net = Net(n_users, n_items, settings["factors"], settings["layers"])
    net.initialize(mx.init.Xavier(), ctx=ctx)
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": settings["learning_rate"]})
    loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()
    seconds = []
    for _ in range(settings["epochs"]):
        started = time.perf_counter()
        rows = gluon.data.ArrayDataset(*draw_epoch(seen, settings["negatives"], random))
        for batch in gluon.data.DataLoader(rows, batch_size=settings["batch_size"], shuffle=True):
            users, items, labels = (part.as_in_context(ctx) for part in batch)
            with autograd.record():
                value = loss(net(users, items), labels)
            value.backward()
            trainer.step(len(users))
        mx.nd.waitall()
        seconds.append(time.perf_counter() - started)

    def scores_of(users: np.ndarray) -> np.ndarray:
        rows = mx.nd.array(np.repeat(users, n_items), ctx=ctx)
        columns = mx.nd.array(np.tile(np.arange(n_items), len(users)), ctx=ctx)
        scores: np.ndarray = net(rows, columns).asnumpy().reshape(len(users), n_items)
        return scores

    finish(folder, seconds, best_ten(scores_of, seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
