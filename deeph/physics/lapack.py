"""The dense eigensolver of LAPACK, called so that other threads go on.

``scipy.linalg.eigh`` holds the lock of Python's interpreter while LAPACK works, which is minutes for some thousand orbitals: no thread can
say that anybody is still at work. The same routine of the same library, through the table of functions that scipy offers to Cython
(:mod:`scipy.linalg.cython_lapack`), gives the same digits.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class NotConvergedError(Exception):
    """LAPACK failed: ``info`` beyond the size of the matrix tells that S is not positive definite."""


def generalized_eigh(h: Array, s: Array, *, vectors: bool) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of h C = s C E, by divide and conquer (``zhegvd``, ``dsygvd``).

    Parameters
    ----------
    h, s : (n, n) arrays
        Hermitian, real or complex. The upper triangles count.
    vectors : bool
        Whether eigenvectors are wanted.

    Returns
    -------
    energies : (n,) array
        Ascending.
    C : (n, n) array
        Columns with C^dagger s C = 1; (n, 0) without ``vectors``.

    Raises
    ------
    NotConvergedError
        If s is not positive definite, the iteration does not converge, or h or s hold NaN or infinite numbers.
    """
    n, is_complex = len(h), np.iscomplexobj(h) or np.iscomplexobj(s)
    a, b = (np.array(M, np.complex128 if is_complex else np.float64, order="F") for M in (h, s))
    energies = np.empty(n)
    sizes = _workspace(n, is_complex=is_complex, vectors=vectors)
    space = np.empty(sizes[0], a.dtype), np.empty(sizes[1]), np.empty(sizes[2], np.int32)
    info = _call(n, a, b, energies, space, vectors=vectors)
    if info or not np.isfinite(energies).all():
        raise NotConvergedError(f"LAPACK returned {info} for a matrix of size {n}")
    return energies, a if vectors else a[:, :0]


@cache
def _workspace(n: int, *, is_complex: bool, vectors: bool) -> tuple[int, int, int]:
    """Numbers of its own type, of reals and of integers that LAPACK asks for."""
    kind = np.complex128 if is_complex else np.float64
    own, real, whole = np.zeros(1, kind), np.zeros(1), np.zeros(1, np.int32)
    none = np.zeros(1, kind)
    _call(n, none, none, real, (own, real, whole), vectors=vectors, asked=True)
    return int(own[0].real), int(real[0]), int(whole[0])


def _call(n: int, a: Array, b: Array, energies: Array, space: tuple[Array, Array, Array], *, vectors: bool, asked: bool = False) -> int:
    """One call; ``asked`` for the sizes of the workspace only."""

    def size(array: Array) -> Any:
        return ctypes.byref(ctypes.c_int(-1 if asked else len(array)))

    def at(array: Array) -> Any:
        return ctypes.c_void_p(array.ctypes.data)

    work, real, whole = space
    info, rows = ctypes.c_int(0), ctypes.byref(ctypes.c_int(max(n, 1)))
    job = b"V" if vectors else b"N"
    head = (ctypes.byref(ctypes.c_int(1)), job, b"U", rows, at(a), rows, at(b), rows, at(energies), at(work), size(work))
    is_complex = np.iscomplexobj(a)
    middle = (at(real), size(real)) if is_complex else ()
    _routine("zhegvd" if is_complex else "dsygvd")(*head, *middle, at(whole), size(whole), ctypes.byref(info))
    return info.value


@cache
def _routine(name: str) -> Any:
    """A function of LAPACK, called without the interpreter's lock."""
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    n_arguments = {"zhegvd": 16, "dsygvd": 14}[name]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(pointer_of(capsule, name_of(capsule)))
