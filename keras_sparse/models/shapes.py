"""Checks of the shapes that reference networks are built for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_sparse.messages.arguments import integer, is_number, wrong


def are_blocks(blocks: Any) -> bool:
    """Whether these are pairs of at least one filter and a stride of 1 or 2."""
    if not isinstance(blocks, Sequence) or isinstance(blocks, str) or not blocks:
        return False
    for block in blocks:
        if not isinstance(block, Sequence) or isinstance(block, str) or len(block) != 2:
            return False
        if not is_number(block[0]) or block[0] < 1 or block[1] not in (1, 2):
            return False
    return True


def check_shape(
    model: str,
    input_shape: Sequence[int],
    num_classes: int,
    rank: int | None = 3,
    smallest: int = 1,
) -> None:
    """Checks what all builders take.

    Args:
        model: The builder's name, for errors.
        input_shape: The shape of an example.
        num_classes: The number of logits.
        rank: How many sizes a shape has; `None` for any number.
        smallest: The least height and width of images.

    Raises:
        ValueError: If the shape does not suit the model, or a number is not positive.
    """
    allowed = "the positive sizes of an example, such as (28, 28, 1)"
    if not isinstance(input_shape, (tuple, list)) or not input_shape:
        raise wrong("input_shape", input_shape, allowed)
    for size in input_shape:
        try:
            integer("size", size)
        except ValueError as error:
            raise wrong("input_shape", tuple(input_shape), allowed) from error
    if rank is not None and len(input_shape) != rank:
        cure = f"{model} takes images: load the data with flatten=False."
        raise wrong("input_shape", tuple(input_shape), "(height, width, channels)", cure)
    if min(input_shape[:2]) < smallest:
        cure = f"Enlarge the images for {model} or take lenet_300_100."
        allowed = f"of at least {smallest}x{smallest} pixels"
        raise wrong("input_shape", tuple(input_shape), allowed, cure)
    integer("num_classes", num_classes)
