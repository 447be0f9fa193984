"""The figures of the book: data at a glance, training, comparisons, pictures of ideas.

Every function draws into ``ax``, or into a new figure, and returns the axes, so that a title or a label can
be changed afterwards. A model has the same colour in all figures. Drawing needs matplotlib, which comes with
``pip install recsys_lib[plots]``; importing this module does not.
"""

from recsys_lib.plots._style import PALETTE, STYLE, model_color, model_marker, use_style
from recsys_lib.plots.data import activity, long_tail, popularity_vs_recommended, rating_histogram, sparsity
from recsys_lib.plots.diagrams import heatmap, split_timeline
from recsys_lib.plots.latent import latent_map
from recsys_lib.plots.results import leaderboard, learning_curve, per_user_histogram, sampled_vs_full

__all__ = [
    "PALETTE",
    "STYLE",
    "activity",
    "heatmap",
    "latent_map",
    "leaderboard",
    "learning_curve",
    "long_tail",
    "model_color",
    "model_marker",
    "per_user_histogram",
    "popularity_vs_recommended",
    "rating_histogram",
    "sampled_vs_full",
    "sparsity",
    "split_timeline",
    "use_style",
]
