"""The template: published counts, shapes, other numbers, the decoder as a mirror image."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.models import (
    Body,
    ParameterCount,
    build_classifier,
    build_vae,
    channel_plan,
    count_parameters,
    main,
)

CLASSIFIER, VAE = (801980, 797980, 4000, 12), (2243960, 2235960, 8000, 24)  # paper, section 5


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(1)
    return build_classifier().eval()


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(2)
    return build_vae().eval()


def channels(model) -> int:
    return sum(m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d))


# Counts


def test_published_counts(classifier, vae):
    for model, expected in ((classifier, CLASSIFIER), (vae, VAE)):
        found = count_parameters(model)
        assert isinstance(found, ParameterCount)
        assert found == expected
        assert found._fields == ("total", "trainable", "non_trainable", "convolutions")
        assert found.total == found.trainable + found.non_trainable


def test_counts_are_printed(capsys):
    main()
    first, second = capsys.readouterr().out.splitlines()
    for line, counts in ((first, CLASSIFIER), (second, VAE)):
        total, trainable, _, convolutions = counts
        assert f"{total:,} parameters" in line and f"{trainable:,} trainable" in line
        assert line.endswith(f"{convolutions} convolutional layers")
    assert first.startswith("classifier") and second.startswith("autoencoder")


def test_counts_of_the_parts(classifier, vae):
    for body in (classifier.body, vae.encoder.body, vae.decoder.body):
        assert count_parameters(body) == (740784, 736784, 4000, 12)
    assert (channels(classifier), channels(vae)) == (2000, 4000)


def test_frozen_weights_still_count():
    model = build_classifier(width=8).requires_grad_(False)
    assert count_parameters(model).trainable == count_parameters(build_classifier(width=8)).trainable


# Shapes


def test_channel_plan():
    assert channel_plan(4, 64, 0.8) == [32, 76, 112, 140, 204]
    assert channel_plan(1, 8, 0.5) == [4, 12]


def test_stages_of_the_body():
    body, seen = Body(4, 64, 0.8).eval(), []
    halves = [m for pair in zip(body.groups, body.transitions, strict=False) for m in pair]
    for part in (body.stem, *halves, body.groups[-1]):
        part.register_forward_hook(lambda module, given, made: seen.append(tuple(made.shape[1:])))
    out = body(torch.rand(2, 3, 32, 32))
    assert seen == [
        (32, 32, 32), (96, 32, 32), (76, 16, 16), (140, 16, 16),
        (112, 8, 8), (176, 8, 8), (140, 4, 4), (204, 4, 4),
    ]  # fmt: skip
    assert out.shape == (2, 204, 4, 4) and out.min() >= 0


def test_shapes_of_both_networks(classifier, vae):
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert classifier(x).shape == (3, 6)
        features = classifier.embed(x)
        made, mu, log_variance = vae(x, torch.randn(3, 128))
    assert features.shape == (3, 290) and features.min() >= 0
    assert made.shape == x.shape and mu.shape == log_variance.shape == (3, 128)
    assert made.min() >= 0 and made.max() <= 1


def test_a_dense_group_keeps_its_input(classifier):
    group = classifier.body.groups[0]
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(group(x)[:, :32], x)


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_decoder_stays_in_range(vae, scale):
    with torch.no_grad():
        made = vae.decoder(scale * torch.randn(4, 128))
    assert torch.isfinite(made).all() and made.min() >= 0 and made.max() <= 1


# Other numbers


@pytest.mark.parametrize(
    ("groups", "width", "compression"),
    [(1, 4, 1.0), (2, 6, 0.12), (3, 16, 0.33), (5, 8, 0.5), (6, 10, 0.8), (6, 4, 1)],
)
def test_other_numbers_work_forward_and_backward(groups, width, compression):
    latent_dim = groups + 1
    classifier = build_classifier(groups, width, compression, classes=3)
    vae = build_vae(groups, width, compression, latent_dim)
    x = torch.rand(4, 3, 32, 32)
    F.cross_entropy(classifier(x), torch.tensor([0, 1, 2, 0])).backward()
    made, mu, log_variance = vae(x, torch.randn(4, latent_dim))
    assert made.shape == x.shape and mu.shape == (4, latent_dim)
    ((made - x).square().sum() + mu.square().sum() + log_variance.exp().sum()).backward()
    for model in (classifier, vae):
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert count_parameters(model).total > 0
    assert count_parameters(classifier).convolutions == 3 * groups  # stem, two a group, one a transition
    assert count_parameters(vae).convolutions == 6 * groups


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", 0), ("groups", 7), ("groups", 2.0), ("groups", "4"),
        ("width", 3), ("width", 2), ("width", 7), ("width", 64.0), ("width", -8),
        ("compression", 0), ("compression", 1.01), ("compression", -0.5),
        ("compression", float("nan")), ("compression", 1e-9),
    ],
)  # fmt: skip
def test_bad_numbers_are_named(name, value):
    for build in (build_classifier, build_vae):
        with pytest.raises(ValueError, match=f"^{name}: found ") as caught:
            build(**{name: value})
        assert repr(value) in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("build", "name", "value"),
    [
        (build_classifier, "classes", 1), (build_classifier, "classes", 2.5), (build_vae, "latent_dim", 0),
        (build_vae, "latent_dim", 1.5), (build_vae, "latent_dim", "x"),
    ],
)  # fmt: skip
def test_bad_sizes_are_named(build, name, value):
    with pytest.raises(ValueError, match=f"{name}: found ") as caught:
        build(**{name: value})
    assert repr(value) in str(caught.value)


# The mirror image


@pytest.mark.parametrize("numbers", [(4, 64, 0.8), (1, 4, 1.0), (6, 8, 0.5)])
def test_decoder_mirrors_encoder(numbers):
    vae = build_vae(*numbers, latent_dim=4)
    there = dict(vae.encoder.body.named_modules())
    back = dict(vae.decoder.body.named_modules())
    convolutions = {name for name, m in there.items() if isinstance(m, nn.Conv2d)}
    assert convolutions == {name for name, m in back.items() if isinstance(m, nn.ConvTranspose2d)}
    assert not any(type(m) is nn.Conv2d for m in back.values())
    for name in convolutions:
        one, other = there[name], back[name]
        assert (one.in_channels, one.out_channels) == (other.out_channels, other.in_channels), name
        assert one.weight.shape == other.weight.shape and one.kernel_size == other.kernel_size, name
        assert one.bias is None and other.bias is None
    sizes = [
        sorted(m.num_features for m in part.values() if isinstance(m, nn.BatchNorm2d))
        for part in (there, back)
    ]
    assert sizes[0] == sizes[1]
    # the same parameters in number: the mirror costs what the body costs
    assert count_parameters(vae.encoder.body) == count_parameters(vae.decoder.body)


def test_mirror_transition_commutes_with_upsampling(vae):
    """Convolving before the upsampling, as the code does, gives what the mirror of `pool, convolve` would."""
    transition = vae.decoder.body.transitions[0]
    x = torch.randn(2, transition.conv.in_channels, 4, 4)
    with torch.no_grad():
        late = F.relu(transition.norm(transition.conv(F.interpolate(x, scale_factor=2.0))))
        torch.testing.assert_close(transition(x), late, rtol=1e-4, atol=1e-5)


# Forward passes


def test_channels_last_is_the_same_function(classifier, vae):
    x, epsilon = torch.rand(4, 3, 32, 32), torch.randn(4, 128)
    with torch.no_grad():
        plain = [classifier(x), *vae(x, epsilon)]
        last = x.to(memory_format=torch.channels_last)
        for model in (classifier, vae):
            model.to(memory_format=torch.channels_last)
        other = [classifier(last), *vae(last, epsilon)]
    for model in (classifier, vae):
        model.to(memory_format=torch.contiguous_format)
    for one, two in zip(plain, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_code_is_mean_plus_sigma_times_epsilon(vae):
    x, epsilon = torch.rand(2, 3, 32, 32), torch.randn(2, 128)
    with torch.no_grad():
        made, mu, log_variance = vae(x, torch.zeros(2, 128))
        torch.testing.assert_close(made, vae.decoder(mu))
        moved, _, _ = vae(x, epsilon)
        torch.testing.assert_close(moved, vae.decoder(mu + log_variance.mul(0.5).exp() * epsilon))
    assert not torch.allclose(made, moved)


def test_same_seed_same_weights():
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        found.append(build_vae(2, 8, 0.5, 4).state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
