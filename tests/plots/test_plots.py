import ast
import builtins
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import models, plots
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions
from recsys_lib.plots._style import plain
from recsys_lib.plots.data import _logarithmic_edges
from recsys_lib.splits import leave_last_out
from tests.plots.common import NAN, contrast, drawn, ticks, words

# ---------------------------------------------------------------------- colours and style


@pytest.mark.parametrize("name", plots.PALETTE)
def test_model_colours_show_on_light_and_dark_paper(name):
    assert contrast(plots.PALETTE[name], "#ffffff") >= 3
    assert contrast(plots.PALETTE[name], "#121212") >= 3


def test_no_two_models_share_a_colour():
    assert len(set(plots.PALETTE.values())) == len(plots.PALETTE)
    rgb = np.array([matplotlib.colors.to_rgb(color) for color in plots.PALETTE.values()])
    distances = np.linalg.norm(rgb[:, None] - rgb, axis=-1)[np.triu_indices(len(rgb), 1)]
    assert distances.min() > 0.15


def test_models_are_found_however_they_are_written():
    for spelling in ("Mult-VAE", "multvae (beta=0.2)", "MultVAE"):
        assert plots.model_color(spelling) == plots.PALETTE["MultVAE"]
    assert plots.model_color("IALS") == plots.PALETTE["iALS"]
    assert plots.model_color("MLP") != plots.model_color("GMF")
    assert plots.model_marker("MultVAE") == plots.model_marker("RecVAE") != plots.model_marker("GMF")


def test_every_model_of_the_library_has_a_colour_of_its_own():
    named = sorted(set(models.__all__) - {"Recommender", "load"})
    assert len(named) > 15
    for name in [*named, "I-AutoRec"]:
        assert plots.model_color(name) in plots.PALETTE.values(), name
        assert plots.model_marker(name) != "X", name


def test_an_unknown_model_always_gets_the_same_colour():
    assert plots.model_color("My model") == plots.model_color("my-model")
    assert plots.model_marker("My model") == "X"
    assert contrast(plots.model_color("My model"), "#ffffff") >= 3


def test_drawing_does_not_change_the_readers_settings():
    before = dict(matplotlib.rcParams)
    drawn(plots.heatmap([[1]]))
    assert dict(matplotlib.rcParams) == before


def test_use_style_sets_the_look_and_makes_svg_reproducible(tmp_path):
    with matplotlib.rc_context():
        plots.use_style()
        assert matplotlib.rcParams["svg.hashsalt"] == plots.STYLE["svg.hashsalt"]
        files = [tmp_path / "one.svg", tmp_path / "two.svg"]
        for file in files:
            plots.heatmap([[1, 2], [3, NAN]]).figure.savefig(file, metadata={"Date": None})
        assert files[0].read_bytes() == files[1].read_bytes()


