"""The reference model. It is part of the package, for ``python -m leasedkeyq check``."""

from typing import TYPE_CHECKING

from tests.subject import module

if TYPE_CHECKING:
    from leasedkeyq._model import POLICIES, Lease, Model, Waiter
else:
    globals().update(vars(module("_model")))

__all__ = ["POLICIES", "Lease", "Model", "Waiter"]
