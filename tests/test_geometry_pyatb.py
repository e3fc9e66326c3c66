"""Curvatures of DFT in its own non-orthogonal basis, against PYATB (doi:10.1016/j.cpc.2023.108844) on the same H, S and r."""

import numpy as np
from pyatb_case import solver_of

from postprocess.geometry.geometry import Geometry
from preprocess.readers import openmx

POINTS = np.array([[1 / 3, 1 / 3, 0], [0.1, 0.23, 0], [0.41, -0.13, 0], [0.05, 0.02, 0]])


def test_curvature_of_dft_as_in_pyatb(shared_data, tmp_path, monkeypatch):
    """MoS2 with spin-orbit coupling and OpenMX's r: all filled bands as a group, as curl and as Kubo sum."""
    monkeypatch.chdir(tmp_path)  # it writes a log
    data = openmx.read(shared_data / "openmx" / "mos2_soc")
    theirs = solver_of(data, tmp_path).tb_solver
    g, n = Geometry(data, POINTS), round(data.n_electrons)
    for number, method in enumerate(("curl", "kubo")):
        ours = g.curvature_matrix(range(n), method).trace(axis1=-2, axis2=-1).real
        assert np.abs(ours[:, 2]).max() > 17
        assert np.abs(theirs.get_total_berry_curvature_occupiedNumber(POINTS, n, number) - ours).max() < 1e-7
