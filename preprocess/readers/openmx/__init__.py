"""OpenMX: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.openmx.band import read_bands as read_bands
from preprocess.readers.openmx.reader import detect as detect
from preprocess.readers.openmx.reader import read as read
