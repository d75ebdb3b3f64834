"""Networks of `keras.applications` with half of the channels of every group."""

import keras
import numpy as np
import pytest

from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.shrink import build
from tests.structured.nets import half, outputs

SMALL = ("MobileNetV2", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny")
LARGE = ("ResNet50", "DenseNet121", "InceptionV3", "Xception", "NASNetMobile", "VGG16")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [SMALL[0], *(pytest.param(n, marks=pytest.mark.thorough) for n in SMALL[1:] + LARGE)]
)
def test_every_channel_but_the_outputs_can_be_removed(name):
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(random.normal(0, 0.1, variable.shape))
    groups = channel_groups(model)
    assert [group.reason for group in groups.groups if group.reason] == [
        "it is an output of the model"
    ]
    keep = half(groups)
    smaller, masked = build(groups, keep, False), build(groups, keep, True)
    assert smaller.count_params() < 0.4 * model.count_params()
    side = model.input_shape[1] or 224
    x = random.normal(size=(1, side, side, 3)).astype("float32")
    ours, theirs = outputs(smaller, x)[0], outputs(masked, x)[0]
    assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())
