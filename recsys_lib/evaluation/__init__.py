"""How good are the recommendations? Metrics per user, with intervals, and comparisons that know of chance.

:func:`evaluate` ranks the whole catalogue for every held-out user and keeps one value per user;
:func:`compare` puts several models side by side, with paired tests.
"""

from recsys_lib.evaluation.comparison import Leaderboard, compare
from recsys_lib.evaluation.measure import (
    DEFAULT_METRICS,
    METRICS,
    RankingModel,
    SampledMetricsWarning,
    evaluate,
    evaluate_ratings,
)
from recsys_lib.evaluation.result import Evaluation

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Evaluation",
    "Leaderboard",
    "RankingModel",
    "SampledMetricsWarning",
    "compare",
    "evaluate",
    "evaluate_ratings",
]
