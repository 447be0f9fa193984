"""The blocks compute what the papers say, compiled or not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys_lib.mx import GMF, MLP, NeuMF, SparseNegSampleIter, load_mxnet, start
from recsys_lib.mx.blocks import IdEmbedding

mx = load_mxnet()

USERS, ITEMS = (6, 3, 2), (8, 4)
BLOCKS = [
    lambda **how: GMF(USERS, ITEMS, 4, **how),
    lambda **how: MLP(USERS, ITEMS, 4, **how),
    lambda **how: NeuMF(USERS, ITEMS, 4, **how),
]


def weights(block: object) -> dict[str, np.ndarray]:
    return {name: p.data().asnumpy() for name, p in block._collect_params_with_prefix().items()}


def pairs(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    users, items = (np.stack([rng.integers(0, size, n) for size in sizes], 1) for sizes in (USERS, ITEMS))
    return users.astype(np.int32), items.astype(np.int32)


def look_up(w: dict[str, np.ndarray], stem: str, codes: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    vectors = w[f"{stem}ids"][codes[:, 0]].copy()
    before = 0
    for column, size in enumerate(sizes[1:], start=1):
        vectors += w[f"{stem}features"][before + codes[:, column]]
        before += size
    return vectors


def gmf(w: dict[str, np.ndarray], users: np.ndarray, items: np.ndarray, stem: str = "") -> np.ndarray:
    product = look_up(w, f"{stem}user.", users, USERS) * look_up(w, f"{stem}item.", items, ITEMS)
    return product @ w[f"{stem}output.weight"][0] + w.get(f"{stem}output.bias", 0)


def mlp(w: dict[str, np.ndarray], users: np.ndarray, items: np.ndarray, stem: str = "") -> np.ndarray:
    z = np.concatenate(
        [look_up(w, f"{stem}user.", users, USERS), look_up(w, f"{stem}item.", items, ITEMS)], axis=1
    )
    layer = 0
    while f"{stem}hidden.{layer}.weight" in w:
        z = np.maximum(z @ w[f"{stem}hidden.{layer}.weight"].T + w[f"{stem}hidden.{layer}.bias"], 0)
        layer += 1
    return z @ w[f"{stem}output.weight"][0] + w[f"{stem}output.bias"]


def neumf(w: dict[str, np.ndarray], users: np.ndarray, items: np.ndarray) -> np.ndarray:
    return gmf(w, users, items, "gmf.") + mlp(w, users, items, "mlp.")


@pytest.mark.parametrize("sparse_grad", [False, True])
@pytest.mark.parametrize(("make", "by_hand"), list(zip(BLOCKS, (gmf, mlp, neumf), strict=True)))
def test_the_formula_and_the_compiled_graph(make: object, by_hand: object, sparse_grad: bool) -> None:
    block = make(init_std=0.5, output_bias=0.3, sparse_grad=sparse_grad)
    start(block, seed=1)
    for name, parameter in block._collect_params_with_prefix().items():
        if name in ("output.weight", "gmf.output.weight"):  # GMF has ones there
            parameter.set_data(mx.nd.array(np.linspace(-1, 2, parameter.shape[1])[None]))
    users, items = pairs()
    arrays = mx.nd.array(users, dtype="int32"), mx.nd.array(items, dtype="int32")
    plain = block(*arrays).asnumpy()
    assert plain.shape == (50,)
    np.testing.assert_allclose(plain, by_hand(weights(block), users, items), rtol=1e-4, atol=1e-5)
    block.hybridize(static_alloc=True)
    first = block(*arrays)
    np.testing.assert_allclose(first.asnumpy(), plain, rtol=1e-6, atol=1e-7)
    # Another size, and what was returned before does not change.
    np.testing.assert_allclose(block(arrays[0][:7], arrays[1][:7]).asnumpy(), plain[:7], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.asnumpy(), plain, rtol=1e-6, atol=1e-7)


def gradients(block: object, users: np.ndarray, items: np.ndarray) -> dict[str, np.ndarray]:
    with mx.autograd.record():
        total = block(mx.nd.array(users, dtype="int32"), mx.nd.array(items, dtype="int32")).sum()
    total.backward()
    found = block._collect_params_with_prefix().items()
    return {name: p.grad().tostype("default").asnumpy() for name, p in found}


@pytest.mark.parametrize("make", BLOCKS)
def test_gradients_compiled_and_sparse(make: object) -> None:
    found = []
    for sparse_grad in (False, True):
        block = make(init_std=0.5, sparse_grad=sparse_grad)
        start(block, seed=1)
        found.append(gradients(block, *pairs()))
        block.hybridize()
        found.append(gradients(block, *pairs()))
    for name, right in found[0].items():
        assert np.abs(right).max() > 0
        for other in found[1:]:
            np.testing.assert_allclose(other[name], right, rtol=1e-4, atol=1e-5, err_msg=name)


def test_layers() -> None:
    for layers, shapes in (
        (3, {"hidden.0": (16, 16), "hidden.1": (8, 16), "hidden.2": (4, 8), "output": (1, 4)}),
        (1, {"hidden.0": (4, 4), "output": (1, 4)}),
        (0, {"output": (1, 8)}),
    ):
        block = MLP((5,), (7,), 4, layers=layers)
        start(block)
        found = {
            name.removesuffix(".weight"): w.shape for name, w in weights(block).items() if "weight" in name
        }
        assert found == shapes
        assert block(mx.nd.zeros((3, 1)), mx.nd.zeros((3, 1))).shape == (3,)
    small = MLP((5,), (7,), 1, layers=1)
    assert small.user.dim == 1
    longer = MLP((5,), (7,), 4, layers=1, embedding_dim=9)
    start(longer)
    assert longer.item.dim == 9
    assert weights(longer)["hidden.0.weight"].shape == (4, 18)


def test_first_weights() -> None:
    block = NeuMF((4_000, 50), (3_000,), 8, output_bias=-1.5, init_std=0.02)
    start(block, seed=3)
    w = weights(block)
    for name, values in w.items():
        if name == "gmf.output.weight":
            assert (values == 1).all()
        elif name.endswith("bias"):
            assert (values == (-1.5 if name == "mlp.output.bias" else 0)).all()
        else:
            embedded = name.endswith(("ids", "features"))
            std = 0.02 if embedded else math.sqrt(2 / sum(values.shape))
            assert values.std() == pytest.approx(std, rel=8 / math.sqrt(values.size)), name
            assert abs(values.mean()) < 5 * std / math.sqrt(values.size), name
    again = NeuMF((4_000, 50), (3_000,), 8, output_bias=-1.5, init_std=0.02)
    other = NeuMF((4_000, 50), (3_000,), 8)
    start(again, seed=3)
    start(other, seed=4)
    for name, values in w.items():
        np.testing.assert_array_equal(weights(again)[name], values)
        constant = name.endswith("bias") or name == "gmf.output.weight"
        assert constant or (weights(other)[name] != values).mean() > 0.9
    # It may be called again, on a block with weights.
    start(other, seed=3)
    np.testing.assert_array_equal(weights(other)["mlp.hidden.0.weight"], w["mlp.hidden.0.weight"])


def test_the_output_bias_of_each_block() -> None:
    for make in BLOCKS:
        block = make(output_bias=-0.7)
        start(block)
        name = "mlp.output.bias" if isinstance(block, NeuMF) else "output.bias"
        np.testing.assert_array_equal(weights(block)[name], np.float32([-0.7]))


def test_gluon_draws_from_the_same_distributions() -> None:
    block = NeuMF((4_000,), (3_000,), 8, init_std=0.02)
    block.initialize()
    w = weights(block)
    assert (w["gmf.output.weight"] == 1).all()
    assert w["gmf.user.ids"].std() == pytest.approx(0.02, rel=0.05)
    assert w["mlp.hidden.0.weight"].std() == pytest.approx(math.sqrt(2 / 64), rel=0.2)


def test_start_leaves_the_generators_alone() -> None:
    mx.random.seed(5)
    expected = mx.nd.random.uniform(shape=(3,)).asnumpy()
    mx.random.seed(5)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    start(GMF((5,), (7,)))
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=(3,)).asnumpy(), expected)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_bad_input_is_named() -> None:
    for make, words in (
        (lambda: GMF((5,), (7,), 0), "factors must be at least 1"),
        (lambda: MLP((5,), (7,), layers=17), "layers must be between 0 and 16"),
        (lambda: NeuMF((5,), (7,), embedding_dim=0), "embedding_dim must be at least 1"),
        (lambda: GMF((0,), (7,)), "vocab_sizes must be at least 1"),
        (lambda: IdEmbedding((5,), 3, init_std=0), "init_std must be greater than 0"),
        (lambda: GMF((5,), (7,), output_bias=math.nan), "output_bias must be a finite number"),
        (lambda: MLP((5,), (7,), output_bias=math.inf), "output_bias must be a finite number"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    foreign = mx.gluon.nn.Dense(3, in_units=2)
    with pytest.raises(TypeError, match="cannot draw weight"):
        start(foreign)


def test_parameters_can_be_saved(tmp_path: object, shop: object) -> None:
    batches = SparseNegSampleIter(shop, user_features=["age"], batch_size=20)
    block, copy = (NeuMF(batches.user_vocab_sizes, batches.item_vocab_sizes) for _ in range(2))
    start(block, seed=1)
    block.save_parameters(str(tmp_path / "block.params"))
    copy.load_parameters(str(tmp_path / "block.params"))
    data = next(batches).data
    np.testing.assert_array_equal(block(*data).asnumpy(), copy(*data).asnumpy())
