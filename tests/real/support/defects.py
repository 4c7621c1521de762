"""Which claims does Weir not keep yet? Each stays written as it should be, with what happens instead."""

from typing import Any

import pytest


def defect(instead: str) -> pytest.MarkDecorator:
    """The whole test fails today."""
    return pytest.mark.xfail(strict=True, reason=instead)


def broken(*values: Any, instead: str) -> Any:
    """These parameters fail today."""
    return pytest.param(*values, marks=defect(instead))


def apart_from(defects: dict[Any, str], values: Any) -> list[Any]:
    """`values` as parameters, those in `defects` marked with what happens instead."""
    return [broken(value, instead=defects[value]) if value in defects else value for value in values]
