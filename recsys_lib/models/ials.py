"""iALS: matrix factorization for implicit feedback, by alternating least squares."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._held_out import ndcg_on
from recsys_lib.models._least_squares import (
    UNSOLVABLE,
    Lists,
    algebra_device,
    block_descent,
    conjugate_gradient,
    principal_axes,
    solve_exactly,
)
from recsys_lib.models.base import Recommender


@dataclass(kw_only=True, eq=False, repr=False)
class IALS(Recommender):
    r"""Matrix factorization for implicit feedback, by alternating least squares.

    The score of an item is :math:`s_{ui} = p_u^\top q_i`. It shall be 1 for the items :math:`H_u` that a user
    has, and, with a smaller weight :math:`\alpha_0`, 0 for every item:

    .. math::
        \min \sum_u \sum_{i \in H_u} (1 - p_u^\top q_i)^2 + \alpha_0 \sum_u \sum_i (p_u^\top q_i)^2
        + \sum_u \lambda_u \lVert p_u \rVert^2 + \sum_i \lambda_i \lVert q_i \rVert^2

    With :math:`m` users and :math:`n` items, and :math:`U_i` for the users of an item, the penalties are

    .. math::
        \lambda_u = \lambda \, (|H_u| + \alpha_0 n)^\nu, \qquad
        \lambda_i = \lambda \, (|U_i| + \alpha_0 m)^\nu

    This is the model of Hu et al. (2008) as Rendle et al. (2022) write it. If either side is kept fixed, the
    other is a ridge regression for each user or item, and a half-step of the training solves all of them.
    Users and items without any interaction are left out: their vectors are zero, and they do not count.
    New people are scored by the solution of their own regression, and so are the users of the training
    data. Ratings and times are not looked at.

    Parameters
    ----------
    factors : int
        Length d of the vectors.
    unobserved_weight : float
        :math:`\alpha_0`, above 0.
    l2 : float
        :math:`\lambda`, above 0.
    l2_exponent : float
        :math:`\nu`, from 0 (the same penalty for all) to 1 (in proportion to the weight of the data).
    epochs : int
        How often both sides are solved for. With validation data the best epoch is kept.
    patience : int, optional
        Stop after so many epochs without a better validation metric, which needs validation data. The
        metric is nDCG@10 over the full catalogue.
    init_std : float
        The items start from random vectors of about this length.
    solver : {"cg", "cholesky", "subspace"}
        How a half-step is done. ``cg`` takes a few steps of the conjugate gradient method from where the
        last epoch ended; ``cholesky`` solves exactly; ``subspace`` solves exactly for one block of
        coordinates after the other.
    cg_steps : int
        Steps of ``cg``.
    block_size : int
        Coordinates in a block of ``subspace``.

    Attributes
    ----------
    user_factors_, item_factors_ : Tensor of float32, shapes (n_users, d) and (n_items, d)
        :math:`p_u` and :math:`q_i`, in coordinates in which :math:`\sum_i q_i q_i^\top` is diagonal, the
        largest value first.
    history_ : DataFrame
        One row per epoch: the loss, which is the sum above; the validation metric; seconds.

    Raises
    ------
    DataError
        In ``fit``, if ``l2`` and ``unobserved_weight`` are so small that the equations cannot be solved.

    Notes
    -----
    For :math:`z` interactions and :math:`r` rows an epoch takes time in proportion to :math:`z d` with ``cg``
    and at most :math:`z d^2 + r d^3` with ``cholesky``. The loss falls from epoch to epoch with every solver.
    On MovieLens-1M three steps of ``cg`` lead to the loss and the quality of ``cholesky`` in a tenth of the
    time. So few are enough because half-steps are done in coordinates in which the part of the equations
    that all rows share is diagonal, and the conjugate gradients need to find the rest only. What ``subspace``
    saves over ``cholesky`` shows from some hundred factors on.

    References
    ----------
    Y. Hu, Y. Koren and C. Volinsky (2008), "Collaborative filtering for implicit feedback datasets", ICDM.
    S. Rendle, W. Krichene, L. Zhang and Y. Koren (2022), "Revisiting the performance of iALS on item
    recommendation benchmarks", RecSys.
    G. Takács, I. Pilászy and D. Tikk (2011), "Applications of the conjugate gradient method for implicit
    feedback collaborative filtering", RecSys.
    S. Rendle, W. Krichene, L. Zhang and Y. Koren (2021), "iALS++: speeding up matrix factorization with
    subspace optimization", arXiv:2110.14044.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(
    ...     ["ann", "ann", "bob", "bob", "eve", "eve", "joe"],
    ...     ["tea", "jam", "tea", "jam", "nut", "oil", "tea"],
    ... )
    >>> model = IALS(factors=2).fit(x)
    >>> model.recommend(["joe"], k=1)["item"].tolist()
    ['jam']
    >>> model.recommend_from_history(["oil"], k=1)["item"].tolist()
    ['nut']
    """

    factors: int = 64
    unobserved_weight: float = 0.1
    l2: float = 0.01
    l2_exponent: float = 1.0
    epochs: int = 16
    patience: int | None = None
    init_std: float = 0.1
    solver: str = "cg"
    cg_steps: int = 3
    block_size: int = 32

    @property
    def name(self) -> str:
        """The name of the model in tables and plots."""
        return "iALS"

    def _check(self) -> None:
        check_integer("factors", self.factors, 1)
        check_number("unobserved_weight", self.unobserved_weight, 0, open_low=True)
        check_number("l2", self.l2, 0, open_low=True)
        check_number("l2_exponent", self.l2_exponent, 0, 1)
        check_integer("epochs", self.epochs, 1)
        if self.patience is not None:
            check_integer("patience", self.patience, 1)
        check_number("init_std", self.init_std, 0, open_low=True)
        check_choice("solver", self.solver, ("cg", "cholesky", "subspace"))
        check_integer("cg_steps", self.cg_steps, 1)
        check_integer("block_size", self.block_size, 1)

    def _check_data(self, train: Interactions, valid: Interactions | None) -> None:
        super()._check_data(train, valid)
        if self.patience is not None and valid is None:
            raise ValueError(f"patience={self.patience} needs validation data: fit(train, valid=...).")

    # ------------------------------------------------------------------ fitting

    def _take(self, user_factors: Tensor, item_factors: Tensor) -> None:
        self.user_factors_: Tensor = user_factors.to(self.device_)
        self.item_factors_: Tensor = item_factors.to(self.device_)

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        started = time.perf_counter()
        device = algebra_device(self.device_)
        users = Lists(self.seen_.to(device))
        items = users.transposed()
        lengths = users.histories.lengths(), items.histories.lengths()
        user_l2 = self._penalty(lengths[0], lengths[1].count_nonzero())
        item_l2 = self._penalty(lengths[1], lengths[0].count_nonzero())
        measure = None if valid is None else ndcg_on(self, valid)
        # Users are solved for first, from the random vectors of the items.
        p, q = torch.zeros(len(users), self.factors, device=device), self._first_items().to(device)
        q, p, _ = self._half_step(users, user_l2, q, p)
        rows: list[dict[str, float]] = []
        best_value, best_epoch, best = -math.inf, 0, q
        for epoch in range(1, self.epochs + 1):
            p, q, _ = self._half_step(items, item_l2, p, q)
            q, p, value = self._half_step(users, user_l2, q, p)
            loss = float(value + (item_l2 * q.square().sum(1)).sum())
            if not math.isfinite(loss):
                raise DataError(UNSOLVABLE)
            row = {"epoch": epoch, "loss": loss}
            goodness = float(epoch)  # without validation the last epoch is the best
            if measure is not None:
                self._take(p, q)
                row["valid_ndcg@10"] = goodness = measure()
            if goodness > best_value:
                best_value, best_epoch, best = goodness, epoch, q
            now = time.perf_counter()
            rows.append(row | {"seconds": now - started})
            started = now
            if self.patience is not None and epoch - best_epoch >= self.patience:
                break
        self.history_: pd.DataFrame = pd.DataFrame(rows)
        self._take(p, best)
        self.user_factors_ = self._fold_in(self.seen_)

    def _first_items(self) -> Tensor:
        """Return random vectors of the items; an item without users has none that could be learned."""
        generator = torch.Generator().manual_seed(self.seed)
        q = torch.randn(self.seen_.n_items, self.factors, generator=generator)
        return (q * (self.init_std / self.factors**0.5)).masked_fill_(self.popularity_.cpu()[:, None] == 0, 0)

    def _penalty(self, lengths: Tensor, n_others: Tensor) -> Tensor:
        """Return the penalty of each row, shape (n,); the other side has ``n_others`` rows."""
        return self.l2 * (lengths + self.unobserved_weight * n_others).float() ** self.l2_exponent

    def _half_step(self, lists: Lists, l2: Tensor, fixed: Tensor, start: Tensor) -> tuple[Tensor, ...]:
        """Solve for one side; return both in new coordinates, and the sum that was minimised."""
        axes = principal_axes(fixed)
        fixed, start = fixed @ axes, start @ axes
        diagonal = self._diagonal(fixed, l2)
        if self.solver == "cg":
            return fixed, *conjugate_gradient(lists, fixed, diagonal, start, self.cg_steps)
        if self.solver == "subspace":
            return fixed, *block_descent(lists, fixed, diagonal, start, self.block_size)
        return fixed, *solve_exactly(lists, fixed, diagonal)

    def _diagonal(self, fixed: Tensor, l2: Tensor) -> Tensor:
        """Return what the unobserved pairs and the penalty add to the equations of each row, (n, d)."""
        return self.unobserved_weight * fixed.square().sum(0) + l2[:, None]

    # ------------------------------------------------------------------ scoring

    def _fold_in(self, histories: Histories) -> Tensor:
        """Solve the regressions of people known by their items -> (n, d), on the model's device."""
        device = algebra_device(self.device_)
        lists, q = Lists(histories.to(device)), self.item_factors_.to(device)
        l2 = self._penalty(lists.histories.lengths(), self.popularity_.count_nonzero().to(device))
        return solve_exactly(lists, q, self._diagonal(q, l2))[0].to(self.device_)

    def _scores(self, users: Tensor) -> Tensor:
        return self.user_factors_[users] @ self.item_factors_.T

    def _scores_from(self, histories: Histories) -> Tensor:
        return self._fold_in(histories) @ self.item_factors_.T

    def _item_vectors(self) -> Tensor:
        return self.item_factors_

    # ------------------------------------------------------------------ keeping

    def _state(self) -> dict[str, Tensor]:
        return {"user_factors": self.user_factors_, "item_factors": self.item_factors_}

    def _load_state(self, state: dict[str, Tensor]) -> None:
        for name, ids in (("user", self.user_ids), ("item", self.item_ids)):
            check_tensor(f"{name}_factors", state[f"{name}_factors"], "float", len(ids), int(self.factors))
        self._take(state["user_factors"], state["item_factors"])
