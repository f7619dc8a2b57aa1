"""The fixtures of the core's tests serve here, too."""

from tests.core.conftest import bare, stubs

__all__ = ["bare", "stubs"]
