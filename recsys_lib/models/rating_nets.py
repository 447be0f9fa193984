"""Networks from the known ratings of a row to all its ratings: plain modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_lib.histories import Histories
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.history_nets import input_weights, xavier_table


class AutoRecNet(nn.Module):
    r"""One hidden layer between the known ratings of a row and all ratings of the row.

    .. math:: h(r) = \mu + c + V \sigma\Big(b + \sum_j (r_j - \mu)\, w_j\Big)

    Equation 1 of Sedhain et al. (2015), but for the mean :math:`\mu`, which is taken off the ratings before
    and added after. A rating that is not known adds nothing to the sum. If asked to normalise, the sum is
    divided by the square root of its length.

    Parameters
    ----------
    n_columns : int
        Users, if the rows are items; items, if the rows are users.
    factors : int
        Size of the hidden layer.
    noise : float
        Share of the ratings that is left out of the sum in training.
    normalise : bool
        Divide the sum by the root of the number of ratings in it.
    generator : torch.Generator, optional
        Draws the weights.

    Attributes
    ----------
    mean, lowest, highest : Tensor, scalar
        Of the ratings in training.
    """

    mean: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(
        self,
        n_columns: int,
        factors: int,
        generator: torch.Generator | None = None,
        *,
        noise: float = 0.0,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.noise, self.normalise = noise, normalise
        self.encoder = nn.Parameter(xavier_table(n_columns, factors, generator))
        self.encoder_bias = nn.Parameter(torch.zeros(factors))
        self.decoder = nn.Parameter(xavier_table(n_columns, factors, generator))
        self.decoder_bias = nn.Parameter(torch.zeros(n_columns))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("lowest", torch.tensor(-torch.inf))
        self.register_buffer("highest", torch.tensor(torch.inf))

    def encode(self, rows: Histories, ratings: Tensor) -> Tensor:
        """Return the hidden layer, b lists of columns with a rating each -> (b, d)."""
        away = ratings - self.mean
        weights = input_weights(rows, self.normalise, self.noise if self.training else 0.0)
        if weights is not None:
            away = away * weights
        return torch.sigmoid(sum_rows(self.encoder, rows, away) + self.encoder_bias)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the ratings of all columns, (b, d) -> (b, n_columns)."""
        return torch.addmm(self.mean + self.decoder_bias, codes, self.decoder.T)

    def forward(self, rows: Histories, ratings: Tensor) -> Tensor:
        """Return the ratings of all columns, b lists of columns with a rating each -> (b, n_columns)."""
        return self.decode(self.encode(rows, ratings))
