import copy
import itertools
import math
import os

import pytest
import torch
from torch import nn

from recsys_lib import training
from recsys_lib.errors import FileFormatError
from recsys_lib.training import TrainingError, TrainingOptions, shuffled, train

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device"),
        ],
    ),
]


def regression(device="cpu"):
    """200 points on a plane, with a little noise."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, 5, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.1 * torch.randn(200, generator=generator)
    return x.to(device), y.to(device)


def make_net(device="cpu", dropout=0.3, width=8):
    net = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return net.to(device)


def loss(net, batch):
    x, y = batch
    return (net(x)[:, 0] - y).square().mean()


def run(net=None, device="cpu", batch_size=32, epochs=4, **more):
    """Train on the points; returns the net and the history."""
    fields = TrainingOptions.__dataclass_fields__
    options = TrainingOptions(
        epochs=epochs, **{"learning_rate": 0.01} | {k: more.pop(k) for k in list(more) if k in fields}
    )
    net = make_net(device) if net is None else net
    x, y = regression(device)

    def batches(generator):
        for rows in shuffled(len(x), batch_size, generator):
            yield x[rows], y[rows]

    history = train(net, batches, more.pop("loss", loss), options, device=torch.device(device), **more)
    return net, history


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# ---------------------------------------------------------------------- the loop


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("threads", "expected"), [(None, 2), (1, 1), (1000, 2)])
def test_a_step_takes_no_more_threads_than_it_may(threads, expected):
    steps, validations = [], []

    def watched(net, batch):
        steps.append(torch.get_num_threads())
        return loss(net, batch)

    run(loss=watched, threads=threads, validate=lambda: validations.append(torch.get_num_threads()) or 0.0)
    assert set(steps) == {expected}
    assert {*validations, torch.get_num_threads()} == {2}
    with pytest.raises(ZeroDivisionError):
        run(loss=lambda net, batch: loss(net, batch) / (1 // 0), threads=threads)
    assert torch.get_num_threads() == 2


def test_it_learns_and_tells():
    net, history = run(make_net(dropout=0.0), epochs=60)
    assert history["epoch"].tolist() == list(range(1, 61))
    assert list(history.columns) == ["epoch", "loss", "seconds"]
    assert history["loss"].iloc[-1] < 0.2 < 5 < history["loss"].iloc[0]
    assert (history["seconds"] > 0).all()
    assert not net.training


def test_the_loss_is_the_mean_over_the_batches():
    seen = []

    def recorded(net, batch):
        value = loss(net, batch)
        seen.append(float(value.detach()))
        return value

    _, history = run(loss=recorded, epochs=2, batch_size=50)
    assert len(seen) == 8
    assert history["loss"].tolist() == pytest.approx([sum(seen[:4]) / 4, sum(seen[4:]) / 4], rel=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_one_seed_one_result(device):
    nets = [run(device=device, seed=seed)[0] for seed in (5, 5, 6)]
    assert same(nets[0], nets[1]) or device != "cpu"
    assert not same(nets[0], nets[2])


def test_dropout_is_seeded_too():
    net = make_net(dropout=0.5)
    one_batch = TrainingOptions(
        epochs=1
    )  # a whole epoch in one batch: shuffling alone changes next to nothing
    x, y = regression()
    losses = [
        train(copy.deepcopy(net), lambda g: [(x, y)], loss, one_batch, device=CPU, seed=s)["loss"].item()
        for s in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("device", DEVICES)
def test_global_random_numbers_are_left_alone(device):
    net = make_net(device)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state() if device == "cuda" else None
    run(net, device, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert on_gpu is None or torch.equal(torch.cuda.get_rng_state(), on_gpu)
    with pytest.raises(ZeroDivisionError):
        run(net, device, loss=lambda net, batch: loss(net, batch) * (1 // 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_result_does_not_depend_on_global_random_numbers():
    torch.manual_seed(1)
    one, _ = run()
    torch.manual_seed(2)
    assert same(one, run()[0])


def test_shuffled_gives_every_row_once():
    generator = torch.Generator().manual_seed(0)
    parts = list(shuffled(10, 4, generator))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))
    assert torch.cat(parts).tolist() != torch.cat(list(shuffled(10, 4, generator))).tolist()


def test_divergence_is_explained():
    with pytest.raises(
        TrainingError, match=r"became (nan|inf) in epoch \d+.*learning rate.*1e\+20.*clip_norm"
    ):
        run(optimizer="sgd", learning_rate=1e20)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
def test_optimizers(optimizer):
    _, history = run(
        make_net(dropout=0.0), epochs=10, optimizer=optimizer, learning_rate=0.03, weight_decay=1e-4
    )
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]


def test_clipping_bounds_the_step():
    before = make_net(dropout=0.0)
    after, _ = run(
        copy.deepcopy(before), epochs=1, batch_size=200, optimizer="sgd", learning_rate=0.1, clip_norm=0.5
    )
    moves = [a - b for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    step = math.sqrt(sum(move.detach().square().sum().item() for move in moves))
    assert step == pytest.approx(0.1 * 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, 0.5 * (1 + math.cos(math.pi / 4)), 0.5, 0.5 * (1 - math.cos(math.pi / 4))]),
    ],
)
def test_schedules(schedule, shares):
    # With a gradient of 1 everywhere, plain SGD moves by exactly the learning rate.
    net, places = nn.Linear(1, 1, bias=False), []
    places.append(net.weight.item())
    train(
        net,
        lambda generator: [None],
        lambda net, batch: net.weight.sum(),
        TrainingOptions(epochs=4, learning_rate=0.1, optimizer="sgd", schedule=schedule),
        device=CPU,
        callbacks=[lambda end: places.append(end.net.weight.item())],
    )
    steps = [a - b for a, b in itertools.pairwise(places)]
    assert steps == pytest.approx([0.1 * share for share in shares], abs=1e-6)


def test_bfloat16_computes_in_half_the_bits_and_learns():
    kinds = set()

    def watched(net, batch):
        kinds.add(net(batch[0]).dtype)
        return loss(net, batch)

    net, history = run(make_net(dropout=0.0), epochs=20, precision="bfloat16", loss=watched)
    assert kinds == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    assert history["loss"].iloc[-1] < 0.3 * history["loss"].iloc[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("weight_decay", -1),
        ("optimizer", "newton"),
        ("schedule", "step"),
        ("clip_norm", 0),
        ("patience", 0),
        ("precision", "float16"),
    ],
)
def test_bad_options_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        TrainingOptions(**{name: value})


# ---------------------------------------------------------------------- validation


def scripted(values, states=None, net=None):
    """Return a validation metric that takes these values one after the other."""
    left = iter(values)

    def validate():
        if states is not None:
            assert not net.training
            states.append(copy.deepcopy(net.state_dict()))
        return next(left)

    return validate


def test_early_stopping_goes_back_to_the_best_epoch():
    net, states = make_net(), []
    validate = scripted([0.1, 0.3, 0.2, 0.3, 0.9], states, net)
    _, history = run(net, epochs=9, patience=2, validate=validate)
    assert history["valid"].tolist() == [0.1, 0.3, 0.2, 0.3]  # an equal value is no better one
    for key, value in net.state_dict().items():
        assert torch.equal(value, states[1][key])
        assert not value.is_floating_point() or not torch.equal(value, states[3][key])


def test_validation_does_not_disturb_training():
    plain, _ = run(epochs=3)
    watched, _ = run(epochs=3, validate=scripted([1, 2, 3]))
    assert same(plain, watched)


def test_patience_needs_validation():
    with pytest.raises(ValueError, match="patience=2 needs validation data"):
        run(patience=2)


# ---------------------------------------------------------------------- callbacks and progress


def test_callbacks_see_every_epoch_and_can_stop():
    ends = []
    net, history = run(
        epochs=9, callbacks=[ends.append, lambda end: end.epoch == 3], validate=scripted([5, 6, 7])
    )
    assert [end.epoch for end in ends] == [1, 2, 3]
    assert [end.loss for end in ends] == history["loss"].tolist()
    assert [end.valid for end in ends] == [5, 6, 7]
    assert all(end.net is net for end in ends)


def test_progress(monkeypatch, capsys):
    monkeypatch.setenv("CI", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    run()
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv("CI")
    run(name="Ridge")
    assert "Ridge" in capsys.readouterr().err
    run(progress=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    run()
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_interrupted_run_goes_on_exactly(tmp_path, optimizer, schedule):
    options = {"optimizer": optimizer, "schedule": schedule, "epochs": 6, "seed": 3}
    metric = [0.5, 0.1, 0.2, 0.9, 0.3, 0.4]
    whole, history = run(**options, validate=scripted(metric))
    file = tmp_path / "run.pt"
    run(
        **options,
        validate=scripted(metric),
        checkpoint=file,
        callbacks=[lambda end: end.epoch == 3],
    )
    resumed, more = run(**options, validate=scripted(metric[3:]), checkpoint=file, resume=True)
    assert same(resumed, whole)
    assert more.drop(columns="seconds").equals(history.drop(columns="seconds"))


def test_resuming_without_validation_and_after_the_end(tmp_path):
    file = tmp_path / "run.pt"
    whole, history = run(epochs=5, checkpoint=file)
    again, same_history = run(epochs=5, checkpoint=file, resume=True)
    assert same(again, whole)
    assert same_history.equals(history)
    longer, _ = run(epochs=8, checkpoint=file, resume=True)
    assert same(longer, run(epochs=8)[0])


def test_a_run_out_of_patience_stays_stopped(tmp_path):
    file = tmp_path / "run.pt"
    options = {"epochs": 9, "patience": 2, "checkpoint": file}
    stopped, history = run(**options, validate=scripted([3, 2, 1]))
    again, same_history = run(**options, validate=scripted([]), resume=True)
    assert len(history) == 3
    assert same(again, stopped)
    assert same_history.equals(history)


def test_without_a_checkpoint_resume_starts_at_the_beginning(tmp_path):
    fresh, _ = run(checkpoint=tmp_path / "new" / "run.pt", resume=True)
    assert same(fresh, run()[0])
    assert os.listdir(tmp_path / "new") == ["run.pt"]


def test_a_checkpoint_is_never_half_written(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    run(epochs=2, checkpoint=file)
    before = file.read_bytes()

    def fail(state, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(training.torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        run(epochs=3, checkpoint=file, resume=True)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.pt"]


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    file = tmp_path / "run.pt"
    run(epochs=2, checkpoint=file)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"data/0") + 200] ^= 1  # in the weights
    for content in (b"", b"text", whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"run\.pt .*|Delete it to start anew"):
            run(epochs=3, checkpoint=file, resume=True)
        assert file.read_bytes() == content
    torch.save({"weights": torch.zeros(3)}, file)
    with pytest.raises(FileFormatError, match=r"does not fit this network\. Delete it"):
        run(epochs=3, checkpoint=file, resume=True)


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    run(make_net(width=4), epochs=2, checkpoint=file)
    with pytest.raises(FileFormatError, match="does not fit this network"):
        run(make_net(width=8), epochs=3, checkpoint=file, resume=True)


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 0.5), ("optimizer", "sgd"), ("seed", 4)])
def test_a_checkpoint_made_with_other_options_is_refused(tmp_path, name, value):
    file = tmp_path / "run.pt"
    run(epochs=2, checkpoint=file)
    with pytest.raises(ValueError, match=f"made with {name}=.* this run has {name}={value!r}"):
        run(epochs=3, checkpoint=file, resume=True, **{name: value})
