"""Lottery tickets for transfer: the dense weights under the ticket's mask, bit by bit."""

import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse import transfer
from tests.training import compiled
from tests.transfer.nets import upstream, values


def test_weights_on_the_mask_are_the_dense_ones(images):
    dense = compiled(upstream(), run_eagerly=True)
    fit = {"x": images[0], "y": images[1], "epochs": 1, "batch_size": 96, "verbose": 0}
    dense.fit(**fit)
    trained = values(dense.variables)
    searched = compiled(upstream(1), run_eagerly=True)
    ticket = ks.iterative_magnitude_pruning(searched, 0.6, fit, rate=0.4, exclude="top")
    sparse = transfer.lth_transfer(dense, ticket)
    paths = {v.path.removeprefix("upstream/"): v for v in sparse.variables}
    for before, path in zip(trained, paths, strict=True):
        value = values([paths[path]])[0]
        mask = ticket.masks.get(path, np.ones(before.shape, bool))
        assert np.array_equal(value[mask], before[mask])
        assert not value[~mask].any()
    zeros = sum(int((~mask).sum()) for mask in ticket.masks.values())
    assert zeros == round(0.6 * sum(mask.size for mask in ticket.masks.values()))
    found = transfer.full(sparse, *images, epochs=1, batch_size=96, run_eagerly=True, verbose=0)
    for path, mask in ticket.masks.items():
        layer = path.split("/")[0]
        assert not values([found.model.get_layer(layer).kernel])[0][~mask].any()


def test_bad_input():
    model = upstream()
    with pytest.raises(ValueError, match="Unknown weight in ticket: 'conv/kernels'"):
        transfer.lth_transfer(model, {"conv/kernels": np.ones((3, 3, 1, 6), bool)})
    with pytest.raises(ValueError, match=r"weight's shape \(3, 3, 1, 6\)"):
        transfer.lth_transfer(model, {"conv/kernel": np.ones((3, 3), bool)})
    with pytest.raises(ValueError, match="a LotteryTicket"):
        transfer.lth_transfer(model, 0.9)
