"""What a docstring says in one line, and which source it names."""

from __future__ import annotations

import re

_SOURCE = re.compile(r"(?:[A-Z][\w'-]*(?:, | and | et al\. | ))+\(\d{4}[a-z]?\)")


def line_and_source(docstring: str | None) -> tuple[str, str]:
    """The first line of a docstring, and the first work of its `Source:` section.

    ```python
    line_and_source(ks.RigL.__doc__)
    # ("Rigging the lottery: small weights move to where ...", "Evci et al. (2020)")
    ```
    """
    text = docstring or ""
    found = _SOURCE.search(" ".join(text.partition("Source:")[2].split()))
    return text.partition("\n")[0], found[0] if found else ""
