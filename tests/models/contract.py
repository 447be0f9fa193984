"""What every model promises. Its test class inherits from RecommenderContract and says how to make one."""

from __future__ import annotations

import json
import math
import os
import zipfile
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import recsys_lib
from recsys_lib import Interactions
from recsys_lib.errors import DataError, FileFormatError, NotFittedError, NotSupportedError, UnknownIdError
from recsys_lib.models import Popularity, Recommender
from tests.models.board import CATALOGUE, ITEMS, SIZE, USERS, checkerboard, per_user


class RecommenderContract(ABC):
    """Inherit, write :meth:`make`, and set what does not hold for the model."""

    # Popularity shows everybody the same and cannot solve the board.
    solves_the_board = True
    scores_new_people = True
    has_similar_items = True
    # Without items in training a user is shown what is popular.
    needs_history = True
    # Counts of the training data and profiles are not learned.
    learns_numbers = True
    # (name, values that must be refused) of the model's own hyper-parameters
    bad_parameters: ClassVar[dict[str, list[Any]]] = {}

    @classmethod
    @abstractmethod
    def make(cls, **parameters: Any) -> Recommender:
        """Return a model that can learn the board, with the given parameters on top."""

    @pytest.fixture(scope="class")
    @classmethod
    def board(cls) -> Interactions:
        return checkerboard(ratings=cls.make().predicts_ratings)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, board) -> Recommender:
        return cls.make(device="cpu").fit(board)

    # ------------------------------------------------------------------ the right answer

    def test_the_withheld_item_comes_first(self, model):
        if self.solves_the_board:
            best = model.recommend(USERS, k=1)
            assert best["user"].tolist() == USERS
            assert best["item"].tolist() == ITEMS
        else:
            assert len(set(model.recommend(USERS, k=1, exclude_seen=False)["item"])) == 1

    def test_similar_items_have_the_same_colour(self, model):
        if not self.has_similar_items:
            with pytest.raises(NotSupportedError, match=model.name):
                model.similar_items(["i00"])
            return
        found = model.similar_items(ITEMS, k=SIZE // 2 - 1)
        assert list(found.columns) == ["item", "similar", "rank", "score"]
        for item, rows in found.groupby("item"):
            same_colour = set(ITEMS[int(item[1:]) % 2 :: 2]) - {item}
            assert set(rows["similar"]) == same_colour
            assert rows["rank"].tolist() == [1, 2, 3, 4, 5]

    def test_vectors_of_items_are_what_similar_items_compares(self, model):
        has_vectors = type(model)._item_vectors is not Recommender._item_vectors
        if not has_vectors:
            with pytest.raises(NotSupportedError, match=model.name):
                model.item_vectors()
            return
        vectors = model.item_vectors()
        assert vectors.index.tolist() == CATALOGUE
        assert vectors.index.name == "item"
        unit = vectors.div(np.sqrt((vectors**2).sum(axis=1)), axis=0)
        found = model.similar_items(["i00"], k=4)
        expected = unit.loc[found["similar"]].to_numpy() @ unit.loc["i00"].to_numpy()
        np.testing.assert_allclose(found["score"], expected, rtol=1e-4, atol=1e-5)

    # ------------------------------------------------------------------ fitting

    def test_fit_returns_the_model(self, board):
        model = self.make()
        assert model.fit(board) is model
        assert model.is_fitted
        assert 0 < model.fit_seconds_ < 600

    def test_parameters_are_counted(self, model):
        if self.learns_numbers:
            assert model.n_parameters >= len(CATALOGUE)
        else:
            assert model.n_parameters == 0
        with pytest.raises(NotFittedError, match=model.name):
            _ = self.make().n_parameters

    def test_a_second_fit_starts_anew(self, model, board):
        other = board.select(np.arange(len(board)) % 3 > 0)
        twice = self.make(device="cpu").fit(other).fit(board)
        pd.testing.assert_frame_equal(twice.recommend(k=5), model.recommend(k=5))

    def test_the_same_seed_gives_the_same_model(self, model, board):
        again = self.make(device="cpu", seed=model.seed).fit(board)
        state, expected = again._state(), model._state()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in state)

    def test_global_random_numbers_are_left_alone(self, board):
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002 - it is the global generator that is watched
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        self.make(seed=11).fit(board).recommend(k=3)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002

    def test_the_data_is_not_changed(self, board):
        columns = ("users", "items", "ratings")
        before = {name: np.copy(getattr(board, name)) for name in columns}
        self.make().fit(board, board).recommend(k=3)
        for name in columns:
            np.testing.assert_array_equal(getattr(board, name), before[name])

    def test_a_failing_fit_leaves_no_half_model(self, board, monkeypatch):
        model = self.make().fit(board)

        def fail(self: Recommender, *arguments: Any, **options: Any) -> None:
            self.something_ = 1
            raise MemoryError

        monkeypatch.setattr(type(model), "_fit", fail)
        with pytest.raises(MemoryError):
            model.fit(board)
        assert not model.is_fitted
        assert not hasattr(model, "something_")
        with pytest.raises(NotFittedError, match=model.name):
            model.recommend(k=1)

    def test_wrong_data_is_refused(self, board):
        with pytest.raises(TypeError, match="train must be Interactions"):
            self.make().fit(board.to_dataframe())
        with pytest.raises(TypeError, match="valid must be Interactions"):
            self.make().fit(board, board.to_csr())
        with pytest.raises(DataError, match="no interactions"):
            self.make().fit(board.select(np.zeros(len(board), dtype=bool)))
        with pytest.raises(DataError, match="id space"):
            self.make().fit(board, board.compact())

    def test_bad_parameters_are_named(self):
        everywhere = {"seed": [-1, 0.5, "x", True], "device": ["nonsense", "cuda:99"]}
        for name, values in (everywhere | self.bad_parameters).items():
            for value in values:
                with pytest.raises((ValueError, TypeError), match=name):
                    self.make(**{name: value})

    def test_not_fitted(self, tmp_path):
        model = self.make()
        calls = [
            model.recommend,
            model.score,
            lambda: model.predict(["u00"], ["i00"]),
            lambda: model.recommend_from_history(["i00"]),
            lambda: model.similar_items(["i00"]),
            lambda: model.save(tmp_path / "model.pt"),
        ]
        for call in calls:
            with pytest.raises(NotFittedError, match=r"Call fit\(train\) first"):
                call()
        assert not any(tmp_path.iterdir())

    # ------------------------------------------------------------------ recommending

    def test_frame_in_own_ids(self, model, board):
        frame = model.recommend(k=3)
        assert list(frame.columns) == ["user", "item", "rank", "score"]
        assert set(frame["user"]) == {*USERS, "nobody"}
        assert set(frame["item"]) <= set(CATALOGUE)
        assert (frame.groupby("user")["rank"].agg(list).map(lambda ranks: ranks == [1, 2, 3])).all()
        assert np.isfinite(frame["score"]).all()
        assert (frame.groupby("user")["score"].diff().dropna() <= 0).all()

    def test_seen_items_are_left_out(self, model, board):
        seen = board.to_dataframe().groupby("user")["item"].agg(set)
        for user, items in per_user(model.recommend(k=100)).items():
            assert set(items) == set(CATALOGUE) - seen.get(user, set())
            assert len(items) == len(set(items))
        for items in per_user(model.recommend(k=100, exclude_seen=False)).values():
            assert sorted(items) == CATALOGUE

    def test_only_some_items(self, model, board):
        allowed = ["i03", "i04", "unheard"]
        seen = board.to_dataframe().groupby("user")["item"].agg(set)
        for user, items in per_user(model.recommend(USERS, k=5, items=allowed)).items():
            assert set(items) == set(allowed) - seen[user]

    def test_one_user_is_many_users(self, model):
        together = per_user(model.recommend(k=4))
        alone = {user: per_user(model.recommend([user], k=4))[user] for user in together}
        assert alone == together

    def test_the_order_of_the_users_is_kept_and_changes_nothing(self, model):
        backwards = model.recommend(USERS[::-1], k=4)
        assert list(dict.fromkeys(backwards["user"])) == USERS[::-1]
        forwards = model.recommend(USERS, k=4)
        assert per_user(backwards) == per_user(forwards)
        twice = model.recommend(["u03", "u03"], k=2)
        assert twice["item"].tolist() == per_user(model.recommend(["u03"], k=2))["u03"] * 2

    def test_nobody_asked(self, model):
        frame = model.recommend([], k=3)
        assert frame.empty
        assert list(frame.columns) == ["user", "item", "rank", "score"]
        assert model.score([]).shape == (0, len(CATALOGUE))

    def test_a_user_without_history(self, model, board):
        scores = model.score(["nobody"])
        assert scores.shape == (1, len(CATALOGUE))
        assert np.isfinite(scores).all()
        if self.needs_history and not model.predicts_ratings:
            counts = board.item_counts()
            np.testing.assert_array_equal(scores[0], counts)

    def test_an_item_without_users(self, model):
        assert np.isfinite(model.score(items=["unheard"])).all()

    def test_scores_agree_everywhere(self, model):
        scores = model.score()
        assert scores.shape == (SIZE + 1, SIZE + 1)
        assert scores.dtype == np.float32
        frame = model.recommend(k=100, exclude_seen=False)
        rows, columns = model.user_ids.indices(frame["user"]), model.item_ids.indices(frame["item"])
        np.testing.assert_allclose(frame["score"], scores[rows, columns], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            model.score(["u05", "u02"], ["i07", "unheard"]),
            scores[np.ix_(model.user_ids.indices(["u05", "u02"]), [7, SIZE])],
            rtol=1e-5,
            atol=1e-6,
        )
        predicted = model.predict(["u05", "u02", "u05"], ["i07", "i01", "i00"])
        expected = scores[model.user_ids.indices(["u05", "u02", "u05"]), [7, 1, 0]]
        if model.predicts_ratings:  # predictions keep to the scale of the ratings
            expected = expected.clip(1, 5)
        np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)

    def test_a_few_items_have_the_scores_of_the_catalogue(self, model):
        users, items = (
            torch.tensor([5, SIZE, 2, 5]),
            torch.tensor([[7, 0, 7], [SIZE, 1, 2], [3, 4, 5], [0, 1, 2]]),
        )
        found, expected = model.score_items(users, items), model.score_users(users).gather(1, items)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    def test_unknown_ids_are_named(self, model):
        calls = {
            "zoe": lambda: model.recommend(["u01", "zoe"]),
            "yam": lambda: model.recommend(["u01"], items=["i00", "yam"]),
            "xml": lambda: model.predict(["u01"], ["xml"]),
            "wok": lambda: model.recommend_from_history(["i01", "wok"]),
            "vat": lambda: model.similar_items(["vat"]),
            "7": lambda: model.recommend([7]),
        }
        for name, call in calls.items():
            with pytest.raises(UnknownIdError, match=name):
                call()

    def test_bad_k_is_named(self, model):
        for k in (0, -3, 2.5, "ten", None, True):
            for call in (model.recommend, lambda k: model.recommend_from_history(["i00"], k)):
                with pytest.raises((ValueError, TypeError), match="k must be"):
                    call(k=k)

    def test_a_bare_id_is_refused(self, model):
        with pytest.raises(TypeError, match=r"\['u01'\]"):
            model.recommend("u01")
        with pytest.raises(TypeError, match=r"\['i01'\]"):
            model.recommend_from_history("i01")

    # ------------------------------------------------------------------ new people

    def test_new_people(self, model, board):
        if not self.scores_new_people:
            with pytest.raises(NotSupportedError, match=model.name):
                model.recommend_from_history(["i00"])
            return
        seen = board.to_dataframe().groupby("user")["item"].agg(list)
        frame = model.recommend_from_history(seen[USERS].tolist(), k=4)
        assert list(frame.columns) == ["user", "item", "rank", "score"]
        known = model.recommend(USERS, k=4)
        assert frame["user"].tolist() == np.repeat(np.arange(SIZE), known.groupby("user").size()).tolist()
        assert frame["item"].tolist() == known["item"].tolist()
        np.testing.assert_allclose(frame["score"], known["score"], rtol=1e-6)
        # One person, in any order, and with an item named twice.
        one = model.recommend_from_history([*seen["u03"][::-1], seen["u03"][0]], k=4)
        assert one["item"].tolist() == per_user(known)["u03"]

    def test_new_people_without_history(self, model, board):
        if not self.scores_new_people:
            return
        popular = model.recommend(["nobody"], k=5)["item"].tolist()
        assert model.recommend_from_history([], k=5)["item"].tolist() == popular
        both = model.recommend_from_history([[], ["i02"]], k=5)
        assert per_user(both)[0] == popular
        assert per_user(both)[1] == model.recommend_from_history(["i02"], k=5)["item"].tolist()

    # ------------------------------------------------------------------ keeping

    @pytest.fixture(scope="class")
    @classmethod
    def saved(cls, model, tmp_path_factory):
        path = tmp_path_factory.mktemp("models") / "model.pt"
        model.save(path)
        return path

    def test_a_loaded_model_is_the_same(self, model, board, saved):
        for load in (recsys_lib.load, type(model).load, Recommender.load):
            loaded = load(saved, device="cpu")
            assert type(loaded) is type(model)
            pd.testing.assert_frame_equal(loaded.recommend(k=5), model.recommend(k=5))
            for field in fields(model):
                assert getattr(loaded, field.name) == getattr(model, field.name)
            if self.has_similar_items:
                pd.testing.assert_frame_equal(loaded.similar_items(["i00"]), model.similar_items(["i00"]))
            assert loaded.fit(board).is_fitted

    def test_every_damaged_byte_of_the_contents_is_noticed(self, saved, tmp_path):
        whole, damaged = saved.read_bytes(), tmp_path / "damaged.pt"
        with zipfile.ZipFile(saved) as archive:
            members = [member for member in archive.infolist() if member.file_size]
        assert len(members) > 4
        for member in members:
            name, extra = np.frombuffer(whole, "<u2", 2, member.header_offset + 26)
            start = member.header_offset + 30 + int(name) + int(extra)
            for position in {start, start + member.file_size // 2, start + member.file_size - 1}:
                content = bytearray(whole)
                content[position] ^= 4
                damaged.write_bytes(content)
                with pytest.raises(FileFormatError, match="damaged"):
                    recsys_lib.load(damaged)

    def test_a_damaged_file_never_gives_another_model(self, model, saved, tmp_path):
        # Bytes between the members, such as dates, carry no meaning; damage there may go unnoticed.
        whole, damaged = saved.read_bytes(), tmp_path / "damaged.pt"
        expected, refused = model.recommend(k=5), 0
        for position in np.linspace(0, len(whole) - 1, 20).astype(int):
            content = bytearray(whole)
            content[position] ^= 1
            damaged.write_bytes(content)
            try:
                loaded = recsys_lib.load(damaged, device="cpu")
            except FileFormatError:
                refused += 1
            else:
                pd.testing.assert_frame_equal(loaded.recommend(k=5), expected)
        assert refused > 5

    def test_a_truncated_file_is_refused(self, saved, tmp_path):
        whole, part = saved.read_bytes(), tmp_path / "part.pt"
        for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            part.write_bytes(whole[:length])
            with pytest.raises(FileFormatError, match="damaged"):
                recsys_lib.load(part)

    def test_another_kind_of_model_is_refused(self, model, saved, board, tmp_path):
        class Another(Popularity):
            pass

        with pytest.raises(FileFormatError, match=f"holds a {type(model).__name__}, not a Another"):
            Another.load(saved)

    def test_a_missing_part_or_wrong_value_is_refused(self, saved, tmp_path):
        contents, path = torch.load(saved, weights_only=True), tmp_path / "changed.pt"
        for key in contents:
            torch.save({name: value for name, value in contents.items() if name != key}, path)
            with pytest.raises(FileFormatError):
                recsys_lib.load(path)
        header = json.loads(contents["header"])
        for change in (
            {"version": 99},
            {"model": "Nonsense"},
            {"format": "another"},
            {"params": header["params"] | {"seed": -1}},
            {"params": header["params"] | {"unheard_of": 1}},
        ):
            torch.save(contents | {"header": json.dumps(header | change)}, path)
            with pytest.raises(FileFormatError):
                recsys_lib.load(path)

    def test_saving_leaves_nothing_but_the_file(self, model, tmp_path):
        model.save(tmp_path / "new folder" / "model.pt")
        assert os.listdir(tmp_path / "new folder") == ["model.pt"]

    # ------------------------------------------------------------------ other devices

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
    def test_a_gpu_gives_the_same(self, model, board, saved):
        on_gpu = self.make(device="cuda").fit(board)
        assert all(value.device.type == "cuda" for value in on_gpu._state().values())
        np.testing.assert_allclose(on_gpu.score(), model.score(), rtol=1e-3, atol=1e-3)
        if self.solves_the_board:
            assert on_gpu.recommend(USERS, k=1)["item"].tolist() == ITEMS
        loaded = recsys_lib.load(saved, device="cuda")
        np.testing.assert_allclose(loaded.score(), model.score(), rtol=1e-4, atol=1e-5)


def bad_numbers(*more: float) -> list[Any]:
    """Values that no number with a lower end takes, and some more."""
    return [math.nan, math.inf, -math.inf, "x", None, True, *more]
