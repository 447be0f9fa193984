import math

import numpy as np
import pytest
import torch

from recsys_lib.errors import DataError
from recsys_lib.evaluation import SampledMetricsWarning, evaluate, evaluate_ratings
from recsys_lib.evaluation.comparison import compare
from recsys_lib.interactions import Interactions
from recsys_lib.splits import Split, leave_last_out

N_USERS, N_ITEMS = 80, 50
PAIRS = np.random.default_rng(0).permutation(N_USERS * N_ITEMS)[:1200]
DATA = Interactions.from_arrays(
    PAIRS // N_ITEMS, PAIRS % N_ITEMS, PAIRS % 5 + 1.0, timestamps=np.arange(len(PAIRS))
)
SPLIT = leave_last_out(DATA)


class Fake:
    predicts_ratings = True

    def __init__(self, scores, name):
        self.scores, self.name = scores, name
        self.user_ids, self.item_ids = DATA.user_ids, DATA.item_ids

    def score_users(self, users):
        return self.scores[users]

    def predict(self, users, items):
        return self.scores[self.user_ids.indices(users), self.item_ids.indices(items)].numpy()


def guesser(skill, seed=0, name=None):
    """Put the held-out item of a share of the users first, and the other items anywhere."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(N_USERS, N_ITEMS, generator=generator)
    lucky = torch.rand(N_USERS, generator=generator) < skill
    for user, item in zip(SPLIT.test.users, SPLIT.test.items, strict=True):
        scores[user, item] += float(lucky[user])
    return Fake(scores, name or f"skill {skill}")


def test_models_are_ordered_and_tested():
    board = compare([guesser(0.1, 1), guesser(0.9, 2), guesser(0.97, 3)], SPLIT)
    assert board.metric == "ndcg@10"
    assert board.table["model"].tolist() == ["skill 0.9", "skill 0.97", "skill 0.1"]
    assert board.best == "skill 0.9"
    assert board.table["mean"].is_monotonic_decreasing
    assert board.table["difference"].tolist() == pytest.approx(
        (board.table["mean"] - board.table["mean"][0]).tolist()
    )
    assert board.table["tied"].tolist() == [True, True, False]
    assert math.isnan(board.table["p_value"][0])
    assert board.table["p_value"][2] < 0.001
    assert (board.table["low"] <= board.table["mean"]).all()
    assert (board.table["mean"] <= board.table["high"]).all()
    assert board.means.loc["skill 0.9", "ndcg@10"] == board.table["mean"][0]
    assert board.means.columns[0] == "hit_rate@10"


def test_evaluations_and_models_under_names_of_your_own():
    first, second = guesser(0.2, 1), guesser(0.8, 2)
    by_model = compare({"a": first, "b": second}, SPLIT, k=[5, 10], metric="recall@5")
    evaluations = {"a": evaluate(first, SPLIT, k=[5, 10]), "b": second}
    mixed = compare(evaluations, SPLIT, k=[5, 10], metric="recall@5")
    assert by_model.table.equals(mixed.table)
    assert by_model.table["model"].tolist() == ["b", "a"]
    assert by_model.protocol == evaluations["a"].protocol


def test_errors_are_better_when_low():
    truth = torch.zeros(N_USERS, N_ITEMS)
    truth[DATA.users.tolist(), DATA.items.tolist()] = torch.tensor(DATA.ratings.tolist())
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    models = [Fake(truth + size * noise, f"noise {size}") for size in (1.5, 0.5)]
    board = compare([evaluate_ratings(model, SPLIT) for model in models])
    assert board.metric == "rmse"
    assert board.table["model"].tolist() == ["noise 0.5", "noise 1.5"]
    assert board.table["difference"][1] == board.table["mean"][1] - board.table["mean"][0]
    assert board.table["difference"][1] > 0
    assert not board.table["tied"][1]


def test_identical_models_are_tied():
    scores = guesser(0.5).scores
    board = compare([Fake(scores, "one"), Fake(scores.clone(), "two")], SPLIT)
    assert board.table["p_value"][1] == 1.0
    assert board.table["tied"].all()
    assert board.table["model"].tolist() == ["one", "two"]


def test_a_stricter_level_ties_more():
    models = [guesser(0.5, 1), guesser(0.55, 3)]
    p_value = compare(models, SPLIT).table["p_value"][1]
    assert 0 < p_value < 1
    assert compare(models, SPLIT, alpha=p_value * 0.99).table["tied"][1]
    assert not compare(models, SPLIT, alpha=min(0.999, p_value * 1.01)).table["tied"][1]


def test_it_shows_itself():
    board = compare([guesser(0.1, 1, "<i>"), guesser(0.9, 2)], SPLIT)
    assert board.protocol in repr(board)
    assert "<i>" in repr(board)
    assert "&lt;i&gt;" in board._repr_html_()
    assert "<i>" not in board._repr_html_()


# ------------------------------------------------------------------ refusals


def test_other_protocols_are_refused():
    first, second = guesser(0.2, 1), guesser(0.8, 2)
    with pytest.raises(DataError, match="different protocols"):
        compare([evaluate(first, SPLIT, k=5), evaluate(second, SPLIT, k=10)])
    with pytest.warns(SampledMetricsWarning):
        sampled = evaluate(second, SPLIT, candidates=9)
    with pytest.raises(DataError, match="different protocols"):
        compare([evaluate(first, SPLIT), sampled])


def test_other_held_out_items_under_the_same_words_are_refused():
    # One held-out item for each of the same users, but the last one here and the one before it there.
    splits = [Split("mine", SPLIT.train, None, part) for part in (SPLIT.valid, SPLIT.test)]
    results = [evaluate(guesser(skill), split) for skill, split in zip((0.2, 0.8), splits, strict=True)]
    assert results[0].protocol == results[1].protocol
    with pytest.raises(DataError, match="although the protocol reads the same"):
        compare(results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "at least two, got 0"),
        ({"models": {"a": guesser(0.5)}}, "at least two, got 1"),
        ({"models": [guesser(0.5), guesser(0.5)]}, "two models are called 'skill 0.5'"),
        ({"split": None}, "split is needed to evaluate a"),
        ({"metric": "ndcg@7"}, "metric='ndcg@7' has no value per user .* There are: hit_rate@10, "),
        ({"metrics": ["ndcg", "coverage"], "metric": "coverage@10"}, "cannot be tested"),
        ({"alpha": 0.0}, "alpha must be"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    defaults = {"models": {"a": guesser(0.2, 1), "b": guesser(0.8, 2)}, "split": SPLIT}
    with pytest.raises(ValueError, match=message):
        compare(**(defaults | arguments))
