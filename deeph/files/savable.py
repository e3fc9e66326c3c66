"""What a computation gives, as a figure or a table."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeph.runtime.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Savable(ABC):
    """Numbers that can be drawn and written."""

    def save(self, path: str | Path, **options: Any) -> None:
        """Write a figure (``.pdf``, ``.png``, ``.svg``), with options of :meth:`plot`, or a table (``.csv``, ``.json``, ``.h5``).

        Raises
        ------
        UsageError
            If the suffix is another one, or a table is given options of a figure.
        """
        from deeph.files.figures import SUFFIXES, save_figure

        if Path(path).suffix in SUFFIXES:
            save_figure(self.plot(**options), Path(path), options.get("style"))
        elif options:
            raise UsageError(f"{path}: options of a figure do not go into a table; expected {', '.join(SUFFIXES)}")
        else:
            self.write_table(Path(path))

    @abstractmethod
    def plot(self, **options: Any) -> "Axes":
        """Draw it."""

    @abstractmethod
    def write_table(self, path: Path) -> None:
        """Write it as ``.csv``, ``.json`` or ``.h5``."""
