"""Every model of the book, each wearing the same coat."""

from __future__ import annotations

from recsys_lib.models.base import Recommender
from recsys_lib.models.dot_product import BPR, LogisticMF
from recsys_lib.models.ease import EASE
from recsys_lib.models.factorization import BiasedMF
from recsys_lib.models.ials import IALS
from recsys_lib.models.ncf import GMF, MLP, NeuMF
from recsys_lib.models.neighbours import ItemKNN
from recsys_lib.models.popularity import Popularity
from recsys_lib.models.saving import load

__all__ = [
    "BPR",
    "EASE",
    "GMF",
    "IALS",
    "MLP",
    "BiasedMF",
    "ItemKNN",
    "LogisticMF",
    "NeuMF",
    "Popularity",
    "Recommender",
    "load",
]
