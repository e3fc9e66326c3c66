"""SIESTA: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.siesta.bands import read_bands as read_bands
from preprocess.readers.siesta.reader import detect as detect
from preprocess.readers.siesta.reader import read as read
