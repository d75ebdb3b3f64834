import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from tests.training import BATCH, compiled, conv_net, kernels

pytestmark = pytest.mark.jax


class Starts(keras.callbacks.Callback):
    """What each training begins with, and what the first one has after its epochs."""

    def __init__(self):
        super().__init__()
        self.begun, self.epochs = [], []

    def on_train_begin(self, logs=None):
        self.new = True

    def on_train_batch_begin(self, batch, logs=None):
        if self.new:
            self.begun.append(state(self.model))
            self.new = False

    def on_epoch_end(self, epoch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        self.epochs.append(state(self.model))


def state(model):
    """Variables by path, the optimizer's with them and the masks left out."""
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return {
        variable.path.removeprefix(f"{model.name}/"): np.array(ops.convert_to_numpy(variable))
        for variable in (*model.variables, *optimizer.variables)
    }


def search(images, sparsity, epochs=2, seen=None, **kwargs):
    x, y = images
    model = compiled(conv_net(), keras.optimizers.SGD(0.05, momentum=0.9))
    fit = {"x": x, "y": y, "epochs": epochs, "batch_size": BATCH, "verbose": 0, "shuffle": False}
    callbacks = [] if seen is None else [seen]
    ticket = ks.iterative_magnitude_pruning(
        model, sparsity, {**fit, "callbacks": callbacks}, **kwargs
    )
    return model, ticket


def assert_rewound(begun, expected, masks):
    """Survivors and all that is not pruned are what they were, the rest is zero."""
    assert begun.keys() == expected.keys()
    for path, value in begun.items():
        own = expected[path]
        if path in masks:
            own = np.where(masks[path], own, 0)
        np.testing.assert_array_equal(value, own, err_msg=path)


def test_rounds_to_the_initial_weights(images):
    seen = Starts()
    model, ticket = search(images, 1 - 0.8**3, epochs=1, seen=seen)
    size = sum(kernel.size for kernel in kernels(model))
    density = [1, 0.8, 0.64, 0.512]
    np.testing.assert_allclose(1 - np.array(ticket.sparsities), density, atol=1 / size + 5e-5)
    assert len(ticket.histories) == len(seen.begun) == 4
    for begun, masks in zip(seen.begun, ticket.rounds, strict=True):
        assert_rewound(begun, seen.begun[0], masks)
    for before, after in zip(ticket.rounds, ticket.rounds[1:], strict=False):
        assert all((before[path] | ~after[path]).all() for path in after)
    for kernel, mask in zip(kernels(model), ticket.masks.values(), strict=True):
        np.testing.assert_array_equal(kernel != 0, mask)


def test_prunes_the_smallest_survivors(images):
    seen = Starts()
    _, ticket = search(images, 0.36, epochs=1, seen=seen)
    trained, masks = seen.epochs[1], ticket.rounds
    weights = np.concatenate([np.abs(trained[path][masks[1][path]]) for path in masks[1]])
    kept = np.concatenate([masks[2][path][masks[1][path]] for path in masks[1]])
    assert weights[kept].min() >= weights[~kept].max()


def test_last_round_meets_the_sparsity(images):
    model, ticket = search(images, 0.5, epochs=1)
    size = sum(kernel.size for kernel in kernels(model))
    assert len(ticket.rounds) == 5
    assert sum(mask.sum() for mask in ticket.masks.values()) == size - round(0.5 * size)
    assert ticket.sparsities[3] == pytest.approx(1 - 0.8**3, abs=1 / size)


@pytest.mark.thorough
def test_rewinds_to_an_epoch(images):
    seen = Starts()
    _, ticket = search(images, 0.36, epochs=3, seen=seen, rewind_to=1)
    assert [len(history["loss"]) for history in ticket.histories] == [3, 2, 2]
    for begun, masks in zip(seen.begun[1:], ticket.rounds[1:], strict=True):
        assert_rewound(begun, seen.epochs[0], masks)
    assert np.abs(seen.epochs[0]["norm/moving_mean"]).max() > 0


@pytest.mark.thorough
def test_rewinds_the_learning_rate_only(images):
    seen = Starts()
    _, ticket = search(images, 0.36, seen=seen, rewind_to="lr")
    trained, first = seen.epochs[1], seen.begun[0]
    optimizer = {path for path in first if path.startswith("sgd/")}
    assert "sgd/iteration" in optimizer
    expected = {path: (first if path in optimizer else trained)[path] for path in first}
    assert_rewound(seen.begun[1], expected, ticket.rounds[1])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"rate": 1.0}, "rate must be a number"),
        ({"rewind_to": 2}, "rewind_to must be"),
        ({"rewind_to": "start"}, "rewind_to must be"),
        ({"sparsity": 90}, "For 90 % give 0.9"),
    ],
)
def test_bad_arguments(images, arguments, match):
    with pytest.raises(ValueError, match=match):
        search(images, **{"sparsity": 0.5, **arguments})


def test_an_uncompiled_model():
    with pytest.raises(ValueError, match="must be compiled"):
        ks.iterative_magnitude_pruning(conv_net(), 0.5, {})
