"""Is what was read a Hamiltonian? Checks that need no knowledge of the code it came from."""

from preprocess.verify.checks import Level as Level
from preprocess.verify.checks import check_bands as check_bands
from preprocess.verify.checks import check_one_basis as check_one_basis
from preprocess.verify.checks import check_orbitals as check_orbitals
from preprocess.verify.checks import check_overlap as check_overlap
from preprocess.verify.checks import verify as verify
from preprocess.verify.electrons import check_electrons as check_electrons
from preprocess.verify.electrons import count_electrons as count_electrons
from preprocess.verify.electrons import eigenvalues as eigenvalues
