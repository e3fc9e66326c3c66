"""ABACUS: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.abacus.bands import read_bands as read_bands
from preprocess.readers.abacus.reader import detect as detect
from preprocess.readers.abacus.reader import read as read
