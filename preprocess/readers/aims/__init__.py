"""FHI-aims: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.aims.output import read_bands as read_bands
from preprocess.readers.aims.reader import detect as detect
from preprocess.readers.aims.reader import read as read
