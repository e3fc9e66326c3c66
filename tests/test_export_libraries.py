"""Each export loaded in the library of its program, where that is installed: levels against ours."""

import importlib
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from export_cases import K_POINTS, magnet, te_chain
from scipy.linalg import eigh

from deeph.physics.conventions import TARGETS, target_order
from deeph.physics.harmonics import solid_harmonics
from postprocess.export.formats import export
from postprocess.export.layout import orbital_map
from postprocess.export.loewdin import loewdin
from preprocess.readers import openmx


def library(name):
    """The module, or a visible skip."""
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return te_chain(tmp_path_factory.mktemp("te"))


@pytest.fixture(params=["none", "collinear", "spinor"])
def case(request, mini_graphene, chain):
    return {"none": mini_graphene, "collinear": magnet(mini_graphene), "spinor": chain}[request.param]


def mesh_of(case):
    """k-points of the Loewdin orbitals, few: models are compared, not interpolations."""
    return (6, 1, 1) if case.system.n_atoms == 1 else (3, 3, 1)


def levels_of_sisl(H, case, k):
    if case.basis.spin == "collinear":
        return np.array([H.eigh(k=k, gauge="lattice", spin=spin) for spin in range(2)])
    return H.eigh(k=k, gauge="lattice")


def test_sisl(case):
    library("sisl")
    H = case.to_sisl()
    for k in K_POINTS:
        assert np.abs(levels_of_sisl(H, case, k) - case.eigenvalues(k)).max() < 1e-8
    if case.basis.spin == "spinor":  # not the levels alone: the phases of spin-flip elements as well
        ours = orbital_map(case, "sisl").arranged(case.H_bloch.dense(K_POINTS[1]))
        assert np.abs(H.Hk(K_POINTS[1], gauge="lattice", format="array") - ours).max() < 1e-10


@pytest.mark.parametrize("suffix", ["TSHS", "HSX", "nc"])
def test_files_of_sisl(case, tmp_path, suffix):
    """What TBtrans reads: H from the Fermi level."""
    sisl = library("sisl")
    if suffix == "nc":
        library("netCDF4")
    export(case, "sisl", tmp_path / f"a.{suffix}", zero="fermi")
    H = sisl.get_sile(tmp_path / f"a.{suffix}").read_hamiltonian()
    k = K_POINTS[1]
    assert np.abs(levels_of_sisl(H, case, k) + case.fermi_energy - case.eigenvalues(k)).max() < 1e-8
    assert np.abs(H.geometry.xyz - case.system.positions).max() < 1e-8


def test_orbitals_of_sisl_are_those_of_sisl():
    """Order and signs, by what sisl itself evaluates."""
    sisl = library("sisl")
    points = np.random.default_rng(0).normal(size=(6, 3))
    radius = np.linalg.norm(points, axis=1)
    angles = np.arctan2(points[:, 1], points[:, 0]), points[:, 2] / radius
    grid = np.linspace(0, 10, 200)
    for l in range(4):
        index, signs = target_order(TARGETS["sisl"], (l,))
        ours = signs[:, None] * solid_harmonics(l, points)[l * l :][index] / radius**l
        for m, row in zip(range(-l, l + 1), ours, strict=True):
            orbital = sisl.AtomicOrbital(l + 1, l, m, 1, (grid, np.exp(-grid)))
            assert np.abs(orbital.spher(*angles, cos_phi=True) - row).max() < 1e-10


def levels_of_pythtb(model, k):
    """Of PythTB 1 and 2."""
    return np.ravel(model.solve_ham([list(k)]) if hasattr(model, "solve_ham") else model.solve_one(list(k)))


def test_pythtb(case, tmp_path):
    """The model itself, and what PythTB reads from the files."""
    pythtb = library("pythtb")
    h = case if case.basis.spin != "collinear" else case.to_spinor()
    mesh = mesh_of(case)
    reference = loewdin(h, "pythtb", mesh=mesh)
    export(case, "pythtb", tmp_path / "w90", mesh=mesh)
    reader = pythtb.W90 if hasattr(pythtb, "W90") else pythtb.w90
    read = reader(str(tmp_path / "w90"), "wannier90").model()
    for model in (case.to_pythtb(mesh=mesh), read):
        for k in K_POINTS[1:3]:
            assert np.abs(levels_of_pythtb(model, k) - np.linalg.eigvalsh(reference.bloch(k))).max() < 1e-8
        of_mesh = (np.array((2, 1, 0)) / mesh).tolist()
        exact = np.sort(np.concatenate(np.atleast_2d(case.eigenvalues(of_mesh))))
        assert np.abs(levels_of_pythtb(model, of_mesh) - exact).max() < 1e-8


