"""Every test runs in virtual time; where asyncio has eager tasks, with them too."""

from tests.jobs.conftest import pytest_asyncio_loop_factories
from tests.unit.conftest import untraced

__all__ = ["pytest_asyncio_loop_factories", "untraced"]
