"""What is given to the pipelines, not made by them: sources, choices, tables that people write."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, TypeVar

from kedro.io import AbstractDataset, DatasetError

T = TypeVar("T")


class GivenDataset(AbstractDataset[None, T]):
    """A data set that is read, never written.

    Attributes:
        given_by: where it comes from instead, for the answer to who would save it.
    """

    given_by: ClassVar[str] = "it is an input"

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        """Args: metadata: kept for kedro-viz."""
        self.metadata = metadata

    def save(self, data: None) -> NoReturn:
        """Refuse.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{type(self).__name__} cannot be saved: {self.given_by}")

    def _exists(self) -> bool:
        return True
