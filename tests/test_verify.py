"""Each check of the verification passes on real data and fails on data broken in the way it is made for."""

import re
from dataclasses import replace

import numpy as np
import pytest
from openmx_files import unpack_run
from threadpoolctl import ThreadpoolController, threadpool_limits

from deeph.physics.basis import Basis
from deeph.physics.hamiltonian import Hamiltonian
from deeph.physics.pairs import is_onsite
from deeph.runtime import threads
from deeph.runtime.errors import DataError
from preprocess import verify
from preprocess.inspect.checks import check_electron_count, check_normalization
from preprocess.readers import openmx
from preprocess.readers.openmx.band import read_bands


@pytest.fixture(scope="module", params=["mini_graphene", "mini_te_chain_soc"])
def run(request, tmp_path_factory):
    return unpack_run(request.param, tmp_path_factory.mktemp("verify"))


@pytest.fixture
def data(run) -> Hamiltonian:
    return openmx.read(run)


def with_entries(data: Hamiltonian, name: str, change) -> Hamiltonian:
    blocks = getattr(data, name)
    return replace(data, **{name: replace(blocks, entries=change(blocks.entries.copy()))})


def set_last(value):
    def change(entries):
        entries[0, -1] = value
        return entries

    return change


def test_a_real_run_passes(run, data):
    assert verify.verify(data, "off") == "not verified"
    found = verify.verify(data, "bands", read_bands(run, data.system))
    assert "electrons to" in found
    assert "bands of" in found


