"""PySCF: ``detect``, ``read`` and ``read_bands``, see :class:`preprocess.readers.base.Reader`."""

from preprocess.readers.pyscf.reader import detect as detect
from preprocess.readers.pyscf.reader import hamiltonian_from_pyscf as hamiltonian_from_pyscf
from preprocess.readers.pyscf.reader import read as read
from preprocess.readers.pyscf.reader import read_bands as read_bands
from preprocess.readers.pyscf.run import save_run as save_run
