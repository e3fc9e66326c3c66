"""The picture of the flow of Wannier centres."""

import numpy as np

from postprocess.output.topology_plot import plot_flows
from postprocess.topology.wilson import WannierFlow


def flow():
    t = np.linspace(0, 0.5, 4)
    centres = np.array([[0.0, 0.5], [0.1, 0.6], [0.2, 0.7], [0.3, 0.8]])
    return WannierFlow(t, centres, np.zeros(3), np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), 12, 0.9, 0.5, "diagonal")


def test_every_centre_and_every_gap_is_seen_at_its_place():
    """A centre at 0 is drawn at 1 as well, the gap of the first and of the last line has a mark, axes tell vectors."""
    ax = plot_flows({"k3 = 0": flow()}, largest_gap=True, title="x")
    dots, gaps = (np.array(line.get_xydata()) for line in ax.get_lines()[:2])
    for place in ([0, 0.0], [0, 1.0], [0.5, 0.3]):
        assert (np.abs(dots - place).max(axis=1) < 1e-12).any()
    seen = gaps[(gaps[:, 1] >= 0) & (gaps[:, 1] <= 1)]
    assert np.allclose(np.unique(seen[:, 0]), flow().t)
    assert ax.get_xlabel() == "$k_2$ ($b_2$)"
    assert ax.get_ylabel() == "Wannier centre ($a_1$)"
    assert not ax.get_title()


def test_several_planes_have_names_and_one_legend():
    ax = plot_flows({f"k1 = {n}": flow() for n in range(6)}, largest_gap=True)
    figure = ax.get_figure()
    assert [one.get_title() for one in figure.axes] == [f"k1 = {n}" for n in range(6)]
    assert len(figure.legends) == 1
    assert not plot_flows({"a": flow()}, largest_gap=False).get_figure().legends
