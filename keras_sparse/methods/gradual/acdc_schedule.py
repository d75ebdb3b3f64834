"""The phases of AC/DC, one letter an epoch: D decompressed (dense), C compressed (sparse)."""

from __future__ import annotations

from collections.abc import Sequence

from keras_sparse.messages.arguments import integer, wrong


def acdc_schedule(
    epochs: int = 100,
    warmup: int = 10,
    compressed: int = 5,
    decompressed: int = 5,
    final_decompressed: int = 10,
    final_compressed: int = 15,
) -> str:
    """The phases of an AC/DC run.

    Dense warm-up; then compressed and decompressed phases in turn, beginning and ending
    compressed; then a last decompressed and a last compressed phase.

    ```python
    acdc_schedule(9, 2, 1, 1, 2, 2)  # "DDCDCDDCC"
    ```

    Args:
        epochs: Epochs in all.
        warmup: Dense epochs at the start.
        compressed: Length of a compressed phase.
        decompressed: Length of a decompressed phase.
        final_decompressed: Length of the last decompressed phase.
        final_compressed: Length of the last compressed phase.

    Returns:
        A string of `epochs` letters.

    Raises:
        ValueError: If the lengths do not add up to `epochs`.

    Source: Peste (2023), 3.4.1 (ImageNet).
    """
    lengths = {
        "warmup": warmup,
        "compressed": compressed,
        "decompressed": decompressed,
        "final_decompressed": final_decompressed,
        "final_compressed": final_compressed,
    }
    for name, length in {"epochs": epochs, **lengths}.items():
        integer(name, length)
    alternating = epochs - warmup - final_decompressed - final_compressed
    cycles, rest = divmod(alternating - compressed, compressed + decompressed)
    if cycles < 0 or rest:
        valid = epochs - rest if cycles >= 0 else sum(lengths.values()) - decompressed
        raise ValueError(
            f"These phases do not add up to epochs={epochs}: after the warm-up and before the "
            f"last two phases {alternating} epochs are left, and compressed={compressed} epochs "
            f"plus whole cycles of {compressed + decompressed} are needed. epochs={valid} or "
            f"epochs={valid + compressed + decompressed} would fit."
        )
    cycle = "C" * compressed + "D" * decompressed
    return (
        "D" * warmup
        + cycle * cycles
        + "C" * compressed
        + "D" * final_decompressed
        + "C" * final_compressed
    )


def default_schedule(epochs: int) -> str:
    """The source's phases, scaled to a number of epochs.

    Lengths are 10, 5, 5, 10 and 15 per 100 epochs, at least 2 each. What does not divide into
    cycles lengthens the last compressed phase. Fewer than 8 epochs have one dense and one sparse
    phase.

    Raises:
        ValueError: If there are fewer than two epochs.
    """
    if epochs < 2:
        raise ValueError(
            "AC/DC needs a dense and a sparse phase, so at least 2 epochs. "
            f"Received: epochs={epochs}"
        )
    if epochs < 8:
        dense = (epochs + 1) // 2
        return "D" * dense + "C" * (epochs - dense)
    ends = [max(2, round(share * epochs)) for share in (0.10, 0.10, 0.15)]
    phase = max(2, round(0.05 * epochs))
    spare = (epochs - sum(ends) - phase) % (2 * phase)
    return acdc_schedule(epochs, ends[0], phase, phase, ends[1], ends[2] + spare)


def read_schedule(schedule: str | Sequence[str], name: str = "schedule") -> str:
    """Checks phases given by a user, as a string or a list of letters.

    Raises:
        ValueError: If they hold anything but D and C, or do not end compressed.
    """
    given = isinstance(schedule, (str, Sequence)) and all(isinstance(x, str) for x in schedule)
    phases = "".join(schedule).upper() if given else ""
    if not phases or set(phases) - {"C", "D"}:
        allowed = "one letter an epoch, 'D' (decompressed) or 'C' (compressed)"
        raise wrong(name, schedule, allowed)
    if not phases.endswith("C"):
        raise ValueError(
            f"{name} must end with 'C' (compressed), or the model would end up dense. "
            f"Received: {name}={phases!r}"
        )
    return phases


def switches(phases: str) -> list[int]:
    """The epochs at which a phase begins that differs from the one before (dense at first)."""
    before = "D" + phases
    return [epoch for epoch, phase in enumerate(phases) if phase != before[epoch]]
