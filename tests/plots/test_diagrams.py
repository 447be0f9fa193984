import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from recsys_lib import plots
from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.interactions import Interactions
from recsys_lib.splits import held_out_users, leave_last_out, random_holdout
from tests.plots.common import NAN, contrast, drawn, ticks, words


def test_heatmap_writes_the_values():
    ax = drawn(plots.heatmap([[5, NAN], [1, 4]], ["Ann", "Bob"], ["$5 a Day", "<b>"], title="a $ matrix"))
    assert words(ax) == ["5", "?", "1", "4"]
    assert ticks(ax.xaxis) == [r"\$5 a Day", "<b>"]
    assert ticks(ax.yaxis) == ["Ann", "Bob"]
    assert ax.images[0].get_array().mask.tolist() == [[False, True], [False, False]]


def test_heatmap_takes_frames_tensors_and_decimals():
    frame = pd.DataFrame([[0.25, -1.0]], index=["u"], columns=["i", "j"])
    ax = drawn(plots.heatmap(frame))
    assert (words(ax), ticks(ax.xaxis)) == (["0.25", "-1.00"], ["i", "j"])
    assert ax.images[0].get_clim() == (-1, 1)
    assert words(drawn(plots.heatmap(torch.tensor([[0.25]]), decimals=1))) == ["0.2"]
    assert words(drawn(plots.heatmap([[NAN]], missing="$"))) == [r"\$"]


def test_heatmap_values_can_be_read_on_their_cells():
    ax = drawn(plots.heatmap(np.linspace(-3, 3, 49).reshape(7, 7)))
    cells = ax.images[0].to_rgba(ax.images[0].get_array()).reshape(-1, 4)
    assert min(contrast(t.get_color(), c[:3]) for t, c in zip(ax.texts, cells, strict=True)) >= 4.5


def test_heatmap_checks_shapes():
    with pytest.raises(DataError, match="two-dimensional"):
        plots.heatmap([1, 2])
    with pytest.raises(DataError, match="column_labels must have 2 labels, got 1"):
        plots.heatmap([[1, 2]], column_labels=["a"])


def parts_drawn(ax):
    return {c.get_label(): len(c.get_offsets()) for c in ax.collections}


def test_split_timeline_draws_every_interaction_in_its_part(ratings):
    split = leave_last_out(ratings)
    ax = drawn(plots.split_timeline(split))
    assert parts_drawn(ax) == {"train": 4, "valid": 3, "test": 3}
    assert ticks(ax.yaxis) == ["ann", "bob", "cem"]
    # the test item is the last one of every user, further right than all others
    x = {c.get_label(): np.asarray(c.get_offsets())[:, 0] for c in ax.collections}
    assert x["train"].max() < x["valid"].min() <= x["valid"].max() < x["test"].min()


def test_split_timeline_of_chosen_users_and_last_interactions(ratings):
    ax = drawn(plots.split_timeline(leave_last_out(ratings), users=["cem", "ann"], last=2))
    assert ticks(ax.yaxis) == ["cem", "ann"]
    assert parts_drawn(ax) == {"valid": 2, "test": 2}
    assert words(ax) == ["…", "…"]
    with pytest.raises(UnknownIdError):
        plots.split_timeline(leave_last_out(ratings), users=["nobody"])


def test_split_timeline_by_time(ratings):
    ax = drawn(plots.split_timeline(leave_last_out(ratings), by="time"))
    test = next(c for c in ax.collections if c.get_label() == "test")
    assert np.asarray(test.get_offsets())[:, 0].tolist() == [3, 6, 9]
    timeless = Interactions.from_arrays([1, 1, 2, 2], [1, 2, 1, 2])
    with pytest.raises(DataError, match='by="time" needs timestamps'):
        plots.split_timeline(random_holdout(timeless, test=0.5), by="time")


def test_split_timeline_shows_the_fold_in_of_held_out_users():
    known = np.random.default_rng(0).random((30, 40)) < 0.3
    x = Interactions.from_csr(csr_matrix(known.astype(np.float32)))
    split = held_out_users(x, test_users=0.2, valid_users=0.2)
    ax = drawn(plots.split_timeline(split, users=4))
    assert len(ticks(ax.yaxis)) == 4
    assert parts_drawn(ax)["fold-in"] > 0


def vectors(n=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5)) * [5, 2, 1, 1, 1]


def test_latent_map_draws_the_principal_plane():
    points = np.asarray(drawn(plots.latent_map(vectors())).collections[0].get_offsets())
    centred = vectors() - vectors().mean(0)
    variances = np.sort(np.linalg.eigvalsh(centred.T @ centred))[::-1]
    np.testing.assert_allclose((points**2).sum(0), variances[:2])
    assert abs(points[:, 0] @ points[:, 1]) < 1e-8


def test_latent_map_titles_do_not_overlap():
    labels = [f"A rather long title {i}" for i in range(40)]
    ax = drawn(plots.latent_map(vectors(), labels, annotate=40))
    assert 3 < len(ax.texts) <= 40
    boxes = [text.get_window_extent() for text in ax.texts]
    overlaps = [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]
    assert overlaps == []
    frame = ax.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_latent_map_writes_the_chosen_titles():
    labels = ["$5 a Day", "<i>", *"abcdefgh"]
    ax = drawn(plots.latent_map(vectors(10), labels, annotate=[0, 1]))
    assert words(ax) == [r"\$5 a Day", "<i>"]
    assert words(drawn(plots.latent_map(vectors(10), labels, annotate=0))) == []


def test_latent_map_colours_groups():
    groups = ["Drama|War"] * 5 + ["Comedy"] * 3 + [""] + ["Horror"]
    ax = drawn(plots.latent_map(torch.from_numpy(vectors(10)), groups=groups, max_groups=2))
    assert parts_drawn(ax) == {"other": 2, "Drama": 5, "Comedy": 3}


def test_latent_map_checks_its_input():
    with pytest.raises(DataError, match="NaN"):
        plots.latent_map(np.full((3, 3), NAN))
    with pytest.raises(DataError, match="labels must have 40 entries, got 1"):
        plots.latent_map(vectors(), ["a"])
    with pytest.raises(DataError, match="both at least 2"):
        plots.latent_map(np.ones((5, 1)))
    with pytest.raises(ValueError, match="annotate must be"):
        plots.latent_map(vectors(10), list("abcdefghij"), annotate=[10])
