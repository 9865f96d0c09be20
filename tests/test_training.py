"""Training: batches, augmentation, schedules, resuming, stability, prediction; the compute path."""

import numpy as np
import pytest
import torch

from lib import acceleration, stability, training
from lib.acceleration import ComputePath, choose_path
from lib.autoencoding import Objective, train_vae
from lib.batches import (
    Schedule,
    augment,
    draw_augmentation,
    generator,
    image_batch,
    on_device,
    torch_seed,
)
from lib.models import build_classifier, build_vae
from lib.quality import sharpness
from lib.runs import InputError
from lib.stability import stabilise
from lib.training import EarlyStopping, answer, embed, one_cycle, predict, train_classifier

CPU = ComputePath("cpu", "float32", True, False, 1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    """64 images of six classes: a square of the class's colour on noise."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (64, 32, 32, 3), np.uint8)
    labels = np.arange(64) % 6
    for picture, label in zip(pictures, labels, strict=True):
        picture[8:24, 8:24, label % 3] = 120 + 130 * (label // 3)
    return pictures, labels


def small(seed=0):
    torch.manual_seed(seed)
    return build_classifier(groups=2, width=8, compression=0.5)


def small_vae(seed=0):
    torch.manual_seed(seed)
    return build_vae(groups=2, width=8, compression=0.5, latent_dim=4)


def same(one, two) -> bool:
    one, two = one.state_dict(), two.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


# Batches


@pytest.mark.parametrize(("count", "size"), [(60, 10), (64, 10), (7, 100), (5, 1)])
def test_a_pass_covers_every_image_once(count, size):
    schedule = Schedule(100, size, 1e-3, seed=3)
    steps = count // min(size, count)
    for number in range(2):
        rows = torch.cat([schedule.rows(count, number * steps + k) for k in range(steps)])
        assert len(rows) == steps * min(size, count)
        assert len(rows.unique()) == len(rows) and 0 <= rows.min() and rows.max() < count


def test_rows_depend_on_seed_and_step_alone():
    one, two = Schedule(100, 8, 1e-3, 3), Schedule(50, 8, 1e-2, 3)
    forward = [one.rows(40, step).tolist() for step in range(12)]
    backward = [two.rows(40, step).tolist() for step in reversed(range(12))][::-1]
    assert forward == backward
    assert sorted(sum(forward[:5], [])) == list(range(40))
    assert forward[:5] != forward[5:10]  # another order each pass
    assert forward[0] != Schedule(100, 8, 1e-3, 4).rows(40, 0).tolist()


def test_a_batch_is_the_same_whichever_step_was_asked_before():
    """Drawn a pass at a time, yet a function of (seed, step) alone, so a resumed run sees the same."""
    schedule = Schedule(12, 8, 1e-3, 3)

    def draw(step, size):
        return (torch.rand(size, generator=generator(3, 9, step)), torch.tensor(float(step)))

    forward, backward = (schedule.batches(40, "cpu", draw) for _ in range(2))
    one = [forward(step) for step in range(12)]
    two = [backward(step) for step in reversed(range(12))][::-1]
    for step, (a, b) in enumerate(zip(one, two, strict=True)):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert torch.equal(a[0], schedule.rows(40, step)) and a[2] == step
        assert torch.equal(a[1], draw(step, 8)[0])


def test_generators_of_neighbours_differ():
    draws = {tuple(torch.rand(3, generator=generator(a, b)).tolist()) for a in range(4) for b in range(4)}
    assert len(draws) == 16


def test_an_array_reaches_the_device_without_a_copy_where_it_can(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert on_device(array, CPU).data_ptr() == array.ctypes.data
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for given in (mapped, array[:, ::2], array[::-1]):
        assert np.array_equal(on_device(given, CPU).numpy(), given)


# Augmentation


def test_augment_only_flips_without_softening(images):
    given = torch.from_numpy(images[0])
    copy = given.clone()
    made = augment(given, draw_augmentation(64, generator(1))[0])
    assert made.dtype == torch.uint8 and made.shape == given.shape
    flipped = [bool(torch.equal(b, a.flip(1))) for a, b in zip(copy, made, strict=True)]
    kept = [bool(torch.equal(b, a)) for a, b in zip(copy, made, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 15 < sum(flipped) < 50
    assert torch.equal(given, copy)


def test_softening_never_sharpens(images):
    given = torch.from_numpy(images[0])
    copy = given.clone()
    made = augment(given, *draw_augmentation(64, generator(2), soften=1.0))
    assert made.dtype == torch.uint8 and made.shape == given.shape
    assert torch.equal(given, copy)
    before, after = sharpness(images[0]), sharpness(made.numpy())
    assert (after <= before * 1.001 + 1e-6).all() and after.mean() < 0.8 * before.mean()


def test_softening_touches_a_share_of_the_images(images):
    given = torch.from_numpy(images[0])
    flip, share = draw_augmentation(64, generator(3), soften=0.5)
    plain, made = augment(given, flip), augment(given, flip, share)
    touched = [(a != b).any().item() for a, b in zip(plain, made, strict=True)]
    assert 16 < sum(touched) < 48


def test_softening_keeps_flat_images():
    flat = torch.full((4, 32, 32, 3), 200, dtype=torch.uint8)
    assert torch.equal(augment(flat, *draw_augmentation(4, generator(4), soften=1.0)), flat)


@pytest.mark.parametrize("steps", [1, 2, 7, 500])
def test_one_cycle_stays_within_its_peak(steps):
    rates = [one_cycle(step, steps, 0.01) for step in range(steps)]
    assert all(0 < rate <= 0.01 for rate in rates)
    if steps == 500:
        top = int(np.argmax(rates))
        assert rates[top] == pytest.approx(0.01, rel=1e-3) and 0.2 < top / steps < 0.3
        assert rates[0] < 0.05 * 0.01 and rates[-1] < 0.002 * 0.01
        assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()


# Training


def test_overfits_64_images(images):
    model, schedule = small(), Schedule(100, 32, 3e-2, 0)  # 40 are too few for some processors
    history = train_classifier(model, *images, schedule, path=CPU, validation=images)
    found = [row["validation_accuracy"] for row in history if "validation_accuracy" in row]
    assert len(found) == training.VALIDATIONS and found[-1] > 0.95 > found[0] + 0.3
    losses = [row["loss"] for row in history if "loss" in row]
    assert [row["step"] for row in history if "loss" in row] == [25, 50, 75, 100] and losses[-1] < losses[0]
    assert not model.training
    assert (predict(model, images[0], CPU).argmax(1) == images[1]).mean() == found[-1]


def run_classifier(images, steps=8, checkpoint=None, seed=5):
    model = small()
    history = train_classifier(
        model, *images, Schedule(steps, 16, 1e-2, seed), path=CPU, validation=images, soften=0.5,
        checkpoint=checkpoint, log_every=2,
    )  # fmt: skip
    return model, history


def run_vae(images, steps=8, checkpoint=None, seed=5):
    vae = small_vae()
    history = train_vae(
        vae, images[0], Schedule(steps, 16, 1e-2, seed), path=CPU, objective=Objective(detail=1.0),
        heldout=images[0][:8], measure_every=3, freeze_steps=2, checkpoint=checkpoint,
    )  # fmt: skip
    return vae, history


@pytest.fixture(params=[run_classifier, run_vae], ids=["classifier", "vae"])
def run(request, monkeypatch):
    """Either training, logging every second step."""
    if request.param is run_vae:
        fit = training.fit
        monkeypatch.setattr("lib.autoencoding.fit", lambda *a, **k: fit(*a, **k, log_every=2))
    return request.param


def interrupt(run, images, checkpoint, monkeypatch, at=5, steps=8):
    """Train until step `at`, where the process is stopped; a checkpoint is written whenever possible."""

    def stop(step, *rest):
        if step == at:
            raise KeyboardInterrupt
        return one_cycle(step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
        patch.setattr(training, "one_cycle", stop)
        with pytest.raises(KeyboardInterrupt):
            run(images, steps, checkpoint)
    assert torch.load(checkpoint, weights_only=True)["step"] == at - at % 2


def test_same_seed_same_bytes(run, images):
    one, two, other = run(images), run(images), run(images, seed=6)
    assert same(one[0], two[0]) and one[1] == two[1]
    assert not same(one[0], other[0])


def test_resumed_training_ends_with_the_same_bytes(run, images, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoints" / "net.pt"
    whole = run(images)
    interrupt(run, images, checkpoint, monkeypatch)
    steps = []
    monkeypatch.setattr(
        training, "one_cycle", lambda step, *rest: steps.append(step) or one_cycle(step, *rest)
    )
    resumed = run(images, checkpoint=checkpoint)
    assert steps == [4, 5, 6, 7]  # it did go on, rather than start again
    assert same(whole[0], resumed[0]) and whole[1] == resumed[1]
    again = run(images, checkpoint=checkpoint)  # in a notebook with several trainings, this one was complete
    assert steps == [4, 5, 6, 7] and same(whole[0], again[0]) and whole[1] == again[1]
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def stopped_early(images, steps=12, checkpoint=None):
    """A training whose held-out score is the best after four steps; its states by step, and its history."""
    model, score, states = small(), {2: 1.0, 4: 3.0, 6: 2.0, 8: 3.0, 10: 9.0}, {}
    batch = image_batch(torch.from_numpy(images[0][:8]))

    def after(step):
        states[step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return {"score": score[step]}

    history = training.fit(
        model, lambda step: (), lambda _: (model(batch).square().mean(), {}), Schedule(steps, 8, 1e-3, 0),
        path=CPU, checkpoint=checkpoint, log_every=2, after=after, after_every=2,
        stopping=EarlyStopping("score", 2),
    )  # fmt: skip
    return model, history, states


def test_early_stopping_keeps_the_best_weights(images):
    model, history, states = stopped_early(images)
    assert list(states) == [2, 4, 6, 8] and history[-1] == {"step": 8, "score": 3.0}  # no gain is no gain
    found = model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in states[4].items())
    assert not all(torch.equal(found[name], tensor) for name, tensor in states[8].items())


@pytest.mark.parametrize("at", [5, 7])
def test_early_stopping_goes_on_from_a_checkpoint(images, tmp_path, monkeypatch, at):
    whole = stopped_early(images)
    checkpoint = tmp_path / "net.pt"
    interrupt(stopped_early, images, checkpoint, monkeypatch, at, 12)
    resumed = stopped_early(images, checkpoint=checkpoint)
    assert min(resumed[2]) > at - 1 and same(whole[0], resumed[0]) and whole[1] == resumed[1]
    again = stopped_early(images, checkpoint=checkpoint)  # it ended early, so it is complete
    assert not again[2] and same(whole[0], again[0]) and whole[1] == again[1]


def test_what_stops_early_depends_on_what_it_reads(images, tmp_path):
    """Other held-out images, or measured at other steps: another training, whatever lies there."""
    def train(heldout, every, checkpoint=None):
        vae = small_vae()
        return train_vae(vae, images[0], Schedule(6, 8, 1e-3, 0), path=CPU, objective=Objective(), patience=1,
                         heldout=heldout, measure_every=every, checkpoint=checkpoint), vae  # fmt: skip

    others, checkpoint = 255 - images[0][:10], tmp_path / "vae.pt"
    train(images[0][:10], 2, checkpoint)
    for given in ((others, 2), (others, 3)):
        fresh, after = train(*given), train(*given, checkpoint)
        assert fresh[0] == after[0] and same(fresh[1], after[1])


def test_a_checkpoint_of_older_code_is_gone_on_from(images, tmp_path):
    whole = run_vae(images)
    run_vae(images, checkpoint=tmp_path / "net.pt")
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    torch.save({key: state[key] for key in state if key not in ("best", "stopped")}, tmp_path / "net.pt")
    again = run_vae(images, checkpoint=tmp_path / "net.pt")
    assert same(whole[0], again[0]) and whole[1] == again[1]


def test_early_stopping_needs_something_to_read(images):
    with pytest.raises(ValueError, match="^stopping: found "):
        train_vae(
            small_vae(), images[0], Schedule(4, 8, 1e-3, 0), path=CPU, objective=Objective(), patience=1
        )


def test_checkpoint_of_another_schedule_is_ignored(run, images, tmp_path, monkeypatch):
    checkpoint = tmp_path / "net.pt"
    interrupt(run, images, checkpoint, monkeypatch, steps=9)
    fresh, after = run(images, 8), run(images, 8, checkpoint)
    assert same(fresh[0], after[0]) and fresh[1] == after[1]
    assert torch.load(checkpoint, weights_only=True)["step"] == 8  # its own in the other's place


def test_checkpoint_of_other_images_is_ignored(run, images, tmp_path, monkeypatch):
    checkpoint = tmp_path / "net.pt"
    interrupt(run, images, checkpoint, monkeypatch)
    others = (255 - images[0], images[1])
    fresh, after = run(others), run(others, checkpoint=checkpoint)
    assert same(fresh[0], after[0]) and fresh[1] == after[1]
    assert torch.load(checkpoint, weights_only=True)["step"] == 8


def test_identity_of_a_training_holds_all_that_it_depends_on(images):
    def identity(model=None, schedule=None, settings=(images[0], "a", 0.5)):
        return training.training_identity(model or small(), schedule or Schedule(4, 8, 1e-3, 0), settings)

    wider = build_classifier(groups=2, width=10, compression=0.5)
    others = [
        identity(small(1)), identity(wider), identity(schedule=Schedule(5, 8, 1e-3, 0)),
        identity(settings=(images[0][::-1], "a", 0.5)), identity(settings=(images[0], "b", 0.5)),
        identity(settings=(images[0], "a", 0.25)), identity(settings=(images[0].astype(np.int8), "a", 0.5)),
    ]  # fmt: skip
    assert identity() == identity(small()) and len({identity(), *others}) == 1 + len(others)


def test_writing_checkpoints_changes_nothing(run, images, tmp_path, monkeypatch):
    without = run(images)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    checked = run(images, checkpoint=tmp_path / "net.pt")
    assert same(without[0], checked[0]) and without[1] == checked[1]
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]  # the last state, and no half-written one


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_file_that_is_no_checkpoint_is_told_and_ignored(run, images, tmp_path, capsys, content):
    checkpoint = tmp_path / "net.pt"
    fresh = run(images, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2] if content is None else content)
    after = run(images, checkpoint=checkpoint)
    assert same(fresh[0], after[0]) and fresh[1] == after[1]
    assert f"{checkpoint}: no checkpoint (" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_the_training(images):
    model = small()
    with torch.no_grad():
        model.output.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="classifier: loss nan at step 2"):
        train_classifier(model, *images, Schedule(4, 16, 1e-3, 0), path=CPU, log_every=2)


# Resolutions


def test_at_resolution_keeps_means_and_leaves_whole_images(images):
    batch = training.image_batch(torch.from_numpy(images[0]))
    assert training.at_resolution(batch, 32) is batch
    for side in (8, 16, 24):
        small_batch = training.at_resolution(batch, side)
        assert small_batch.shape == (64, 3, side, side)
        assert torch.allclose(small_batch.mean((1, 2, 3)), batch.mean((1, 2, 3)), atol=0.01)
        assert 0 <= small_batch.min() and small_batch.max() <= 1


def test_equal_shares_of_the_steps_see_each_resolution(images, monkeypatch):
    seen = []
    shrink = training.at_resolution
    monkeypatch.setattr(training, "at_resolution", lambda x, side: seen.append(side) or shrink(x, side))
    model = small()
    history = train_classifier(model, *images, Schedule(9, 16, 1e-2, 0), path=CPU, resolutions=[8, 16, 32])
    assert seen == [8] * 3 + [16] * 3 + [32] * 3
    assert np.isfinite(history[-1]["loss"])


@pytest.mark.parametrize("sides", [[], [16], [32, 16], [1, 32], [40, 32], [16.0, 32], ["16", 32], [True, 32]])
def test_resolutions_must_end_at_the_full_one(images, sides):
    with pytest.raises(InputError, match="resolutions: found .*, expected whole numbers from 2 to 32"):
        train_classifier(small(), *images, Schedule(4, 16, 1e-3, 0), path=CPU, resolutions=sides)


# Stability


def test_stabilise_keeps_the_steadiest(images):
    found = [
        stabilise(small_unseeded, *images, seed=3, path=CPU, candidates=3, steps=6, rate=1e-3, batch_size=8)
        for _ in range(2)
    ]
    (one, report), (two, again) = found
    assert report == again and same(one, two)
    candidates = report["candidates"]
    assert [c["candidate"] for c in candidates] == [0, 1, 2] and all(
        len(c["losses"]) == 6 for c in candidates
    )
    assert len({tuple(c["losses"]) for c in candidates}) == 3  # three initialisations
    falling = [c for c in candidates if c["slope"] < 0] or candidates
    assert report["kept"] == min(falling, key=lambda c: c["spread"])["candidate"]
    line = np.polyval(np.polyfit(range(6), candidates[0]["losses"], 1), range(6))
    assert candidates[0]["spread"] == pytest.approx(np.std(candidates[0]["losses"] - line))


def small_unseeded():
    return build_classifier(groups=2, width=8, compression=0.5)


def test_stabilise_prefers_a_falling_loss(images, monkeypatch):
    curves = iter([[1.0, 1.1, 1.2, 1.3], [1.3, 1.1, 1.1, 0.8], [1.4, 1.3, 1.2, 1.2]])
    monkeypatch.setattr(
        stability, "train_classifier", lambda *a, **k: [{"loss": loss} for loss in next(curves)]
    )
    model, report = stabilise(small_unseeded, *images, seed=0, path=CPU, candidates=3, steps=4)
    assert report["kept"] == 2  # 0 is the straightest, but rises
    torch.manual_seed(torch_seed(0, 2))  # nothing was trained here
    assert same(model, small_unseeded())


# Prediction


def test_predict_is_the_softmax_of_the_scores(images):
    model = small()
    model.train()
    found = predict(model, images[0], CPU, batch=10)
    assert found.shape == (64, 6) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    x = torch.from_numpy(images[0]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = model.eval()(x).softmax(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert embed(model, images[0][:3], CPU).shape == (3, 290)


def test_an_answer_is_the_same_for_the_mirror_image(images):
    model = small()
    model.eval()
    found = answer(model, images[0], CPU)
    assert np.array_equal(found, answer(model, np.ascontiguousarray(images[0][:, :, ::-1]), CPU))
    assert found.dtype == np.float32 and np.allclose(found.sum(1), 1, atol=1e-5)
    once, mirrored = predict(model, images[0], CPU), predict(model, images[0][:, :, ::-1], CPU)
    assert not np.array_equal(once, mirrored) and np.array_equal(found, (once + mirrored) / 2)


@pytest.mark.parametrize("ask", [predict, embed])
def test_a_network_can_be_trained_after_it_was_asked(images, ask):
    model = small()
    before = ask(model, images[0], CPU)
    train_classifier(model, *images, Schedule(2, 16, 1e-2, 0), path=CPU)
    assert not np.array_equal(ask(model, images[0], CPU), before)


def test_predict_needs_images(images):
    with pytest.raises(ValueError, match="found no images"):
        predict(small(), images[0][:0], CPU)


# The compute path


@pytest.mark.parametrize("name", ["device", "precision", "memory_format", "compiler"])
def test_an_unknown_choice_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name}: found 'fast', expected one of auto, "):
        choose_path(**{name: "fast"})


def test_overrides_are_honoured():
    path = choose_path("cpu", "bfloat16", "contiguous", "off")
    assert (path.device, path.precision, path.channels_last, path.compiler) == (
        "cpu",
        "bfloat16",
        False,
        False,
    )
    assert choose_path("cpu", "float32", "channels_last", "off").precision == "float32"
    line = path.describe()
    threads = torch.get_num_threads()
    words = f"{threads} thread{'s' if threads > 1 else ''}"
    for word in ("cpu", "bfloat16", "channels-first", "not compiled", words):
        assert word in line
    assert path.asdict()["precision"] == "bfloat16"
    model = path.place(torch.nn.Conv2d(3, 4, 3))
    assert model.weight.is_contiguous()
    with path.autocast():
        assert model(torch.rand(1, 3, 8, 8)).dtype == torch.bfloat16


def test_float32_path_does_not_autocast():
    path = choose_path("cpu", "float32", "auto", "off")
    with path.autocast():
        assert torch.nn.Conv2d(3, 4, 3)(torch.rand(1, 3, 8, 8)).dtype == torch.float32
    assert "channels-last" in path.describe()


def test_an_obstacle_to_compiling_is_told(monkeypatch):
    monkeypatch.setattr(acceleration.shutil, "which", lambda name: None)
    path = choose_path("cpu", "float32", compiler="on")
    assert not path.compiler and "no C++ compiler" in path.describe()


def test_short_trainings_are_compiled_only_where_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(acceleration, "_compiler_obstacle", lambda device: "")
    for word, one_image in (("auto", False), ("on", True), ("off", False)):
        path = choose_path("cpu", "float32", compiler=word)
        assert path.compiles(1) is one_image and path.compiles(10**6) is (word != "off"), word
        assert ("torch.compile," in path.describe()) is one_image, word


def test_short_trainings_are_not_compiled():
    path = ComputePath("cpu", "float32", True, True, 1)

    def function(x):
        return x

    assert path.compile(function, acceleration.WORTH_COMPILING["cpu"] - 1) is function
    assert CPU.compile(function, 10**6) is function
    assert path.describe(100).endswith("not compiled (pays from 400,000 images on, here 100), 1 thread")
    assert path.describe(10**6).endswith("channels-last, torch.compile, 1 thread")
    assert CPU.describe(10**6).endswith("channels-last, not compiled, 1 thread")
    # each resolution is compiled by itself
    assert Schedule(10, 8, 1e-3, 0).images_compiled_for([16, 16, 32]) == 40
    assert Schedule(10, 8, 1e-3, 0).images_compiled_for() == 80


def test_a_failed_compilation_is_said_once_and_the_training_goes_on(monkeypatch, capsys):
    def broken(*arguments):
        raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("no headers"), None)

    monkeypatch.setattr(acceleration.torch, "compile", lambda function, **options: broken)
    step = ComputePath("cpu", "float32", True, True, 1).compile(lambda x: x + 1, 10**6)
    assert [step(1), step(2)] == [2, 3]
    assert capsys.readouterr().out.count("goes on without it") == 1


def test_a_backward_pass_that_cannot_be_compiled_fails_before_the_step(monkeypatch, capsys):
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def no_backward(*_):
        raise RuntimeError("no compiler")

    backend = aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph), bw_compiler=no_backward)
    real = torch.compile
    monkeypatch.setattr(acceleration.torch, "compile", lambda f, **_: real(f, backend=backend, dynamic=False))
    norm = torch.nn.BatchNorm1d(3)
    step = ComputePath("cpu", "float32", True, True, 1).compile(lambda x: norm(x).square().sum(), 10**6)
    for size in (4, 5):  # another shape is compiled anew
        step(torch.rand(size, 3)).backward()
    assert capsys.readouterr().out.count("goes on without it") == 1
    assert norm.weight.grad.abs().sum() > 0 and norm.num_batches_tracked == 2  # each step once


def test_an_error_of_the_function_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr(acceleration.torch, "compile", lambda function, **options: function)
    step = ComputePath("cpu", "float32", True, True, 1).compile(lambda x: 1 / x, 10**6)
    with pytest.raises(ZeroDivisionError):
        step(0)


def test_a_path_with_a_space_gets_a_link_without(monkeypatch, tmp_path):
    from torch._inductor.runtime import cache_dir_utils
    from torch.utils import cpp_extension

    home = tmp_path / "with space" / "torch"
    home.mkdir(parents=True)
    monkeypatch.setattr(cache_dir_utils, "cache_dir", lambda: str(tmp_path / "cache"))
    for name in ("_TORCH_PATH", "TORCH_LIB_PATH"):
        monkeypatch.setattr(cpp_extension, name, "unchanged")
    monkeypatch.setattr(torch, "__file__", str(home / "__init__.py"))
    for _ in range(2):
        link = acceleration.avoid_spaces.__wrapped__()
        assert link.resolve() == home and " " not in link.name and link.parent == tmp_path / "cache"
    assert cpp_extension._TORCH_PATH == str(link) and cpp_extension.TORCH_LIB_PATH == str(link / "lib")
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    assert acceleration.avoid_spaces.__wrapped__() is None


def test_freed_memory_is_kept_where_the_c_library_can():
    import platform

    assert acceleration.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
