"""Models that tfmot pruned compute the same on Keras 3, and train on with their masks.

`write.py` made the files, with tfmot and the Keras that it needs, and the outputs beside them.
"""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks

ARCHIVE = Path(__file__).with_name("files.zip")
MODELS = [
    "sequential.h5",
    "sequential",
    "sequential_stripped.h5",
    "unbuilt.h5",
    "nested.h5",
    "recurrent",
    "attention.h5",
    "operations.h5",
    "operations",
]
MASKS = {
    "sequential": {"conv/kernel": 0.6, "head/kernel": 0.6},
    "unbuilt": {"one/kernel": 0.5, "two/kernel": 0.5},
    "nested": {
        "conv_one/kernel": 0.5,
        "separable/pointwise_kernel": 0.5,
        "top/hidden/kernel": 0.5,
        "head/kernel": 0.5,
    },
    "recurrent": {
        "words/embeddings": 0.5,
        "recurrent/simple_rnn_cell/kernel": 0.5,
        "recurrent/simple_rnn_cell/recurrent_kernel": 0.5,
        "head/kernel": 0.5,
    },
    "attention": {"head/kernel": 0.5},
    "operations": {"conv/kernel": 0.5, "head/kernel": 0.5},
}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfmot")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


def name_of(file):
    return file.removesuffix(".h5").removesuffix("_stripped")


def data_of(files, file):
    """Inputs, and the outputs that tf_keras computed."""
    with np.load(files / f"{name_of(file)}.npz") as stored:
        x = [stored[f"x{i}"] for i in range(len(stored.files) - 1)]
        return x[0] if len(x) == 1 else x, stored["y"]


@pytest.mark.parametrize("file", MODELS)
def test_outputs_are_those_of_tf_keras(file, files):
    model, _ = ks.migrate.from_tfmot(files / file)
    x, expected = data_of(files, file)
    got = ops.convert_to_numpy(model(x, training=False))
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("file", MODELS)
def test_masks_are_those_of_the_wrappers(file, files):
    model, masks = ks.migrate.from_tfmot(files / file)
    variables = {v.path.removeprefix(f"{model.name}/"): v for v in model.variables}
    wanted = MASKS[name_of(file)]
    assert masks.keys() == wanted.keys()
    for path, mask in masks.items():
        assert mask.dtype == bool
        assert abs(1 - mask.mean() - wanted[path]) <= 1 / mask.size + 1e-6
        value = ops.convert_to_numpy(next(v for p, v in variables.items() if p.endswith(path)))
        assert ((value != 0) == mask).all()
        assert not np.signbit(value[~mask]).any(), "zeros as the other tools count them"


@pytest.mark.parametrize("file", MODELS)
def test_the_model_is_plain_and_saves(file, files, tmp_path):
    model, _ = ks.migrate.from_tfmot(files / file)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x, _ = data_of(files, file)
    assert (ops.convert_to_numpy(again(x)) == ops.convert_to_numpy(model(x))).all()


@pytest.mark.parametrize(
    ("file", "include"),
    [
        ("sequential.h5", ()),
        pytest.param("nested.h5", (), marks=pytest.mark.thorough),
        pytest.param("recurrent", ["words"], marks=pytest.mark.thorough),
    ],
)
def test_training_goes_on_with_the_masks_held(file, include, files):
    model, masks = ks.migrate.from_tfmot(files / file)
    x, y = data_of(files, file)
    for layer in model.layers:
        layer.trainable = True
    before = {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}
    model.compile(keras.optimizers.Adam(0.01), "mse")
    hold = ks.StaticMask(mask=masks, include=include)
    history = model.fit(x, np.roll(y, 1, 0), epochs=20, verbose=0, callbacks=[hold])
    assert history.history["loss"][-1] < history.history["loss"][0]
    changed = 0
    for variable in model.trainable_variables:
        value = ops.convert_to_numpy(variable)
        path = next((p for p in masks if variable.path.endswith(p)), None)
        changed += (value != before[variable.path]).any()
        assert path is None or (value[~masks[path]] == 0).all()
    assert changed > len(masks)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("unknown", r"computes tf.image.resize, for.*Resizing.*tf.concat"),
        ("transposed", r"computes tf.linalg.matmul with b, transpose_b.*as a layer"),
        ("computed", r"computes tf.compat.v1.shape, for"),
    ],
)
def test_an_operation_that_is_not_known_is_named_with_the_cure(file, said, files):
    with pytest.raises(ValueError, match=said):
        ks.migrate.from_tfmot(files / f"{file}.h5")


