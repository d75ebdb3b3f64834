import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

import keras_sparse as ks
from tests.training import compiled, conv_net, fit, values


@pytest.fixture(scope="module")
def trained(images):
    model = compiled(conv_net())
    fit(model, images, epochs=3)
    return model


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_each_layer_alone(trained, images, method, tmp_path):
    before = values(trained)
    found = ks.sensitivity(
        trained,
        images,
        sparsities=[0.5, 0.9],
        method=method,
        metric="loss",
        path=tmp_path / "found.png",
        verbose=False,
    )
    for one, two in zip(before, values(trained), strict=True):
        np.testing.assert_array_equal(one, two)
    assert found.dense == pytest.approx(trained.evaluate(*images, verbose=0)[0])
    assert [row.path.split("/")[-2] for row in found.rows] == ["conv", "hidden", "logits"]
    copy = compiled(keras.models.clone_model(trained))
    copy.set_weights(trained.get_weights())
    if method == "magnitude":
        kernel = copy.get_layer("hidden").kernel
        ranked = np.sort(np.abs(before[4]).ravel())
        least = ranked[round(0.9 * ranked.size)]
        kernel.assign(np.where(np.abs(before[4]) >= least, before[4], 0))
    else:
        ks.wanda(copy, images[0], allocation={"hidden": 0.9})
    wanted = copy.evaluate(*images, verbose=0)[0]
    assert found.rows[1].values[1] == pytest.approx(wanted, rel=1e-4)
    assert (tmp_path / "found.png").stat().st_size > 5000
    assert isinstance(found.plot(), Figure)
    console = Console(record=True, width=120)
    found.print(console)
    assert f"{wanted:.4f}" in console.export_text()
    assert found.to_dict()["rows"][1]["size"] == before[4].size


def test_what_is_excluded_has_no_row(trained, images):
    found = ks.sensitivity(trained, images, sparsities=[0.5], exclude="conv", verbose=False)
    assert len(found.rows) == 2
    assert found.metric == "accuracy"


def test_bad_input(trained, images):
    with pytest.raises(ValueError, match="sparsities must be a list"):
        ks.sensitivity(trained, images, sparsities=0.5)
    with pytest.raises(ValueError, match="not compiled with a metric 'accurcy'"):
        ks.sensitivity(trained, images, metric="accurcy", verbose=False)
    with pytest.raises(ValueError, match="mean 'wanda'"):
        ks.sensitivity(trained, images, method="wandaa")
    with pytest.raises(ValueError, match="is not compiled"):
        ks.sensitivity(conv_net(), images)
