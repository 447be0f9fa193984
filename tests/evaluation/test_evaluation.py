import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import metrics as m
from recsys_lib.errors import DataError, NotFittedError, NotSupportedError, UnknownIdError
from recsys_lib.evaluation import SampledMetricsWarning, evaluate
from recsys_lib.interactions import Interactions
from recsys_lib.sampling import sample_unknown
from recsys_lib.splits import Split, held_out_users, leave_last_out, random_holdout

# What ann, bob and eve had, then what they chose next. Nobody ever had "fig".
TRAIN = Interactions.from_arrays(
    ["ann", "ann", "bob", "eve", "eve", "zoe"], ["tea", "jam", "tea", "jam", "egg", "fig"]
)


def like_train(users, items, ratings=None):
    return Interactions.from_arrays(users, items, ratings, like=TRAIN)


TEST = like_train(["ann", "bob", "eve", "bob"], ["egg", "jam", "tea", "egg"])
VALID = like_train(["bob"], ["fig"])
SPLIT = Split("by hand", TRAIN, None, TEST)
ITEMS = ["egg", "fig", "jam", "tea"]  # in the order of their indices


class Fake:
    """A model that is a table of scores, one row per user index."""

    def __init__(self, scores, data=TRAIN, name="Fake"):
        self.scores = torch.as_tensor(scores, dtype=torch.float32)
        self.user_ids, self.item_ids, self.name = data.user_ids, data.item_ids, name

    def score_users(self, users):
        return self.scores[users]


class FakeNeighbours(Fake):
    """Scores people by how many of their items are next to an item."""

    def score_histories(self, histories):
        dense = histories.to_dense()
        return torch.roll(dense, 1, 1) + torch.roll(dense, -1, 1) + self.scores[:1] * 0.001


def popular(data=TRAIN):
    counts = torch.from_numpy(data.item_counts()).float()
    return Fake(counts.expand(data.n_users, -1), data, "Popular")


