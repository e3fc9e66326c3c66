"""The dense eigenproblem on a graphics processor, by torch (cuSOLVER)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deeph.physics.system import FloatArray
from deeph.runtime.errors import DataError, UsageError
from postprocess.eigen.overlap_spectrum import not_positive

Array = npt.NDArray[Any]


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or does not see.

    Raises
    ------
    UsageError
        If it is not there.
    """
    import torch

    try:
        torch.zeros(1, dtype=torch.complex128, device=device).item()  # some devices have no double precision
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {device}: torch cannot use it here ({reason}); leave it out to compute with LAPACK") from error


def solve_states_on(device: str, h: Array, s: Array, k: FloatArray, *, vectors: bool = True) -> tuple[FloatArray, Array | None]:
    """Eigenvalues and states of H(k) C = S(k) C E in double precision, by S = L L^dagger and the eigenvectors of L^-1 H L^-dagger.

    Parameters
    ----------
    device : str
        Of torch, such as "cuda".
    h, s, k
        As for :func:`deeph.physics.eigenvalues.solve_at_k`.
    vectors : bool
        Whether the states are wanted.

    Returns
    -------
    energies : (n_bands,) array
        eV, ascending.
    vectors : (n_orbitals, n_bands) array or None
        C in columns, C^dagger S C = 1.

    Raises
    ------
    DataError
        If S(k) is not positive definite, or the memory of the device does not suffice.
    """
    import torch

    if not h.imag.any() and not s.imag.any():
        h, s = h.real, s.real
    at = f"k = ({', '.join(f'{x:.6g}' for x in k)})"
    try:
        H, S = (torch.from_numpy(np.ascontiguousarray(m)).to(device) for m in (h, s))
        L, failed = torch.linalg.cholesky_ex(S)
        if int(failed):
            raise DataError(f"{at}: {not_positive(float(torch.linalg.eigvalsh(S)[0]))}")
        A = torch.linalg.solve_triangular(L, H, upper=False)
        A = torch.linalg.solve_triangular(L, A.mH, upper=False)
        if not vectors:
            return torch.linalg.eigvalsh(A).cpu().numpy(), None
        energies, Y = torch.linalg.eigh(A)
        C = torch.linalg.solve_triangular(L.mH, Y, upper=True)
    except torch.OutOfMemoryError as error:
        raise DataError(f"{len(h)} orbitals do not fit in the memory of {device}; leave the device out, or ask for fewer bands") from error
    except RuntimeError as error:
        raise DataError(f"torch on {device} failed at {at} ({str(error).splitlines()[0]}); leave the device out to use LAPACK") from error
    return energies.cpu().numpy(), C.cpu().numpy()
