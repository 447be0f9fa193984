"""Every model of the book, each wearing the same coat."""

from __future__ import annotations

from recsys_lib.models.autoencoders import BottleneckAutoencoder, DynamicAutoencoder, MultDAE
from recsys_lib.models.autorec import AutoRec
from recsys_lib.models.base import Recommender
from recsys_lib.models.dot_product import BPR, LogisticMF
from recsys_lib.models.ease import EASE
from recsys_lib.models.factorization import BiasedMF
from recsys_lib.models.ials import IALS
from recsys_lib.models.low_rank_ease import LowRankEASE
from recsys_lib.models.matrix_factorization import MatrixFactorization
from recsys_lib.models.ncf import GMF, MLP, NeuMF
from recsys_lib.models.neighbours import ItemKNN
from recsys_lib.models.popularity import Popularity
from recsys_lib.models.profiles import ProfilePopularity
from recsys_lib.models.recvae import RecVAE
from recsys_lib.models.saving import load
from recsys_lib.models.variational import MultVAE

__all__ = [
    "BPR",
    "EASE",
    "GMF",
    "IALS",
    "MLP",
    "AutoRec",
    "BiasedMF",
    "BottleneckAutoencoder",
    "DynamicAutoencoder",
    "ItemKNN",
    "LogisticMF",
    "LowRankEASE",
    "MatrixFactorization",
    "MultDAE",
    "MultVAE",
    "NeuMF",
    "Popularity",
    "ProfilePopularity",
    "RecVAE",
    "Recommender",
    "load",
]
