r"""GMF, MLP and NeuMF as blocks of Gluon: the networks of :mod:`recsys_lib.models.pair_nets` again.

They take what :class:`recsys_lib.mx.iterators.SparseNegSampleIter` yields, so users of shape (n, F_u) and
items of shape (n, F_i), and return logits of shape (n,). The first column is the index of the user or item;
each further column is the number of a category. Their parameters have the names and shapes of the PyTorch
networks: see :mod:`recsys_lib.mx.exchange`.

>>> net = NeuMF((3, 2), (4,), factors=8)
>>> start(net, seed=0)
>>> net(mx.nd.array([[2, 1], [0, 0]], dtype="int32"), mx.nd.array([[3], [1]], dtype="int32")).shape
(2,)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from recsys_lib._validation import check_integer, check_number
from recsys_lib.mx.loading import load_mxnet

mx = load_mxnet()

__all__ = ["GMF", "MLP", "IdEmbedding", "NeuMF", "start"]


class IdEmbedding(mx.gluon.HybridBlock):  # type: ignore[name-defined, misc]
    r"""A vector for each id: its own, plus that of its category in each column of features.

    .. math:: v_i = e_i + \sum_c f_{c, x_{ic}}

    Parameters
    ----------
    vocab_sizes : sequence of int
        How many ids there are, then how many categories in each column.
    dim : int
        Length d of the vectors.
    init_std : float
        Standard deviation of all vectors at the start.
    sparse_grad : bool
        Keep the gradient of ``ids`` for the rows of a batch alone, and update only those. With ``"adam"`` a
        step then changes no vector that is not in the batch, which is not quite the same method. It pays
        from some ten thousand ids on.

    Attributes
    ----------
    ids : Parameter, shape (vocab_sizes[0], d)
        :math:`e_i`.
    features : Parameter, shape (sum of the other sizes, d)
        :math:`f`, one column's categories below the other's. Only with features.
    """

    def __init__(
        self, vocab_sizes: Sequence[int], dim: int, *, init_std: float = 0.01, sparse_grad: bool = False
    ) -> None:
        super().__init__()
        self.sizes = tuple(check_integer("vocab_sizes", size, 1) for size in vocab_sizes)
        self.dim, self.sparse_grad = check_integer("dim", dim, 1), bool(sparse_grad)
        init = mx.init.Normal(check_number("init_std", init_std, 0, open_low=True))
        with self.name_scope():
            kind = "row_sparse" if sparse_grad else "default"
            self.ids = self.params.get("ids", shape=(self.sizes[0], dim), init=init, grad_stype=kind)
            if len(self.sizes) > 1:
                self.features = self.params.get("features", shape=(sum(self.sizes[1:]), dim), init=init)

    def hybrid_forward(self, F: Any, x: Any, ids: Any, features: Any = None) -> Any:
        """Look up vectors, (n, number of sizes) -> (n, d)."""
        index = F.slice_axis(x, axis=1, begin=0, end=1).reshape((-1,))
        vectors = F.Embedding(
            index, ids, input_dim=self.sizes[0], output_dim=self.dim, sparse_grad=self.sparse_grad
        )
        start = 0
        for column, size in enumerate(self.sizes[1:], start=1):
            code = F.slice_axis(x, axis=1, begin=column, end=column + 1).reshape((-1,)) + start
            vectors = vectors + F.Embedding(
                code, features, input_dim=sum(self.sizes[1:]), output_dim=self.dim
            )
            start += size
        return vectors


class GMF(mx.gluon.HybridBlock):  # type: ignore[name-defined, misc]
    r"""Generalised matrix factorization: a dot product with a learned weight for each factor.

    .. math:: s_{ui} = h^\top (p_u \odot q_i) + b

    Equation 9 of He et al. (2017), before the sigmoid.

    Parameters
    ----------
    user_vocab_sizes, item_vocab_sizes : sequence of int
        As the iterator reports them.
    factors : int
        Length of the vectors.
    bias : bool
        Learn :math:`b`.
    output_bias : float
        :math:`b` at the start. The PyTorch models have it at the log-odds of a positive, the negative
        logarithm of the number of negatives for each, so that training need not push down all scores first.
    init_std : float
        Standard deviation of the vectors at the start.
    sparse_grad : bool
        See :class:`IdEmbedding`.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.
    """

    def __init__(
        self,
        user_vocab_sizes: Sequence[int],
        item_vocab_sizes: Sequence[int],
        factors: int = 8,
        *,
        bias: bool = True,
        output_bias: float = 0.0,
        init_std: float = 0.01,
        sparse_grad: bool = False,
    ) -> None:
        super().__init__()
        check_integer("factors", factors, 1)
        how: dict[str, Any] = {"init_std": init_std, "sparse_grad": sparse_grad}
        with self.name_scope():
            self.user = IdEmbedding(user_vocab_sizes, factors, **how)
            self.item = IdEmbedding(item_vocab_sizes, factors, **how)
            self.output = mx.gluon.nn.Dense(
                1,
                use_bias=bias,
                weight_initializer=mx.init.Constant(1.0),
                bias_initializer=mx.init.Constant(check_number("output_bias", output_bias, -math.inf)),
                in_units=factors,
            )

    def hybrid_forward(self, F: Any, users: Any, items: Any) -> Any:
        """Score pairs, (n, F_u) and (n, F_i) -> (n,)."""
        return self.output(self.user(users) * self.item(items)).reshape((-1,))


class MLP(mx.gluon.HybridBlock):  # type: ignore[name-defined, misc]
    r"""A multilayer perceptron on the two vectors laid end to end.

    .. math::
        z_1 = \mathrm{ReLU}(W_1 [p_u; q_i] + b_1), \quad z_l = \mathrm{ReLU}(W_l z_{l-1} + b_l), \quad
        s_{ui} = h^\top z_L + b

    Equation 10 of He et al. (2017), before the sigmoid.

    Parameters
    ----------
    user_vocab_sizes, item_vocab_sizes : sequence of int
        As the iterator reports them.
    factors : int
        Size d of the last hidden layer.
    layers : int
        Number of hidden layers. Each is half as wide as the one before: 4d, 2d and d for three.
    embedding_dim : int, optional
        Length of the vectors of users and items; by default half the width of the first layer.
    output_bias : float
        :math:`b` at the start. The PyTorch models have it at the log-odds of a positive, the negative
        logarithm of the number of negatives for each, so that training need not push down all scores first.
    init_std : float
        Standard deviation of the vectors at the start.
    sparse_grad : bool
        See :class:`IdEmbedding`.
    """

    def __init__(
        self,
        user_vocab_sizes: Sequence[int],
        item_vocab_sizes: Sequence[int],
        factors: int = 8,
        *,
        layers: int = 3,
        embedding_dim: int | None = None,
        output_bias: float = 0.0,
        init_std: float = 0.01,
        sparse_grad: bool = False,
    ) -> None:
        super().__init__()
        check_integer("factors", factors, 1)
        self.factors, self.layers = factors, check_integer("layers", layers, 0, 16)
        widths = [factors * 2**step for step in reversed(range(layers))]
        if embedding_dim is not None:
            check_integer("embedding_dim", embedding_dim, 1)
        dim = embedding_dim or (max(1, widths[0] // 2) if widths else factors)
        sizes = [2 * dim, *widths]
        how: dict[str, Any] = {"init_std": init_std, "sparse_grad": sparse_grad}
        with self.name_scope():
            self.user = IdEmbedding(user_vocab_sizes, dim, **how)
            self.item = IdEmbedding(item_vocab_sizes, dim, **how)
            self.hidden = mx.gluon.nn.HybridSequential()
            for before, after in pairwise(sizes):
                self.hidden.add(_dense(before, after, activation="relu"))
            self.output = _dense(sizes[-1], 1)
            self.output.bias.init = mx.init.Constant(check_number("output_bias", output_bias, -math.inf))

    def hybrid_forward(self, F: Any, users: Any, items: Any) -> Any:
        """Score pairs, (n, F_u) and (n, F_i) -> (n,)."""
        z = F.concat(self.user(users), self.item(items), dim=1)
        if self.layers:
            z = self.hidden(z)
        return self.output(z).reshape((-1,))


class NeuMF(mx.gluon.HybridBlock):  # type: ignore[name-defined, misc]
    r"""Neural matrix factorization: the logits of GMF and of an MLP, added up.

    .. math:: s_{ui} = h^\top \begin{bmatrix} p_u \odot q_i \\ z_L \end{bmatrix} + b

    Equation 12 of He et al. (2017), before the sigmoid. A layer on two vectors laid end to end is the sum
    of a layer on each; the bias is that of the MLP.

    Parameters
    ----------
    user_vocab_sizes, item_vocab_sizes : sequence of int
        As the iterator reports them.
    factors : int
        Length of the vectors of the GMF part, and size of the last hidden layer of the MLP part.
    layers : int
        Hidden layers of the MLP part.
    embedding_dim : int, optional
        Length of the vectors of the MLP part; by default half the width of its first layer.
    output_bias : float
        :math:`b` at the start. The PyTorch models have it at the log-odds of a positive, the negative
        logarithm of the number of negatives for each, so that training need not push down all scores first.
    init_std : float
        Standard deviation of the vectors at the start.
    sparse_grad : bool
        See :class:`IdEmbedding`.
    """

    def __init__(
        self,
        user_vocab_sizes: Sequence[int],
        item_vocab_sizes: Sequence[int],
        factors: int = 8,
        *,
        layers: int = 3,
        embedding_dim: int | None = None,
        output_bias: float = 0.0,
        init_std: float = 0.01,
        sparse_grad: bool = False,
    ) -> None:
        super().__init__()
        sizes = user_vocab_sizes, item_vocab_sizes
        how: dict[str, Any] = {"init_std": init_std, "sparse_grad": sparse_grad}
        with self.name_scope():
            self.gmf = GMF(*sizes, factors, bias=False, **how)
            how |= {"layers": layers, "embedding_dim": embedding_dim, "output_bias": output_bias}
            self.mlp = MLP(*sizes, factors, **how)

    def hybrid_forward(self, F: Any, users: Any, items: Any) -> Any:
        """Score pairs, (n, F_u) and (n, F_i) -> (n,)."""
        return self.gmf(users, items) + self.mlp(users, items)


def start(block: Any, seed: int = 0, ctx: Any = None) -> None:
    """Give a block its first weights, all drawn from a generator of their own.

    The rule of each parameter is that of ``block.initialize()``: vectors are normal with ``init_std``, the
    weights of layers are Xavier normal, those of GMF 1, and biases 0, as in the PyTorch networks. But
    ``initialize`` draws from MXNet's global generator, and this does not.

    Parameters
    ----------
    block : gluon.Block
        Its parameters must know their shapes, and be initialised with ``mx.init.Normal``,
        ``mx.init.Constant``, ``mx.init.Xavier`` with ``rnd_type="gaussian"``, or ``"zeros"``, as those of
        this module are.
    seed : int
    ctx : mx.Context, optional
        Where the weights shall be; the default is the CPU.

    Raises
    ------
    TypeError
        If another rule is asked for by a parameter.
    """
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    for name, parameter in block._collect_params_with_prefix().items():
        rule, shape = parameter.init, parameter.shape
        mean = 0.0
        if isinstance(rule, mx.init.Normal):
            std = rule.sigma
        elif isinstance(rule, mx.init.Constant):
            mean, std = float(rule.value), 0.0
        elif isinstance(rule, mx.init.Xavier) and rule.rnd_type == "gaussian" and len(shape) == 2:
            std = math.sqrt(rule.magnitude / ((shape[0] + shape[1]) / 2))
        elif rule == "zeros":
            std = 0.0
        else:
            raise TypeError(f"cannot draw {name}: its rule is {rule!r}. Call block.initialize() yourself.")
        values = generator.standard_normal(shape, dtype=np.float32) * np.float32(std) + np.float32(mean)
        parameter.initialize(init=mx.init.Constant(0), ctx=ctx or mx.cpu(), force_reinit=True)
        parameter.set_data(mx.nd.array(values))


def _dense(before: int, after: int, *, activation: str | None = None) -> Any:
    # Magnitude 1 over the mean of both sizes: the variance 2 / (before + after) of Glorot and Bengio (2010).
    rule = mx.init.Xavier(rnd_type="gaussian", factor_type="avg", magnitude=1)
    return mx.gluon.nn.Dense(after, activation=activation, weight_initializer=rule, in_units=before)
