"""DeePTB and dftio: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.deeptb.reader import detect as detect
from preprocess.readers.deeptb.reader import frames as frames
from preprocess.readers.deeptb.reader import read as read
from preprocess.readers.deeptb.reader import read_bands as read_bands
