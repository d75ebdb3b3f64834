import gc
import os
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two logical devices must be configured before the first operation of the process.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    )


_DATA_BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "tfds"


def pytest_configure(config):
    """On JAX most of a small training is its compilation: optimize little, compile once."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True)
def _clean_slate():
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        yield
    keras.utils.clear_session()
    # What is left stays: looking through it again after each test would take seconds.
    gc.freeze()


@pytest.fixture(scope="session")
def mirrored():
    """One strategy for the whole process: TensorFlow numbers each one's collectives anew."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def images():
    """96 noisy images of 4 classes, 8x8x1, learnable in a few epochs."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 8, 8, 1))
    labels = generator.integers(0, 4, 96)
    noise = generator.normal(size=(96, 8, 8, 1))
    return (centres[labels] + 0.3 * noise).astype("float32"), labels.astype("int32")


@pytest.fixture
def prepared(monkeypatch):
    """Points TFDS_DATA_DIR at prepared data, or skips."""
    from keras_sparse import data

    directory = os.environ.get("TFDS_DATA_DIR") or str(_DATA_BESIDE_CHECKOUT)
    monkeypatch.setenv("TFDS_DATA_DIR", directory)
    if not (data.available("mnist") and data.available("cifar10")):
        pytest.skip(f"mnist and cifar10 are not prepared in {directory}; set TFDS_DATA_DIR")
    return Path(directory)