def random_data(n_users=60, n_items=40, n=900, seed=0):
    pairs = np.random.default_rng(seed).permutation(n_users * n_items)[:n]
    return Interactions.from_arrays(pairs // n_items, pairs % n_items + 100, timestamps=np.arange(n))


def random_model(data, seed=0, name="Random"):
    scores = torch.randn(data.n_users, data.n_items, generator=torch.Generator().manual_seed(seed))
    return Fake(scores, data, name)


# ------------------------------------------------------------------ the full ranking


def test_by_hand():
    # Popularity is egg 1, fig 1, jam 2, tea 2. Without what they have, ann gets egg and fig, bob jam and egg,
    # eve tea and fig.
    result = evaluate(popular(), SPLIT, k=[1, 2])
    assert result.per_user.index.tolist() == ["ann", "bob", "eve"]
    assert result.per_user.index.name == "user"
    assert result.per_user["recall@1"].tolist() == [1, 1 / 2, 1]
    assert result.per_user["recall@2"].tolist() == [1, 1, 1]
    assert result.per_user["precision@2"].tolist() == [1 / 2, 1, 1 / 2]
    assert result["recall@1"] == pytest.approx(5 / 6)
    assert result["ndcg@2"] == 1.0
    assert list(result.per_user) == [
        f"{name}@{k}" for name in ("hit_rate", "precision", "recall", "ndcg", "map", "mrr") for k in (1, 2)
    ]


def test_known_items_are_ranked_when_asked():
    # Now everybody gets jam, then tea.
    result = evaluate(popular(), SPLIT, k=2, metrics=["recall"], exclude_known=False)
    assert result.per_user["recall@2"].tolist() == [0, 1 / 2, 1]


def test_valid_is_known_when_testing_but_not_when_validating():
    split = Split("by hand", TRAIN, VALID, TEST)
    scores = torch.zeros(4, 4)
    scores[:, ITEMS.index("fig")] = 1.0
    model = Fake(scores)
    assert evaluate(model, split, k=1, on="valid", metrics=["recall"])["recall@1"] == 1.0
    # Without fig the ties go to the lowest index, egg: right for ann (1/1) and for bob (1/2). eve has egg.
    per_user = evaluate(model, split, k=1, metrics=["recall"]).per_user["recall@1"]
    assert per_user.tolist() == [0, 1 / 2, 0]


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_agrees_with_a_loop_over_users(batch_size):
    data = random_data()
    split = random_holdout(data, test=0.3, valid=0.1, seed=1)
    model = random_model(data)
    result = evaluate(model, split, k=10, metrics=["recall", "ndcg", "auc", "mrr"], batch_size=batch_size)
    seen = set(zip(split.train.users, split.train.items, strict=True))
    seen |= set(zip(split.valid.users, split.valid.items, strict=True))
    wanted = {}
    for user, item in zip(split.test.users, split.test.items, strict=True):
        wanted.setdefault(int(user), set()).add(int(item))
    assert result.per_user.index.tolist() == data.user_ids.take(sorted(wanted)).tolist()
    for user, row in zip(sorted(wanted), result.per_user.itertuples(index=False), strict=True):
        scores = model.scores[user].tolist()
        order = [i for i in np.argsort([-s for s in scores]) if (user, i) not in seen]
        hit = [item in wanted[user] for item in order]
        gain = sum(h / math.log2(i + 2) for i, h in enumerate(hit[:10]))
        best = sum(1 / math.log2(i + 2) for i in range(min(10, len(wanted[user]))))
        misses = np.flatnonzero(~np.array(hit))
        auc = np.mean([[place < miss for miss in misses] for place in np.flatnonzero(hit)])
        rank = 1 / (hit.index(True) + 1) if any(hit[:10]) else 0
        assert list(row) == pytest.approx([sum(hit[:10]) / len(wanted[user]), gain / best, auc, rank])


def test_list_metrics_and_novelty():
    result = evaluate(popular(), SPLIT, k=[1, 2], metrics=("coverage", "gini", "novelty"))
    assert list(result.per_user) == ["novelty@1", "novelty@2"]
    # At 1: egg, jam, tea of four items. Of the four users in train, 1 has egg, 2 have jam and 2 have tea.
    assert result["coverage@1"] == 3 / 4
    assert result.per_user["novelty@1"].tolist() == [2, 1, 1]
    assert result["gini@1"] == pytest.approx(float(m.gini(torch.tensor([[0], [2], [3]]), 4, 1)))
    rows = result.table.set_index("metric")
    assert result.table["metric"].tolist()[:2] == ["coverage@1", "coverage@2"]
    assert rows.loc["coverage@1", ["stderr", "low", "high"]].isna().all()
    assert rows.loc["novelty@1", ["stderr", "low", "high"]].notna().all()


def test_only_list_metrics():
    result = evaluate(popular(), SPLIT, k=1, metrics="coverage")
    assert result["coverage@1"] == 3 / 4
    assert result.per_user.shape == (3, 0)


def test_held_out_users_are_scored_by_their_fold_in():
    data = random_data()
    split = held_out_users(data, test_users=15, valid_users=10, seed=3)
    model = FakeNeighbours(torch.rand(1, data.n_items, generator=torch.Generator().manual_seed(0)), data)
    for on, part, shown in (
        ("test", split.test, split.test_fold_in),
        ("valid", split.valid, split.valid_fold_in),
    ):
        result = evaluate(model, split, k=5, on=on, metrics=["recall"])
        users = np.unique(part.users)
        assert result.per_user.index.tolist() == data.user_ids.take(users).tolist()
        rows = torch.from_numpy(users).long()
        scores = model.score_histories(shown.histories().select(rows))
        scores[shown.histories().select(rows).to_dense(torch.bool)] = -math.inf
        relevant = part.histories().select(rows)
        hits = m.hits(scores.topk(5).indices, relevant)
        assert result.per_user["recall@5"].tolist() == m.recall(hits, relevant.lengths(), 5).tolist()
        assert "fold-in" in result.protocol
    with pytest.raises(NotSupportedError, match="Random cannot score a user by their items"):
        evaluate(random_model(data), split)


def test_a_model_for_new_people_need_not_score_others():
    class Newcomers:
        name, item_ids = "Newcomers", TRAIN.item_ids

        def score_histories(self, histories):
            return histories.to_dense() + torch.tensor([3.0, 1.0, 2.0, 0.0])

    fold_in = like_train(["ann"], ["tea"])
    split = Split("new", TRAIN, None, like_train(["ann"], ["egg"]), test_fold_in=fold_in)
    assert evaluate(Newcomers(), split, k=1, metrics="recall")["recall@1"] == 1
    with pytest.raises(TypeError, match="got Newcomers, which has no score_users"):
        evaluate(Newcomers(), SPLIT)


# ------------------------------------------------------------------ tables, intervals and words


def test_the_table_has_means_errors_and_intervals():
    data = random_data()
    result = evaluate(random_model(data), leave_last_out(data), k=10)
    assert list(result.table) == ["metric", "mean", "stderr", "low", "high", "n_users"]
    for row in result.table.itertuples():
        values = result.per_user[row.metric]
        assert row.mean == pytest.approx(values.mean()) == result[row.metric]
        assert row.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)))
        assert row.low <= row.mean <= row.high
        assert row.n_users == len(values) == 60
        # A 95% interval is about four standard errors wide.
        assert (row.high - row.low) / row.stderr == pytest.approx(3.92, rel=0.12)


