"""Training a block of Gluon, with the report that the PyTorch models give."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from recsys_lib._validation import check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions
from recsys_lib.metrics import hits, ndcg
from recsys_lib.mx.blocks import start
from recsys_lib.mx.iterators import SparseNegSampleIter
from recsys_lib.mx.loading import load_mxnet
from recsys_lib.ranking import rank_catalogue
from recsys_lib.training import TrainingError

mx = load_mxnet()

__all__ = ["fit", "score_catalogue"]

# Batches that Python may be ahead of MXNet's engine: bounds the memory of those that wait.
_AHEAD = 32
# Pairs that are scored at once.
_PAIRS = 2**17


def fit(
    block: Any,
    train: Any,
    *,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    optimizer: Any = "adam",
    valid: Interactions | None = None,
    ctx: Any = None,
    seed: int = 0,
    hybridize: bool = True,
    progress: bool | None = None,
) -> pd.DataFrame:
    r"""Train a block on positives and negatives, in place, with the logistic loss of He et al. (2017).

    .. math:: -\frac{1}{n} \sum_{(u, i, y)} y \log \sigma(s_{ui}) + (1 - y) \log(1 - \sigma(s_{ui}))

    Parameters
    ----------
    block : gluon.HybridBlock
        Called with users and items, returns logits of shape (n,): those of :mod:`recsys_lib.mx.blocks`, or
        your own. If it has no weights yet, it is given some by :func:`recsys_lib.mx.blocks.start`.
    train : SparseNegSampleIter
        Or another ``DataIter`` with users and items as data and labels of 0 and 1. It is reset before every
        epoch.
    epochs : int
        Passes over the data.
    learning_rate : float
        Of the optimizer, when that is given by its name.
    optimizer : str or mx.optimizer.Optimizer
        ``"adam"``, ``"sgd"``, ``"adagrad"``, ... or one with settings of its own.
    valid : Interactions, optional
        Held-out purchases over the ids of ``train``, which must then be a ``SparseNegSampleIter``. They give
        nDCG@10 over all items that the user did not buy in training, after each epoch; at the end the block
        goes back to the epoch that was best.
    ctx : mx.Context, optional
        Where to train: by default the first GPU if MXNet has one, else the CPU.
    seed : int
        Of the first weights. The batches have the seed of their iterator.
    hybridize : bool
        Compile the block to a graph first. The numbers are the same.
    progress : bool, optional
        Show a progress bar; the default shows one in a terminal and none in CI.

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch``, ``loss`` (the mean over its rows), ``valid_ndcg@10`` (with ``valid``)
        and ``seconds``.

    Raises
    ------
    TrainingError
        If the loss or a weight stops being finite.
    DataError
        If ``valid`` does not fit.

    Notes
    -----
    The same seeds give the same weights on a CPU. No global random generator is used, neither MXNet's nor
    NumPy's, unless the block has dropout.

    Nothing is read back from MXNet during an epoch, so that its engine, which runs in a thread of its own,
    never waits for Python. How many threads an operator takes is decided when MXNet is loaded: half the
    number of processors, or what the environment variable ``OMP_NUM_THREADS`` says (for MXNet alone,
    ``MXNET_OMP_MAX_THREADS``). For networks as small as these, 1 is best. On a machine that is busy with
    other things, ``MXNET_ENGINE_TYPE=NaiveEngine`` is steadier: all is then done in the calling thread.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> from recsys_lib.mx.blocks import GMF
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> batches = SparseNegSampleIter(x, batch_size=64)
    >>> net = GMF(batches.user_vocab_sizes, batches.item_vocab_sizes, factors=4, init_std=0.1)
    >>> history = fit(net, batches, epochs=300, learning_rate=0.05)
    >>> scores = score_catalogue(net, batches, x.user_ids.indices(["f"]))
    >>> x.item_ids.take([scores[0, :3].argmax()]).tolist()
    ['j']
    """
    check_integer("epochs", epochs, 1)
    validate = None if valid is None else _validator(block, train, valid)
    if ctx is None:
        ctx = mx.gpu() if mx.context.num_gpus() else mx.cpu()
    _place(block, seed, ctx)
    objective = _Objective(block)
    if hybridize:
        objective.hybridize(static_alloc=True)
    settings = None
    if isinstance(optimizer, str):
        settings = {"learning_rate": check_number("learning_rate", learning_rate, 0, open_low=True)}
    # Without a key-value store: it is for several devices, and costs a copy of every gradient here.
    trainer = mx.gluon.Trainer(block.collect_params(), optimizer, settings, kvstore=None)
    rows: list[dict[str, float]] = []
    best: tuple[float, dict[str, Any]] | None = None
    if progress is None:
        progress = sys.stderr.isatty() and not os.environ.get("CI")
    bar = tqdm(total=epochs, desc=type(block).__name__, unit="epoch", disable=not progress, leave=False)
    with bar:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            row = {"epoch": epoch, "loss": _epoch(objective, trainer, train, ctx)}
            if not math.isfinite(row["loss"]):
                raise _diverged(f"the training loss became {row['loss']} in epoch {epoch}", trainer)
            if validate is not None:
                row["valid_ndcg@10"] = validate()
                if best is None or row["valid_ndcg@10"] > best[0]:
                    weights = block.collect_params().items()
                    best = row["valid_ndcg@10"], {name: p.data().copy() for name, p in weights}
            rows.append(row | {"seconds": time.perf_counter() - started})
            bar.update(1)
            bar.set_postfix({key: f"{value:.4f}" for key, value in row.items() if key != "epoch"})
    for name, parameter in block.collect_params().items():
        if best is not None:
            parameter.set_data(best[1][name])
        if not np.isfinite(parameter.data().asnumpy()).all():
            raise _diverged(f"some weights are NaN or infinite in {name}", trainer)
    return pd.DataFrame(rows)


class _Objective(mx.gluon.HybridBlock):  # type: ignore[name-defined, misc]
    """The sum of the losses of a batch: the block and its loss in one graph."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def hybrid_forward(self, F: Any, users: Any, items: Any, labels: Any) -> Any:
        logits = self.block(users, items)
        # log(1 + exp(s)) - y s. softrelu does not overflow; relu and abs would have no slope at a logit of 0.
        return F.sum(F.Activation(logits, act_type="softrelu") - logits * labels)


