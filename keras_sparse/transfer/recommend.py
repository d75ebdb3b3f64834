"""Which family of pruning methods to choose for a sparse model that is to be transferred."""

from __future__ import annotations

import dataclasses

from rich.console import Console

from keras_sparse.messages.arguments import boolean, number, one_of, optional, wrong

TASKS = ("general", "specialized")
BUDGETS = ("head", "full")
REGULARIZATION = "regularization-based"
PROGRESSIVE = "progressive sparsification"


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to prune the upstream model with. Made by `recommend`.

    Args:
        transfer: `"linear"` or `"full"`.
        family: The family of methods.
        methods: Names of this package, the first choice first.
        sparsity: The highest sparsity at which the source found the family to hold its own.
        reasons: Why, a sentence each.
        cautions: What speaks against what was asked for.
    """

    transfer: str
    family: str
    methods: tuple[str, ...]
    sparsity: float
    reasons: tuple[str, ...]
    cautions: tuple[str, ...] = ()

    def print(self, console: Console | None = None) -> None:
        """Tells it.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        console = console or Console()
        methods = ", ".join(self.methods)
        console.print(f"{self.transfer} transfer: {self.family} ({methods})", highlight=False)
        for line in (*self.reasons, *(f"Caution: {caution}" for caution in self.cautions)):
            console.print(f"- {line}", highlight=False)


def recommend(
    transfer: str | None = None,
    task: str = "general",
    sparsity: float = 0.9,
    *,
    budget: str | None = None,
    small_backbone: bool = False,
) -> Recommendation:
    """Names the family of pruning methods that transfers best, and why.

    It is what was found with ResNet-50 pruned on ImageNet and twelve tasks. On other networks and
    tasks the order may be another: `keras-sparse compare-transfer` measures it.

    ```python
    ks.transfer.recommend(transfer="linear", task="specialized", sparsity=0.9).print()
    ```

    Args:
        transfer: `"linear"`, `"full"`, or `None` to choose by the budget.
        task: `"general"` (classes like those of the upstream task) or `"specialized"`
            (fine-grained, such as kinds of aircraft or cars).
        sparsity: The upstream model's, in [0, 1).
        budget: What the training of a task can afford: the `"head"` alone, as in learning on a
            device, or the `"full"` model. Needed where `transfer` is `None`.
        small_backbone: Whether the dense backbone is small already, such as a MobileNet.

    Returns:
        A `Recommendation`.

    Raises:
        ValueError: If an argument is none of these, or transfer and budget contradict each other.

    Source: Peste (2023), Figure 4.1 as its caption, 4.1, 4.4 and 4.7 tell it.
    """
    optional(one_of, "transfer", transfer, ("linear", "full"))
    optional(one_of, "budget", budget, BUDGETS)
    one_of("task", task, TASKS)
    number("sparsity", sparsity, "[0, 1)")
    boolean("small_backbone", small_backbone)
    if transfer is None and budget is None:
        raise wrong("transfer", transfer, "'linear' or 'full', or give budget='head' or 'full'")
    if transfer == "full" and budget == "head":
        raise ValueError(
            "Full transfer trains the whole model. Received: transfer='full', budget='head'. Give "
            "transfer='linear', or budget='full'."
        )
    chosen = transfer or ("linear" if budget == "head" else "full")
    reasons = []
    if transfer is None:
        reasons.append(
            "Only the head can be trained, so the features stay as they are: linear."
            if chosen == "linear"
            else "The whole model can be trained, which is more accurate in general: full."
        )
    found = _linear(task, sparsity) if chosen == "linear" else _full(sparsity)
    cautions = found.cautions
    if small_backbone:
        limit = min(found.sparsity, 0.75)
        cautions += (
            "A small dense backbone has little to spare: stay at 75 % zeros or below. Which family "
            "is ahead may change places: on MobileNet AC/DC was the better one of full transfer.",
        )
        return dataclasses.replace(
            found, sparsity=limit, reasons=(*reasons, *found.reasons), cautions=cautions
        )
    return dataclasses.replace(found, reasons=(*reasons, *found.reasons))


def _linear(task: str, sparsity: float) -> Recommendation:
    reasons = [
        "Methods that train sparse on the way (AC/DC, RigL trained longer) have features that "
        "serve other tasks as well as the dense model's or better, at 80 to 95 % zeros.",
        "Train longer upstream if you can: three times as long lowered the error further.",
    ]
    if task == "specialized":
        reasons.append(
            "The gain is largest on specialized tasks: it grows with how much full fine-tuning is "
            "ahead of linear, and that of progressive sparsification does not."
        )
    cautions = ["LTH-T is not made for it: its error rises several times."]
    if sparsity > 0.95:
        cautions.append("Above 95 % zeros features get worse: at 98 % the error rose by 14 %.")
    methods = ("ACDC", "RigL", "STR")
    return Recommendation("linear", REGULARIZATION, methods, 0.95, tuple(reasons), tuple(cautions))


def _full(sparsity: float) -> Recommendation:
    reasons = (
        "Pruning a trained dense model step by step (WoodFisher, then GMP) transfers best: at 80 "
        "to 90 % zeros it is on a par with the dense model or nearly so.",
        "AC/DC trained five times as long was on a par with the dense model at 90 %, too.",
    )
    cautions = ["The error grows with sparsity whatever the method."]
    if sparsity > 0.9:
        cautions.append(
            "Above 90 % zeros the error rises by more than a tenth: choose 80 or 90 % if you can."
        )
    if sparsity > 0.8:
        cautions.append("LTH-T holds up to 80 % zeros only.")
    return Recommendation(
        "full", PROGRESSIVE, ("woodfisher", "GMP", "ACDC"), 0.9, reasons, tuple(cautions)
    )