@pytest.mark.parametrize("name", ["S", "H", "r"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_refused_even_without_verification(data, name, value):
    with pytest.raises(DataError, match=f"{name} holds NaN or infinity in block R ="):
        verify.verify(with_entries(data, name, set_last(value)), "off")


def test_asymmetry_and_missing_partners(data):
    with pytest.raises(DataError, match="Hermitian conjugate"):
        verify.verify(with_entries(data, "H", set_last(3.0)), "basic")
    keep = np.delete(np.arange(data.S.n_pairs), np.argmax(~is_onsite(data.S.pairs)))
    with pytest.raises(DataError, match=r"1 of .* blocks lack the partner"):
        verify.verify(replace(data, H=data.H.selected(keep), S=data.S.selected(keep), r=None, extra={}), "basic")


def test_overlap_that_is_not_positive(data):
    onsite = np.flatnonzero(is_onsite(data.S.pairs))

    def weaken(entries):
        for n in onsite:
            entries[0, data.S.offsets[n] : data.S.offsets[n + 1]] *= 0.3
        return entries

    with pytest.raises(DataError, match=r"eigenvalue .* at Gamma"):
        verify.verify(with_entries(data, "S", weaken), "basic")


@pytest.mark.parametrize("shift", [5.0, -5.0])
def test_a_wrong_fermi_level_is_noticed(data, shift):
    with pytest.raises(DataError, match="below the Fermi level hold"):
        verify.verify(replace(data, fermi_energy=data.fermi_energy + shift), "basic")


def test_a_wrong_unit_or_missing_spin_is_noticed(data):
    with pytest.raises(DataError, match="electrons"):
        verify.verify(with_entries(data, "H", lambda entries: entries / 2), "basic")
    with pytest.raises(DataError, match="electrons"):
        verify.verify(replace(data, n_electrons=data.n_electrons / 2), "basic")


def test_without_the_mesh_of_the_run_the_count_is_approximate_and_refuses_nothing(data):
    unknown = replace(data, source={})
    assert "k points, not those of the run" in verify.verify(unknown, "basic")
    found = verify.verify(replace(unknown, n_electrons=2 * data.n_electrons), "basic")
    assert re.search(r"WARNING: the states below the Fermi level hold .* electrons, but the run has", found)
    assert check_electron_count(unknown).verdict == "ok"
    assert check_electron_count(replace(unknown, n_electrons=2 * data.n_electrons)).verdict == "warning"
    assert check_electron_count(replace(data, n_electrons=2 * data.n_electrons)).verdict == "bad"


def test_a_metal_is_counted_on_a_dense_mesh_where_its_own_is_unknown(shared_data):
    data = openmx.read(shared_data / "openmx" / "fe_bcc_spin")
    found = verify.count_electrons(replace(data, source={}))
    assert found is not None
    assert found.why_rough
    assert abs(found.electrons - 14) < 0.15  # 2 x 2 x 2 points give an error of electrons


def test_a_mesh_too_large_for_the_count_refuses_nothing(data):
    large = replace(data, source={**data.source, "k_grid": [1000, 1000, 1000]})
    assert "not those of the run" in verify.verify(large, "basic")
    assert "WARNING" in verify.verify(replace(large, n_electrons=2 * data.n_electrons), "basic")


def test_an_infinite_fermi_level_is_not_known(data):
    for level in (np.inf, -np.inf, np.nan):
        unknown = replace(data, fermi_energy=level)
        assert unknown.fermi_energy is None
        assert "electrons" not in verify.verify(unknown, "basic")


def test_orbitals_in_another_order_are_noticed(data):
    assert "orbitals fit the bonds to" in verify.verify(data, "basic")
    z = int(data.system.numbers[0])
    n = int(data.basis.n_orbitals(data.system.numbers)[0])
    order = np.array([0, 2, 1, *range(3, n)])  # two p orbitals exchanged, consistently in H and S: bands are the same
    exchanged = replace(
        data,
        S=data.S.reordered(data.system.numbers, {z: order}),
        H=data.H.reordered(data.system.numbers, {z: order}, data.basis.spin_factor),
        r=None,
        extra={},
    )
    if data.system.n_atoms > 1:
        with pytest.raises(DataError, match="couples different m along the bonds"):
            verify.verify(exchanged, "basic")
    else:  # along the chain (x) nothing tells y from z
        verify.verify(exchanged, "basic")


def test_collinear_spin_counts_each_channel(shared_data):
    data = openmx.read(shared_data / "openmx" / "fe_bcc_spin")
    assert "14 electrons" in verify.verify(data, "basic")
    swapped = with_entries(data, "H", lambda entries: entries[[0, 0]])
    with pytest.raises(DataError, match="electrons"):
        verify.verify(swapped, "basic")


def test_bands_that_differ_are_noticed(run, data):
    reference = read_bands(run, data.system)
    shifted = reference._replace(energies=reference.energies + 2e-6)
    with pytest.raises(DataError, match=r"differ from .*Band by up to 2\.0e-06 eV"):
        verify.verify(data, "bands", shifted)
    assert "bands of" in verify.verify(data, "bands", reference._replace(energies=reference.energies[..., :-1]))  # only the lowest
    with pytest.raises(DataError, match="differ from"):
        verify.verify(data, "bands", reference._replace(energies=reference.energies[..., 1:]))
    with pytest.raises(DataError, match="is it of this run"):
        verify.verify(data, "bands", reference._replace(energies=np.repeat(reference.energies, 2, axis=-1)))
    for broken in ("k", "energies"):
        values = getattr(reference, broken).copy()
        values.flat[-1] = np.inf
        with pytest.raises(DataError, match="Band holds NaN or infinity"):
            verify.verify(data, "bands", reference._replace(**{broken: values}))
    assert "not compared with bands (none were printed)" in verify.verify(data, "bands", None)
    conjugate = with_entries(data, "H", lambda entries: entries[:, ::-1])
    with pytest.raises(DataError, match=r"Hermitian|differ|electrons"):
        verify.verify(conjugate, "bands", reference)


def test_overlap_only_has_no_electrons_to_count(data):
    basis = Basis(data.basis.shells)
    overlap = Hamiltonian(data.system, basis, data.S)
    assert verify.verify(overlap, "basic").startswith("S >= ")
    assert "not compared with bands (no H)" in verify.verify(overlap, "bands", None)


def test_two_bases_of_an_element_are_noticed(data):
    """Shells and radii are the same, the radial functions are not: the overlap of two shells of one atom tells."""
    if data.system.n_atoms == 1:
        pytest.skip("one atom has one basis")
    n = int(np.flatnonzero(is_onsite(data.S.pairs))[-1])

    def change(entries):
        block = entries[0, data.S.offsets[n] : data.S.offsets[n + 1]]
        block[1] += 0.01  # with the next orbital
        block[round(len(block) ** 0.5)] += 0.01
        return entries

    with pytest.raises(DataError, match=r"C has two bases: .* atoms 1 and 2 differ by 1\.0e-02"):
        verify.verify(with_entries(data, "S", change), "basic")
    assert check_normalization(with_entries(data, "S", change)).verdict == "bad"


def test_a_run_that_did_not_converge_is_no_wrong_count(data):
    scf = {"scf": {"converged": False}}
    found = verify.verify(replace(data, n_electrons=data.n_electrons + 0.01, source={**data.source, **scf}), "basic")
    assert "of a run that did not converge" in found


def test_small_matrices_take_one_thread(data, monkeypatch):
    """Threads of BLAS wait for each other by spinning; what the user sets is kept."""
    for name in (*threads.VARIABLES, *threads.SIZES, threads.SHARED):
        monkeypatch.delenv(name, raising=False)
    during = []

    def watched(matrix, **_options):
        libraries = [library for library in ThreadpoolController().info() if library["user_api"] == "blas"]
        during.append({library["num_threads"] for library in libraries if "numpy" in library["filepath"] or "scipy" in library["filepath"]})
        return np.linalg.eigvalsh(matrix)[:1]

    monkeypatch.setattr("preprocess.verify.checks.eigvalsh", watched)
    with threadpool_limits(2, user_api="blas"):
        if not any(library["num_threads"] == 2 for library in ThreadpoolController().info()):
            pytest.skip("this BLAS has no second thread")
        verify.verify(data, "basic")
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        verify.verify(data, "basic")
    assert during == [{1}, {2}]
