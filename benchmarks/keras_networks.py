"""The two networks in Keras 3 on TensorFlow, layer by layer as one writes them there: NHWC, float32.

    .venv-bench/bin/python -m benchmarks.keras_networks classifier|vae --batch 128 [--jit]

A worker of `benchmarks.bench`: it measures training steps (forward, backward, Adam) by `train_on_batch`.
The counts of parameters are compared with the published ones before anything is timed. Runs in
`.venv-bench`, where PyTorch and this project's packages are not installed. The order of pooling and 1x1
convolutions is that of `lib.models`, which is the cheaper one, so both sides do the same work.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.bench_protocol import serve

PLAN, WIDTH, BOTTLENECK, SE_RATIO = (32, 76, 112, 140), 64, 4, 16  # channels entering each dense group
EMBEDDING, CLASSES = 290, 6
ENCODER_HIDDEN, DECODER_HIDDEN, LATENT, BETA = 176, 168, 128, 0.02
PUBLISHED = {"classifier": (801_980, 797_980, 4_000, 12), "vae": (2_243_960, 2_235_960, 8_000, 24)}
READY_BATCHES = 8  # made before the clock runs; as ready as in the other variants


def norm():
    """Batch normalisation with PyTorch's constants."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def convolution(filters: int, size: int):
    return layers.Conv2D(filters, size, padding="same", use_bias=False)


def transposed(filters: int, size: int):
    return layers.Conv2DTranspose(filters, size, padding="same", use_bias=False)


def normalised(x):
    return layers.ReLU()(norm()(x))


def squeeze_excitation(x):
    channels = x.shape[-1]
    weights = layers.Dense(channels // SE_RATIO, activation="relu")(layers.GlobalAveragePooling2D()(x))
    weights = layers.Dense(channels, activation="sigmoid")(weights)
    return layers.Multiply()([x, layers.Reshape((1, 1, channels))(weights)])


def dense_group(x):
    new = convolution(BOTTLENECK * WIDTH, 1)(normalised(x))
    new = convolution(WIDTH, 3)(normalised(new))
    return layers.Concatenate()([x, squeeze_excitation(new)])


def transition(x, kept: int):
    return convolution(kept, 1)(layers.AveragePooling2D(2)(normalised(x)))


def body(x):
    """(32, 32, 3) -> (4, 4, 204)."""
    x = convolution(PLAN[0], 3)(x)
    for kept in PLAN[1:]:
        x = transition(dense_group(x), kept)
    return normalised(dense_group(x))


def mirror_group(x, channels: int):
    kept, new = x[..., :channels], x[..., channels:]
    new = normalised(transposed(BOTTLENECK * WIDTH, 3)(squeeze_excitation(new)))
    return layers.Add()([kept, norm()(transposed(channels, 1)(new))])


def mirror_transition(x, channels: int):
    return layers.UpSampling2D(2)(normalised(transposed(channels, 1)(x)))


def mirror_body(x):
    """(4, 4, 204) -> (32, 32, 3)."""
    x = mirror_group(normalised(x), PLAN[-1])
    for channels in reversed(PLAN[:-1]):
        x = mirror_group(mirror_transition(x, channels + WIDTH), channels)
    return transposed(3, 3)(x)


def build_classifier() -> keras.Model:
    """SE-SOTA-ConvNN: images (32, 32, 3) in [0, 1] -> scores of 6 classes."""
    image = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(body(image))
    x = layers.Dense(EMBEDDING, activation="relu")(x)
    return keras.Model(image, layers.Dense(CLASSES)(x), name="classifier")


def build_encoder() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.Flatten()(layers.AveragePooling2D(2)(body(image)))
    x = layers.Dense(ENCODER_HIDDEN, activation="relu")(x)
    return keras.Model(image, [layers.Dense(LATENT)(x), layers.Dense(LATENT)(x)], name="encoder")


def build_decoder() -> keras.Model:
    code = keras.Input((LATENT,))
    channels = PLAN[-1] + WIDTH
    x = layers.Dense(4 * 4 * channels)(layers.Dense(DECODER_HIDDEN, activation="relu")(code))
    x = layers.Activation("sigmoid")(mirror_body(layers.Reshape((4, 4, channels))(x)))
    return keras.Model(code, x, name="decoder")


class VAE(keras.Model):
    """VAENN with the evidence lower bound in a train step of its own, as Keras' own example has it."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = build_encoder(), build_decoder()
        self.noise = keras.random.SeedGenerator(0)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, x, training=False):
        mu, log_variance = self.encoder(x, training=training)
        epsilon = keras.random.normal(ops.shape(mu), seed=self.noise)
        return self.decoder(mu + ops.exp(0.5 * log_variance) * epsilon, training=training), mu, log_variance

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            made, mu, log_variance = self(x, training=True)
            squared = ops.mean(ops.sum(ops.square(made - x), axis=(1, 2, 3)))
            kl = 0.5 * ops.sum(ops.square(mu) + ops.exp(log_variance) - 1 - log_variance, axis=1)
            loss = squared + BETA * ops.mean(kl)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


def count(model: keras.Model) -> tuple[int, int, int, int]:
    """Parameters: total, trainable, not trainable; convolutions. The state of the noise is no parameter."""
    parts = [model.encoder, model.decoder] if isinstance(model, VAE) else [model]
    trainable = sum(int(np.prod(w.shape)) for part in parts for w in part.trainable_weights)
    fixed = sum(int(np.prod(w.shape)) for part in parts for w in part.non_trainable_weights)
    kinds = (layers.Conv2D, layers.Conv2DTranspose)
    convolutions = sum(isinstance(layer, kinds) for part in parts for layer in part.layers)
    return trainable + fixed, trainable, fixed, convolutions


def build(name: str) -> keras.Model:
    """The network "classifier" or "vae"; ValueError if its counts are not the published ones."""
    keras.utils.set_random_seed(0)
    model = build_classifier() if name == "classifier" else VAE()
    if count(model) != PUBLISHED[name]:
        raise ValueError(f"{name} in Keras: found {count(model)}, expected {PUBLISHED[name]}")
    return model


def prepare(name: str, batch: int, jit: bool):
    """A network that has done its first two steps, and what measures a number of further ones."""
    model = build(name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if name == "classifier" else None
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, jit_compile=jit)
    random = np.random.default_rng(0)
    batches = [
        (random.random((batch, 32, 32, 3), np.float32), random.integers(0, CLASSES, batch))
        for _ in range(READY_BATCHES)
    ]

    def steps(number: int) -> float:
        start = time.perf_counter()
        for step in range(number):
            images, labels = batches[step % READY_BATCHES]
            last = model.train_on_batch(images, *([labels] if name == "classifier" else []))
        float(np.asarray(last).ravel()[0])
        return time.perf_counter() - start

    steps(2)
    about = {"keras": keras.version(), "tensorflow": tf.__version__, "counts": count(model), "jit": jit}
    return about, lambda request: {"seconds": steps(request["steps"])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=sorted(PUBLISHED))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--jit", action="store_true", help="let XLA compile the step")
    options = parser.parse_args()
    serve(lambda line: line.answer_all(*prepare(options.network, options.batch, options.jit)))