def _epoch(objective: _Objective, trainer: Any, train: Any, ctx: Any) -> float:
    """Train on every batch once; return the mean loss of the rows."""
    total, count = mx.nd.zeros(1, ctx=ctx), 0
    train.reset()
    for number, batch in enumerate(train):
        arrays = [array.as_in_context(ctx) for array in (*batch.data, batch.label[0])]
        size = len(arrays[0]) - (batch.pad or 0)
        if batch.pad:
            arrays = [array[:size] for array in arrays]
        with mx.autograd.record():
            loss = objective(*arrays)
        loss.backward()
        trainer.step(size)
        total += loss
        count += size
        if number % _AHEAD == 0:
            total.wait_to_read()
    return float(total.asscalar()) / max(1, count)


def _place(block: Any, seed: int, ctx: Any) -> None:
    """Bring the weights to the device; draw them first if there are none."""
    try:
        for parameter in block.collect_params().values():
            parameter.list_ctx()
    except RuntimeError:
        start(block, seed, ctx)
    block.collect_params().reset_ctx(ctx)


def score_catalogue(block: Any, train: SparseNegSampleIter, users: Any) -> Tensor:
    """Score all items for user indices.

    Parameters
    ----------
    block : gluon.HybridBlock
        Trained.
    train : SparseNegSampleIter
        What it was trained with: the tables of users and items.
    users : array or Tensor of int, shape (b,)
        User indices.

    Returns
    -------
    Tensor of float32, shape (b, n_items)
        Logits, on the CPU.

    Raises
    ------
    DataError
        If an index is not one of the iterator's users.
    """
    wanted = np.asarray(users, dtype=np.int64)
    if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(train.user_table):
        raise DataError(
            f"users must be user indices from 0 to {len(train.user_table) - 1}, got {wanted.min()} to "
            f"{wanted.max()}. Look ids up with train.interactions.user_ids.indices(ids)."
        )
    ctx = next(iter(block.collect_params().values())).list_ctx()[0]
    items, n_items = mx.nd.array(train.item_table, ctx=ctx, dtype="int32"), len(train.item_table)
    step = max(1, _PAIRS // n_items)
    rows = train.user_table[wanted]
    parts = []
    for first in range(0, len(rows), step):
        some = mx.nd.array(rows[first : first + step], ctx=ctx, dtype="int32")
        pairs = some.repeat(n_items, axis=0), mx.nd.tile(items, (len(some), 1))
        parts.append(block(*pairs).asnumpy().reshape(len(some), n_items))
    return torch.from_numpy(np.concatenate(parts) if parts else np.empty((0, n_items), np.float32))


def _validator(block: Any, train: Any, valid: Interactions) -> Callable[[], float]:
    """Return a function that measures the block on held-out purchases."""
    if not isinstance(train, SparseNegSampleIter):
        raise DataError(f"valid needs a SparseNegSampleIter to train on, got a {type(train).__name__}.")
    known = train.interactions
    if (valid.user_ids, valid.item_ids) != (known.user_ids, known.item_ids):
        raise DataError("train and valid must share one id space: make them with a function of splits.")
    if not len(valid):
        raise DataError("valid holds no purchases. Leave it out, or hold out a larger share.")
    seen, relevant = known.histories(), valid.histories()
    users = torch.nonzero(relevant.lengths())[:, 0]
    relevant = relevant.select(users)

    def mean_ndcg() -> float:
        ranked, _ = rank_catalogue(
            lambda batch: score_catalogue(block, train, batch), users, 10, exclude=seen
        )
        return float(ndcg(hits(ranked, relevant), relevant.lengths(), 10).mean())

    return mean_ndcg


def _diverged(what: str, trainer: Any) -> TrainingError:
    return TrainingError(
        f"training diverged: {what}. The usual cause is a learning rate that is too high: it is "
        f"{trainer.learning_rate}. Lower it."
    )
