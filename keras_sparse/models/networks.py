"""Reference networks as plain functional `keras.Model`s.

Every builder returns stock Keras layers only, so a saved model loads without this package. The last
layer gives logits: compile with a loss that has `from_logits=True`. Images are channels-last. With
a `seed` each layer draws from its own generator and two models of one seed start equal; without
one Keras's global seed (`keras.utils.set_random_seed`) has its say.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.messages.arguments import one_of
from keras_sparse.messages.keywords import keywords_of, unknown_keyword
from keras_sparse.models.lenet import lenet5_caffe, lenet_300_100
from keras_sparse.models.mobile import mobilenet
from keras_sparse.models.resnet import resnet20

_BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "lenet300": lenet_300_100,
    "lenet5": lenet5_caffe,
    "resnet20": resnet20,
    "mobilenet": mobilenet,
}


def names() -> tuple[str, ...]:
    """Lists the short names that `get` knows.

    Returns:
        The names, `"lenet300"`, `"lenet5"`, `"resnet20"` and `"mobilenet"`.
    """
    return tuple(_BUILDERS)


def get(name: str, **kwargs: Any) -> keras.Model:
    """Builds the model of a short name, as the command line gives it.

    ```python
    from keras_sparse import models

    model = models.get("resnet20", width=8, seed=0)
    ```

    Args:
        name: One of `names()`.
        **kwargs: Arguments of the builder, such as `input_shape`, `num_classes` and `seed`.

    Returns:
        The uncompiled model.

    Raises:
        ValueError: If there is no model of that name, or its builder refuses an argument's value.
        TypeError: If its builder has no such argument.
    """
    builder = _BUILDERS[one_of("name", name, _BUILDERS)]
    known = keywords_of(builder)
    for given in kwargs:
        if given not in known:
            raise unknown_keyword(builder.__name__, given, known)
    return builder(**kwargs)
