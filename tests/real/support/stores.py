"""The stores of journals. Tests of load and of rollouts run with each of them."""

from typing import Any

STORES = ("memory",)


def journals(store: str, **settings: Any) -> dict[str, Any]:
    """Returns the section `resume` at the top of a configuration."""
    return {"store": store, **settings}