def test_wannierberri(case):
    """Levels on the mesh, and r in the file: the centres of the orbitals."""
    wannierberri = library("wannierberri")
    mesh = mesh_of(case)
    system = case.to_wannierberri(mesh=mesh)
    h = case if case.basis.spin != "collinear" else case.to_spinor()
    reference = loewdin(h, "wannierberri", mesh=mesh, positions=True)
    assert system.num_wann == h.n_orbitals
    found = wannierberri.evaluate_k(system, k=K_POINTS[1], quantities=["energy"])
    assert np.abs(found - np.linalg.eigvalsh(reference.bloch(K_POINTS[1]))).max() < 1e-8
    home = int(np.flatnonzero(~reference.R.any(axis=1))[0])
    centres = np.diagonal(reference.r[:, home], axis1=1, axis2=2).T.real
    assert np.abs(system.wannier_centers_cart - centres).max() < 1e-10
    curvature = wannierberri.evaluate_k(system, k=K_POINTS[1], quantities=["berry_curvature"])
    assert np.isfinite(curvature).all()
    assert np.abs(curvature.sum(axis=0)).max() < 1e-6 * max(1.0, np.abs(curvature).max())  # over all bands of the model


def test_kwant(case):
    kwant = library("kwant")
    wraparound = importlib.import_module("kwant.wraparound")
    mesh = mesh_of(case)
    h = case if case.basis.spin != "collinear" else case.to_spinor()
    reference = loewdin(h, "kwant", mesh=mesh)
    system = case.to_kwant(mesh=mesh)
    periodic = np.flatnonzero(reference.R.any(axis=0))
    assert isinstance(system, kwant.Builder)
    finished = wraparound.wraparound(system).finalized()
    for k in K_POINTS:
        angles = dict(zip(("k_x", "k_y", "k_z"), 2 * np.pi * k[periodic], strict=False))
        H = finished.hamiltonian_submatrix(params=angles)
        assert np.abs(np.linalg.eigvalsh(H) - np.linalg.eigvalsh(reference.bloch(np.where(np.isin(range(3), periodic), k, 0)))).max() < 1e-8


LOAD = """
import sys
import numpy as np
from petsc4py import PETSc

assert PETSc.ScalarType is np.float64
for name in "HS":
    viewer = PETSc.Viewer().createBinary(f"{sys.argv[1]}/{name}.petsc", "r")
    found = []
    for _ in range(len(np.loadtxt(f"{sys.argv[1]}/R.dat"))):
        matrix = PETSc.Mat().load(viewer)
        found.append(matrix.convert("dense").getDenseArray())
    np.save(f"{sys.argv[1]}/{name}.npy", np.array(found))
"""


def test_petsc(mini_graphene, tmp_path):
    """All R of H and S from one viewer each, by a PETSc with real scalars."""
    python = os.environ.get("DEEPH_SLEPC_PYTHON") or (sys.executable if importlib.util.find_spec("petsc4py") else "")
    if not python:
        pytest.skip("needs petsc4py, here or in the Python that DEEPH_SLEPC_PYTHON names")
    export(mini_graphene, "petsc", tmp_path / "a", scalars="real")
    subprocess.run([python, "-c", LOAD, tmp_path / "a"], check=True)
    R = np.loadtxt(tmp_path / "a" / "R.dat")
    for k in K_POINTS:
        H, S = (np.tensordot(np.exp(2j * np.pi * R @ k), np.load(tmp_path / "a" / f"{name}.npy"), 1) for name in "HS")
        assert np.abs(eigh(H, S, eigvals_only=True) - mini_graphene.eigenvalues(k)).max() < 1e-8


def test_deeptb(mini_graphene, tmp_path):
    """DeePTB's own data set of the folder, and its own H(k) and S(k)."""
    library("dptb")
    torch = importlib.import_module("torch")
    build, data, hr2hk = (importlib.import_module(f"dptb.{name}") for name in ("data.build", "data", "nn.hr2hk"))
    export(mini_graphene, "deeptb", tmp_path / "set" / "C.0")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        wanted = {"get_Hamiltonian": True, "get_overlap": True, "basis": {"C": "1s1p"}, "r_max": 12.0}
        dataset = build.build_dataset(root=str(tmp_path / "set"), type="DefaultDataset", prefix="C", **wanted)
        dataset.type_mapper.get_orbital_maps()
        keys = data.AtomicDataDict
        frame = data.AtomicData.to_AtomicDataDict(dataset[0])
        frame[keys.KPOINT_KEY] = torch.nested.as_nested_tensor([torch.tensor(K_POINTS)])
        overlap = {"edge_field": keys.EDGE_OVERLAP_KEY, "node_field": keys.NODE_OVERLAP_KEY, "out_field": keys.OVERLAP_KEY, "overlap": True}
        H, S = (
            hr2hk.HR2HK(idp=dataset.type_mapper, dtype=torch.float64, **fields)(dict(frame))[key].numpy()
            for fields, key in (({}, keys.HAMILTONIAN_KEY), (overlap, keys.OVERLAP_KEY))
        )
    finally:
        torch.set_default_dtype(before)
    for k, h_k, s_k in zip(K_POINTS, H, S, strict=True):
        assert np.abs(eigh(h_k, s_k, eigvals_only=True) - mini_graphene.eigenvalues(k)).max() < 1e-8


@pytest.mark.parametrize("name", ["si2", "gaas", "mos2_soc", "fe_bcc_spin", "fe_nc_soc"])
def test_real_runs_in_sisl(shared_data, tmp_path, name):
    library("sisl")
    case = openmx.read(shared_data / "openmx" / name)
    H = case.to_sisl()
    for k in K_POINTS[1:3]:
        assert np.abs(levels_of_sisl(H, case, k) - case.eigenvalues(k)).max() < 1e-8
