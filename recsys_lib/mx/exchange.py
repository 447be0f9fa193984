"""Moving weights between the blocks of Gluon and the PyTorch networks, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys_lib.device import resolve_device
from recsys_lib.errors import DataError
from recsys_lib.models import GMF, MLP, NeuMF
from recsys_lib.mx import blocks
from recsys_lib.mx.iterators import SparseNegSampleIter
from recsys_lib.mx.loading import load_mxnet

mx = load_mxnet()

__all__ = ["load_torch_state", "to_recommender", "to_torch_state"]

_WRONG_KIND = "block must be a GMF, MLP or NeuMF of recsys_lib.mx.blocks, got a {}."


def to_torch_state(block: Any, train: SparseNegSampleIter | None = None) -> dict[str, Tensor]:
    """Return the weights as the ``state_dict`` of the PyTorch network of the same name.

    Parameters
    ----------
    block : GMF, MLP or NeuMF
        Of :mod:`recsys_lib.mx.blocks`.
    train : SparseNegSampleIter, optional
        Needed for a block with features: PyTorch's networks hold the categories of every id themselves.

    Returns
    -------
    dict of str to Tensor
        Copies on the CPU, float32; with features also ``indptr`` and ``codes`` of int64.

    Raises
    ------
    DataError
        If the block has features and ``train`` is missing or describes other ids.

    Examples
    --------
    >>> net = blocks.GMF((5,), (7,), factors=2)
    >>> blocks.start(net, seed=0)
    >>> {name: tuple(weights.shape) for name, weights in to_torch_state(net).items()}
    {'item.ids': (7, 2), 'output.bias': (1,), 'output.weight': (1, 2), 'user.ids': (5, 2)}
    """
    state = {name: torch.from_numpy(p.data().asnumpy()) for name, p in _parameters(block).items()}
    for name in [name for name in state if name.endswith(".features")]:
        stem = name.removesuffix("features")
        table = _table(stem, train, len(state[f"{stem}ids"]))
        codes = _counted_over_columns(table, train, stem)
        state[f"{stem}indptr"] = torch.arange(len(codes) + 1) * codes.shape[1]
        state[f"{stem}codes"] = codes.flatten()
    return state


def load_torch_state(
    block: Any, state: Mapping[str, Tensor], train: SparseNegSampleIter | None = None
) -> None:
    """Take over the weights of a PyTorch network.

    Parameters
    ----------
    block : GMF, MLP or NeuMF
        Of :mod:`recsys_lib.mx.blocks`, of the same sizes. Weights that it has are replaced.
    state : mapping of str to Tensor
        ``net.state_dict()``, such as that of ``model.net_``.
    train : SparseNegSampleIter, optional
        Needed for a network with features: the batches must number the categories as the network does.

    Raises
    ------
    DataError
        If a name or a shape does not fit, or the categories are others.
    """
    own = _parameters(block)
    buffers = {name for name in state if name.endswith((".indptr", ".codes"))}
    if set(own) != set(state) - buffers:
        raise DataError(
            f"the state does not fit {type(block).__name__}: it has {sorted(set(state) - buffers)}, and the "
            f"block {sorted(own)}."
        )
    for name, parameter in own.items():
        if tuple(state[name].shape) != parameter.shape:
            raise DataError(
                f"the state does not fit {type(block).__name__}: {name} has shape "
                f"{tuple(state[name].shape)}, and in the block {parameter.shape}."
            )
    for name in [name for name in own if name.endswith(".features")]:
        stem = name.removesuffix("features")
        codes = _counted_over_columns(_table(stem, train, len(state[f"{stem}ids"])), train, stem)
        counts, theirs = state[f"{stem}indptr"].diff().cpu(), state[f"{stem}codes"].cpu()
        if bool((counts != codes.shape[1]).any()) or not torch.equal(theirs.view_as(codes), codes):
            raise DataError(
                f"{stem}codes: the network has other categories than the iterator, which has exactly "
                "one in each column. So a text must not name several (with |) and no value may be missing."
            )
    for name, parameter in own.items():
        try:
            parameter.list_ctx()
        except RuntimeError:
            parameter.initialize(init=mx.init.Constant(0), ctx=mx.cpu())
        parameter.set_data(mx.nd.array(state[name].detach().cpu().numpy(), dtype="float32"))


def to_recommender(block: Any, train: SparseNegSampleIter, device: str = "auto") -> GMF | MLP | NeuMF:
    """Make a fitted recommender of a trained block, with all that recommenders can do.

    It scores, recommends in the user's own ids, is evaluated with :func:`recsys_lib.evaluate`, saved and
    loaded, and no longer needs MXNet. The vectors of features are added to those of the ids, so the
    recommender gives the same scores and knows nothing of features. Its hyper-parameters of training are
    defaults, not what the block was trained with.

    Parameters
    ----------
    block : GMF, MLP or NeuMF
        Of :mod:`recsys_lib.mx.blocks`.
    train : SparseNegSampleIter
        What it was trained with.
    device : str
        Where the recommender shall compute.

    Returns
    -------
    recsys_lib.models.GMF, MLP or NeuMF

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbc"), list("xyyzx"))
    >>> batches = SparseNegSampleIter(x)
    >>> net = blocks.NeuMF(batches.user_vocab_sizes, batches.item_vocab_sizes, factors=4)
    >>> blocks.start(net, seed=0)
    >>> to_recommender(net, batches).recommend(["a"], k=3)["item"].tolist()
    ['z']
    """
    family = type(block)
    if family is blocks.NeuMF:
        model: GMF | MLP | NeuMF = NeuMF(factors=block.gmf.user.dim, **_shape(block.mlp), device=device)
    elif family is blocks.MLP:
        model = MLP(factors=block.factors, **_shape(block), device=device)
    elif family is blocks.GMF:
        model = GMF(factors=block.user.dim, device=device)
    else:
        raise TypeError(_WRONG_KIND.format(family.__name__))
    state = to_torch_state(block, train)
    for name in [name for name in state if name.endswith(".features")]:
        stem = name.removesuffix("features")
        codes = _counted_over_columns(_table(stem, train, len(state[f"{stem}ids"])), train, stem)
        state[f"{stem}ids"] += state.pop(name)[codes].sum(1)
        del state[f"{stem}indptr"], state[f"{stem}codes"]
    x = train.interactions
    where = resolve_device(device)
    model._wear(x.user_ids, x.item_ids, x.histories(where))
    model._load_state({name: weights.to(where) for name, weights in state.items()})
    return model


def _shape(mlp: Any) -> dict[str, Any]:
    return {"layers": mlp.layers, "embedding_dim": mlp.user.dim}


def _parameters(block: Any) -> dict[str, Any]:
    """Return the parameters by the names of PyTorch, which are those of the attributes of the blocks."""
    if not isinstance(block, blocks.GMF | blocks.MLP | blocks.NeuMF):
        raise TypeError(_WRONG_KIND.format(type(block).__name__))
    return dict(sorted(block._collect_params_with_prefix().items()))


def _table(stem: str, train: SparseNegSampleIter | None, n: int) -> Any:
    """Return the table of users or items, whichever the embedding called ``stem`` is of."""
    if train is None:
        raise DataError(f"{stem}features: a block with features needs train=, the iterator that has them.")
    table = train.user_table if stem.endswith("user.") else train.item_table
    if len(table) != n:
        raise DataError(f"{stem}ids has {n} rows, and the iterator knows {len(table)} ids.")
    return table


def _counted_over_columns(table: Any, train: Any, stem: str) -> Tensor:
    """Return the category of every id in each column, counted over all columns, shape (n, n_columns)."""
    sizes = train.user_vocab_sizes if stem.endswith("user.") else train.item_vocab_sizes
    before = np.cumsum([0, *sizes[1:-1]])
    return torch.from_numpy(table[:, 1:].astype(np.int64) + before)