def imported_at_once(file):
    """What a module imports when it is itself imported: nothing for type checks, nothing in functions."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield (statement.module or "").split(".")[0]


def test_importing_the_library_and_its_plots_does_not_import_matplotlib():
    folder = Path(plots.__file__).parent
    files = [*folder.parent.rglob("*.py")]
    assert folder / "_style.py" in files
    assert [file.name for file in files if "matplotlib" in imported_at_once(file)] == []


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(ImportError, match=r"pip install recsys_lib\[plots\]"):
        plots.heatmap([[1]])
    with pytest.raises(ImportError, match=r"pip install recsys_lib\[plots\]"):
        plots.use_style()


@pytest.mark.parametrize("text", ["$5 a Day", "$a$ and $b$", "<b>", r"\$x", "Amélie", "a_b^c"])
def test_titles_are_drawn_as_they_are(text):
    _, ax = plt.subplots()
    label = ax.text(0, 0, plain(text))
    shown, is_formula = label._preprocess_math(label.get_text())
    assert (shown, bool(is_formula)) == (text, False)


# ---------------------------------------------------------------------- the data


def test_long_tail_counts_the_head(ratings):
    ax = drawn(plots.long_tail(ratings, head=0.4))
    assert ax.lines[0].get_ydata().tolist() == [3, 3, 2, 1, 1]
    # the two most popular of five items have six of the ten interactions
    assert words(ax) == ["the top 40% of the items\nget 60% of the interactions"]
    with pytest.raises(ValueError, match="head must be"):
        plots.long_tail(ratings, head=0)


def test_activity_counts_users(ratings):
    ax = drawn(plots.activity(ratings))
    assert sum(bar.get_height() for bar in ax.patches) == 3
    assert words(ax) == ["median 3"]
    assert ax.get_xscale() == "log"


def test_activity_leaves_out_users_without_interactions(ratings):
    ax = drawn(plots.activity(ratings.select(ratings.users == 0)))
    assert sum(bar.get_height() for bar in ax.patches) == 1
    with pytest.raises(DataError, match="empty"):
        plots.activity(ratings.select(np.zeros(len(ratings), bool)))


@pytest.mark.parametrize(("low", "high", "bins"), [(1, 1, 1), (1, 1000, 30), (5, 300, 30), (20, 737, 10)])
def test_logarithmic_edges_never_get_narrower(low, high, bins):
    edges = np.array(_logarithmic_edges(low, high, bins))
    assert edges[0] == low - 0.5
    assert edges[-2] < high < edges[-1]
    assert len(edges) <= bins + 1
    assert (np.diff(edges, 2) >= 0).all()


def test_rating_histogram(ratings):
    ax = drawn(plots.rating_histogram(ratings))
    assert [bar.get_height() for bar in ax.patches] == [1, 1, 3, 2, 3]
    assert words(ax) == ["10%", "10%", "30%", "20%", "30%", "mean 3.50"]
    with pytest.raises(DataError, match="no ratings"):
        plots.rating_histogram(ratings.binarize())


def test_large_counts_are_written_out():
    n = 60_000
    many = Interactions.from_arrays(np.arange(n), np.zeros(n, int), np.tile([3, 4, 5], n // 3))
    labels = ticks(drawn(plots.rating_histogram(many)).yaxis)
    assert "20,000" in labels
    assert not [label for label in labels if "e" in label]


def test_sparsity_draws_the_corner(ratings):
    ax = drawn(plots.sparsity(ratings, n_users=2, n_items=4))
    corner = ax.images[0].get_array()
    assert np.array_equal(corner, ratings.to_csr().toarray()[:2, :4])
    assert "of 5 items" in ax.get_xlabel()
    assert drawn(plots.sparsity(ratings)).images[0].get_array().shape == (3, 5)


@pytest.mark.parametrize("form", ["array", "tensor", "frame"])
def test_popularity_vs_recommended(ratings, form):
    a, b, c = ratings.item_ids.indices(["a", "b", "c"])
    ranked = np.array([[a, b, -1], [a, c, -1], [a, b, c]])
    if form == "frame":
        ids = ratings.item_ids.take(ranked[ranked >= 0])
        given = pd.DataFrame({"user": "ann", "item": ids, "rank": 1, "score": 0.0})
    else:
        given = torch.from_numpy(ranked) if form == "tensor" else ranked
    ax = drawn(plots.popularity_vs_recommended(ratings, given))
    never, ever = (np.asarray(c.get_offsets()).tolist() for c in ax.collections)
    assert never == [[1, 0], [1, 0]]
    assert ever == [[3, 3], [3, 2], [2, 2]]
    assert ax.get_title(loc="left").startswith("40% of the 5 items")


def test_popularity_vs_recommended_refuses_what_is_not_in_the_catalogue(ratings):
    with pytest.raises(DataError, match="item 5, the last one is 4"):
        plots.popularity_vs_recommended(ratings, [[5]])
    with pytest.raises(DataError, match="no recommendations"):
        plots.popularity_vs_recommended(ratings, [[-1]])


# ---------------------------------------------------------------------- training and evaluation


def history(scale=1.0):
    return pd.DataFrame(
        {"epoch": [1, 2, 3], "loss": [3.0, 2, 1], "valid_ndcg@10": [0.1, scale, 0.2], "seconds": [1.0, 1, 1]}
    )


def test_learning_curve_marks_the_best_epoch():
    ax = drawn(plots.learning_curve(history(), name="NeuMF"))
    assert ax.lines[0].get_ydata().tolist() == [3, 2, 1]
    right = next(other for other in ax.figure.axes if other is not ax)
    assert right.lines[0].get_ydata().tolist() == [0.1, 1.0, 0.2]
    assert right.lines[0].get_color() == plots.PALETTE["NeuMF"]
    assert words(right) == ["best: 1, epoch 2"]
    assert right.get_ylabel() == "validation ndcg@10"


def test_learning_curve_of_an_error_is_best_where_it_is_lowest():
    curve = history().rename(columns={"valid_ndcg@10": "valid_rmse"})
    ax = drawn(plots.learning_curve(curve))
    assert words(ax.figure.axes[1]) == ["best: 0.1, epoch 1"]


def test_learning_curve_without_validation_has_one_scale():
    ax = drawn(plots.learning_curve(history()[["epoch", "loss"]]))
    assert len(ax.figure.axes) == 1


def test_learning_curves_of_several_models_are_compared():
    ax = drawn(plots.learning_curve({"GMF": history(0.5), "MLP": history(0.7)}))
    assert [line.get_color() for line in ax.lines] == [plots.PALETTE["GMF"], plots.PALETTE["MLP"]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["GMF", "MLP"]
    assert ax.lines[1].get_ydata().tolist() == [0.1, 0.7, 0.2]
    assert drawn(plots.learning_curve({"GMF": history()}, column="loss")).get_ylabel() == "loss"


def test_learning_curve_names_what_is_missing():
    with pytest.raises(DataError, match=r"history of MLP has no column 'epoch'; it has loss"):
        plots.learning_curve({"MLP": pd.DataFrame({"loss": [1.0]})}, column="loss")
    with pytest.raises(DataError, match="empty"):
        plots.learning_curve(history().iloc[:0])


def evaluation(name, mean):
    table = pd.DataFrame(
        {"metric": ["ndcg@10", "rmse"], "mean": [mean, mean], "low": mean - 0.1, "high": mean + 0.1}
    )
    return SimpleNamespace(name=name, table=table, per_user=pd.DataFrame({"ndcg@10": [0.0, 0.0, mean, 1.0]}))


def test_leaderboard_puts_the_best_on_top():
    ax = drawn(plots.leaderboard([evaluation("EASE", 0.5), evaluation("GMF", 0.3)], "ndcg@10"))
    assert ticks(ax.yaxis) == ["GMF", "EASE"]
    assert words(ax) == ["0.3000", "0.5000"]
    interval, dot = ax.lines[2:4]
    np.testing.assert_allclose(interval.get_xdata(), [0.4, 0.6])
    assert (list(dot.get_xdata()), dot.get_color()) == ([0.5], plots.PALETTE["EASE"])
    assert "ndcg@10 with 95% interval" in ax.get_xlabel()


def test_leaderboard_puts_the_lowest_error_on_top():
    ax = drawn(plots.leaderboard([evaluation("EASE", 0.5), evaluation("GMF", 0.3)], "rmse"))
    assert ticks(ax.yaxis) == ["EASE", "GMF"]


def test_leaderboard_takes_tables_and_names_of_ones_own():
    table = pd.DataFrame({"model": ["$tiny$", "EASE"], "mean": [0.1, 0.2]})
    ax = drawn(plots.leaderboard(table))
    assert ticks(ax.yaxis) == [r"\$tiny\$", "EASE"]
    board = SimpleNamespace(table=table, metric="recall@5")
    assert drawn(plots.leaderboard(board)).get_xlabel() == "recall@5"
    named = drawn(plots.leaderboard({"EASE, 2 fits": evaluation("EASE", 0.5)}, "ndcg@10"))
    assert ticks(named.yaxis) == ["EASE, 2 fits"]


def test_leaderboard_says_what_it_needs():
    with pytest.raises(DataError, match="metric must be given"):
        plots.leaderboard([evaluation("EASE", 0.5)])
    with pytest.raises(DataError, match="EASE has no metric 'map'; it has ndcg@10, rmse"):
        plots.leaderboard([evaluation("EASE", 0.5)], "map")
    with pytest.raises(DataError, match="no column 'model'"):
        plots.leaderboard(pd.DataFrame({"mean": [1.0]}))
    with pytest.raises(DataError, match="no results"):
        plots.leaderboard([], "map")


def test_per_user_histogram():
    ax = drawn(plots.per_user_histogram(evaluation("EASE", 0.4), "ndcg@10", bins=5))
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0, 0.25, 0, 0.25]
    assert words(ax) == ["mean 0.35\n50% of the users at 0"]
    with pytest.raises(DataError, match="there are ndcg@10"):
        plots.per_user_histogram(evaluation("EASE", 0.4), "map@10")


def test_sampled_vs_full_counts_the_pairs_that_cross():
    table = pd.DataFrame(
        {"model": ["EASE", "GMF", "$x$"], "sampled": [0.9, 0.8, 0.7], "full": [0.1, 0.3, 0.2]}
    )
    ax = drawn(plots.sampled_vs_full(table))
    assert ax.get_xlabel() == "2 of 3 pairs of models change places"
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 3], [2, 1], [3, 2]]
    assert r"\$x\$  0.7000" in words(ax)
    with pytest.raises(DataError, match="no column 'all'"):
        plots.sampled_vs_full(table, full="all")
    with pytest.raises(DataError, match="missing values"):
        plots.sampled_vs_full(table.assign(full=NAN))


# ---------------------------------------------------------------------- all of them


def test_every_function_draws_into_the_axes_it_is_given(ratings):
    table = pd.DataFrame({"model": ["EASE", "GMF"], "mean": [0.1, 0.2]})
    pair = pd.DataFrame({"sampled": [0.1, 0.2], "full": [0.2, 0.1]}, index=["EASE", "GMF"])
    calls = {
        "activity": lambda ax: plots.activity(ratings, ax),
        "heatmap": lambda ax: plots.heatmap([[1]], ax=ax),
        "latent_map": lambda ax: plots.latent_map(np.eye(3), ax=ax),
        "leaderboard": lambda ax: plots.leaderboard(table, ax=ax),
        "learning_curve": lambda ax: plots.learning_curve(history(), ax),
        "long_tail": lambda ax: plots.long_tail(ratings, ax),
        "per_user_histogram": lambda ax: plots.per_user_histogram(evaluation("EASE", 0.4), "ndcg@10", ax),
        "popularity_vs_recommended": lambda ax: plots.popularity_vs_recommended(ratings, [[0]], ax),
        "rating_histogram": lambda ax: plots.rating_histogram(ratings, ax),
        "sampled_vs_full": lambda ax: plots.sampled_vs_full(pair, ax),
        "sparsity": lambda ax: plots.sparsity(ratings, ax=ax),
        "split_timeline": lambda ax: plots.split_timeline(leave_last_out(ratings), ax=ax),
    }
    no_charts = {"PALETTE", "STYLE", "model_color", "model_marker", "use_style"}
    assert set(calls) == set(plots.__all__) - no_charts
    for call in calls.values():
        _, ax = plt.subplots()
        assert call(ax) is ax
        drawn(ax)
        assert len(plt.get_fignums()) == 1
        plt.close("all")