def test_the_same_seed_gives_the_same_result():
    data = random_data()
    split, model = leave_last_out(data), random_model(data)
    first, second = evaluate(model, split), evaluate(model, split)
    pd.testing.assert_frame_equal(first.table, second.table)
    other = evaluate(model, split, seed=1)
    assert not first.table["low"].equals(other.table["low"])
    assert first.table["mean"].equals(other.table["mean"])


def test_nothing_touches_the_global_random_state():
    data = random_data()
    split, model = leave_last_out(data), random_model(data)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.warns(SampledMetricsWarning):
        evaluate(model, split, candidates=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_users_without_a_value_are_left_out_of_the_mean():
    # bob has one item and all three others are held out: there is no negative, so no AUC.
    split = Split("by hand", TRAIN, None, like_train(["bob"] * 3 + ["ann"], ["jam", "egg", "fig", "egg"]))
    result = evaluate(popular(), split, k=3, metrics=["auc", "recall"])
    assert result.per_user["auc"].isna().tolist() == [False, True]
    assert result["auc"] == result.per_user["auc"].iloc[0] == 0.5
    row = result.table.set_index("metric").loc["auc"]
    assert row["n_users"] == 1
    assert math.isnan(row["stderr"])
    assert result.table.set_index("metric").loc["recall@3", "n_users"] == 2


def test_the_protocol_says_how_it_was_measured():
    data = random_data()
    split = random_holdout(data, test=0.2, valid=0.1, seed=5)
    words = evaluate(random_model(data), split, k=[5, 10], seed=3).protocol
    for part in (
        split.name,
        "test part",
        "all 40 items except what the user has in train and valid",
        "5, 10",
        "seed 3",
    ):
        assert part in words


def test_it_shows_itself():
    result = evaluate(Fake(torch.zeros(4, 4), name="<b>"), SPLIT, k=1)
    assert "recall@1" in repr(result)
    assert result.protocol in repr(result)
    assert "&lt;b&gt;" in result._repr_html_()
    assert "<table" in result._repr_html_()
    with pytest.raises(KeyError, match="no metric 'ndcg' here; there are hit_rate@1, "):
        result["ndcg"]


# ------------------------------------------------------------------ candidates


def test_drawn_candidates_are_the_ncf_protocol():
    data = random_data(n_items=200, n=2000)
    split, model = leave_last_out(data), random_model(data)
    with pytest.warns(SampledMetricsWarning, match="inconsistent with the full ranking"):
        result = evaluate(model, split, k=10, metrics=["hit_rate", "auc"], candidates=99)
    # A random model hits at 10 of 100 with probability 0.1, and at 10 of about 167 unseen items less often.
    assert result["hit_rate@10"] == pytest.approx(0.1, abs=3 * math.sqrt(0.09 / 60))
    with pytest.warns(SampledMetricsWarning):
        again = evaluate(model, split, k=10, metrics=["hit_rate", "auc"], candidates=99, batch_size=7)
    pd.testing.assert_frame_equal(result.per_user, again.per_user)
    assert "99 others per user" in result.protocol
    # By hand from the same candidates: the rank of the held-out item among all 100.
    users = torch.from_numpy(np.sort(split.test.users)).long()
    item = split.test.histories().indices
    others = sample_unknown(data.histories().select(users), 99, seed=0)
    above = (model.scores[users].gather(1, others) > model.scores[users, item][:, None]).sum(1)
    assert result.per_user["hit_rate@10"].tolist() == (above < 10).double().tolist()
    assert result.per_user["auc"].tolist() == pytest.approx((1 - above / 99).tolist())


def test_explicit_candidates_as_frame_pair_and_array():
    users = ["ann", "ann", "bob", "bob", "bob", "eve", "zoe"]
    items = [
        "egg",
        "tea",
        "tea",
        "jam",
        "fig",
        "tea",
        "tea",
    ]  # tea is known to ann, and is ranked all the same
    frame = pd.DataFrame({"user": users, "item": items})
    table = torch.full((4, 5), -1)
    for user, item in zip([*users, "ann"], [*items, "egg"], strict=True):  # egg twice for ann counts once
        row = table[int(TRAIN.user_ids.indices([user])[0])]
        row[int((row >= 0).sum())] = ITEMS.index(item)
    expected = [0, 1 / 2, 1]  # ann and eve get tea; bob gets jam, which comes before tea at equal popularity
    for candidates in (frame, (users, items), table, table.numpy()):
        with pytest.warns(SampledMetricsWarning):
            result = evaluate(popular(), SPLIT, k=1, metrics=["recall"], candidates=candidates)
        assert result.per_user["recall@1"].tolist() == expected
        assert "7 given pairs" not in result.protocol  # zoe is not evaluated
        assert "6 given pairs, 3 of the 4 held-out items among them" in result.protocol


@pytest.mark.parametrize(
    ("candidates", "error", "message"),
    [
        (0, ValueError, "candidates must be at least 1, got 0"),
        (3, DataError, "has only 1 of the 4 items left"),
        (pd.DataFrame({"user": ["ann"]}), DataError, "columns user and item"),
        ((["ann"], []), DataError, "equally long"),
        ((["ann"], ["gin"]), UnknownIdError, "gin"),
        ((["ann"], ["egg"]), DataError, "2 of the 3 users with held-out items have none"),
        ((["ann", "bob", "eve"], ["fig"] * 3), DataError, "no held-out item is among them"),
        (np.zeros((3, 2), dtype=int), DataError, r"shape \(4, c\)"),
        (np.full((4, 2), 4), DataError, "name item 4, but there are 4 items"),
    ],
)
def test_bad_candidates_are_refused(candidates, error, message):
    with pytest.raises(error, match=message):
        evaluate(popular(), SPLIT, candidates=candidates)


# ------------------------------------------------------------------ refusals


def test_a_model_of_other_data_is_refused():
    other = Interactions.from_arrays(["ann", "bob"], ["tea", "jam"])
    with pytest.raises(DataError, match=r"fitted on other items than those of the split \(2 against 4"):
        evaluate(popular(other), SPLIT)
    more_users = Interactions.from_arrays(["ann", "bob", "kim", "max"], ["tea", "jam", "egg", "fig"])
    with pytest.raises(DataError, match="fitted on other users"):
        evaluate(popular(more_users), SPLIT)


def test_unfitted_and_diverged_models_are_refused():
    model = popular()
    model.is_fitted = False
    with pytest.raises(NotFittedError, match="Popular is not fitted yet"):
        evaluate(model, SPLIT)
    with pytest.raises(DataError, match="NaN for 3 of the 3 users"):
        evaluate(Fake(torch.full((4, 4), math.nan)), SPLIT)


def test_held_out_items_that_can_never_be_hit_are_refused():
    split = Split("leaky", TRAIN, None, like_train(["ann", "bob"], ["tea", "egg"]))
    with pytest.raises(DataError, match="1 held-out interactions are also among the known ones"):
        evaluate(popular(), split)
    assert evaluate(popular(), split, k=4, exclude_known=False)["recall@4"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": []}, ValueError, "k must be a cut-off"),
        ({"k": [5, 5]}, ValueError, "a few different ones"),
        ({"on": "train"}, ValueError, "on must be one of 'test', 'valid'"),
        ({"on": "valid"}, DataError, "no interactions in its valid part"),
        ({"metrics": ["ndgc"]}, ValueError, "metrics must be one of .*'ndcg'.*, got 'ndgc'"),
        ({"metrics": []}, ValueError, "metrics is empty"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(popular(), SPLIT, **arguments)


def test_interactions_are_not_a_split():
    with pytest.raises(TypeError, match="split must be a Split, got Interactions"):
        evaluate(popular(), TEST)


def test_a_normal_run_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(popular(), SPLIT, k=1)


@pytest.mark.parametrize("k", [10.0, None, "10"])
def test_a_cut_off_that_is_no_whole_number_is_named(k):
    with pytest.raises(TypeError, match="k must be a whole number"):
        evaluate(popular(), SPLIT, k)


@pytest.mark.parametrize("candidates", [[[1, 2], [3]], {"a": 1}, "a"])
def test_candidates_of_no_known_form_are_refused(candidates):
    with pytest.raises(DataError, match="candidates must be a number, a data frame"):
        evaluate(popular(), SPLIT, candidates=candidates)
