"""What every model asks of the data that it is fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsys_lib._validation import check_kind
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions

if TYPE_CHECKING:
    from recsys_lib.models.base import Recommender


def check_data(model: Recommender, train: Interactions, valid: Interactions | None) -> None:
    """Refuse what a model cannot learn from, before anything is lost.

    Raises
    ------
    TypeError, DataError
        If a part is no Interactions, holds nothing or no ratings where these are learned from, or the two
        are not over the same ids.
    """
    for name, data in (("train", train), ("valid", valid)):
        if name == "train" or data is not None:
            check_kind(name, data, Interactions, "Build them with Interactions.from_dataframe(df).")
    if len(train) == 0:
        raise DataError("train holds no interactions.")
    if valid is not None and len(valid) == 0:
        raise DataError("valid holds no interactions. Leave it out, or hold out a larger share.")
    if model.predicts_ratings and train.ratings is None:
        raise DataError(f"{model.name} learns from ratings, and train has none.")
    if valid is not None and (valid.user_ids, valid.item_ids) != (train.user_ids, train.item_ids):
        raise DataError("train and valid must share one id space: make them with a function of splits.")
