"""The warning that says a run did less than it was asked to."""


class SparsityWarning(UserWarning):
    """Less was pruned than asked, a layer came out empty, or nothing happened at all."""
