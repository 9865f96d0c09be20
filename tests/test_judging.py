"""Networks that judge images."""

import numpy as np
import torch

from lib import image_quality, judging
from lib.acceleration import ComputePath
from lib.models import build_classifier
from lib.training import predict
from tests.test_training import images as images
from tests.test_training import same

CPU = ComputePath("cpu", "float32", True, False, 1)


def test_train_judge_leaves_other_random_numbers_alone(images):
    judges = [judging.train_judge(*images, 8, 0.5, 16, 1e-3, 0, CPU) for _ in range(2)]
    assert same(*judges) and judges[0].body.stem.out_channels == 4
    torch.manual_seed(0)
    assert not torch.equal(judges[0].body.stem.weight, build_classifier(width=8).body.stem.weight)


def test_intactness_is_minus_the_strength_that_the_critic_expects(images):
    pictures = images[0]
    critic = judging.train_critic(pictures[:20], pictures[20:30], 60, 8, 0.5, 16, 1e-3, 0, CPU)
    score = judging.intactness(critic, CPU)(pictures)
    assert score.shape == (len(pictures),)
    assert (score <= 0).all() and (score >= -image_quality.STRENGTHS).all()
    assert np.array_equal(score, -image_quality.spoilage(predict(critic, pictures, CPU)))