def changed(files, tmp_path, change):
    """A copy of a file with another configuration."""
    path = tmp_path / "changed.h5"
    path.write_bytes((files / "sequential.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def the_head(config):
    return config["config"]["layers"][-1]["config"]["layer"]


def test_a_setting_that_keras_3_does_not_have_is_named(files, tmp_path):
    path = changed(files, tmp_path, lambda config: the_head(config)["config"].update(odd=3))
    with pytest.raises(ValueError, match=r"'head', a Dense.*odd"):
        ks.migrate.from_tfmot(path)


def test_a_class_of_ones_own_is_known_once_it_is_registered(files, tmp_path, monkeypatch):
    path = changed(files, tmp_path, lambda config: the_head(config).update(class_name="Own>Head"))
    with pytest.raises(ValueError, match=r"'head' is a Head, which.*register_keras_serializable"):
        ks.migrate.from_tfmot(path)
    with keras.saving.custom_object_scope({"Head": keras.layers.Dense}):
        model, masks = ks.migrate.from_tfmot(path)
    x, y = data_of(files, "sequential.h5")
    assert np.abs(ops.convert_to_numpy(model(x)) - y).max() < 1e-5
    assert "head/kernel" in masks


def test_weights_that_do_not_fit_are_refused(files, tmp_path):
    path = changed(files, tmp_path, lambda config: the_head(config)["config"].update(units=5))
    with pytest.raises(ValueError, match="'head' has other weights"):
        ks.migrate.from_tfmot(path)


def test_masks_that_belong_to_no_layer_are_refused(files, tmp_path):
    path = tmp_path / "changed.h5"
    path.write_bytes((files / "sequential.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/prune_low_magnitude_head"]
        old = "prune_low_magnitude_head/mask:0"
        group.move(old, "other/mask:0")
        names = [str(name).replace(old, "other/mask:0") for name in group.attrs["weight_names"]]
        group.attrs["weight_names"] = names
    with pytest.raises(ValueError, match=r"2 masks, and 1 of them.*strip_pruning"):
        ks.migrate.from_tfmot(path)


def test_a_mask_of_another_shape_is_refused(files, tmp_path):
    path = tmp_path / "changed.h5"
    path.write_bytes((files / "sequential.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        group = file["model_weights/prune_low_magnitude_head/prune_low_magnitude_head"]
        del group["mask:0"]
        group["mask:0"] = np.ones((3, 3))
    with pytest.raises(ValueError, match=r"'head' has masks of shapes \[\(3, 3\)\]"):
        ks.migrate.from_tfmot(path)


def test_a_subclassed_model_says_what_can_be_brought_over(files, tmp_path):
    path = changed(files, tmp_path, lambda config: config.update(class_name="MyNet", config={}))
    with pytest.raises(ValueError, match=r"holds a MyNet.*functional and sequential"):
        ks.migrate.from_tfmot(path)


def test_other_files_are_told_apart(files, tmp_path):
    whole = (files / "sequential.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for size in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"no HDF5 file, or cut off|is damaged"):
            ks.migrate.from_tfmot(path)
    with h5py.File(path, "w") as file:
        file.create_group("layer")
    with pytest.raises(ValueError, match="weights without their model"):
        ks.migrate.from_tfmot(path)
    with pytest.raises(FileNotFoundError, match="no file"):
        ks.migrate.from_tfmot(tmp_path / "not_there.h5")
    with pytest.raises(ValueError, match=r"no saved_model\.pb"):
        ks.migrate.from_tfmot(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no keras_metadata\.pb"):
        ks.migrate.from_tfmot(tmp_path)


@pytest.mark.parametrize(
    "part", ["keras_metadata.pb", "saved_model.pb", "variables/variables.index"]
)
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_saved_model_that_is_cut_off_is_noticed(part, kept, files, tmp_path):
    folder = tmp_path / "sequential"
    shutil.copytree(files / "sequential", folder)
    contents = (folder / part).read_bytes()
    (folder / part).write_bytes(contents[: int(kept * len(contents))])
    with pytest.raises(ValueError, match="is damaged"):
        ks.migrate.from_tfmot(folder)
