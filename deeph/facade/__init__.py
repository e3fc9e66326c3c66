"""What Python users and the methods of the central objects call: reading anything, overlaps, predictions, spectra, responses.

The only package of the core that knows preprocess and postprocess, and only inside its functions: ``import deeph`` stays instant, and the
core works without them.
"""

from typing import TYPE_CHECKING

from deeph.facade.geometry import berry_curvature as berry_curvature
from deeph.facade.geometry import hall_conductivity as hall_conductivity
from deeph.facade.geometry import optics as optics
from deeph.facade.geometry import static_response as static_response
from deeph.facade.outputs import export as export
from deeph.facade.outputs import make as make
from deeph.facade.outputs import save as save
from deeph.facade.outputs import symmetrized as symmetrized
from deeph.facade.overlaps import describe_overlap as describe_overlap
from deeph.facade.overlaps import find_structures as find_structures
from deeph.facade.overlaps import overlap as overlap
from deeph.facade.pictures import contours as contours
from deeph.facade.pictures import edge_bands as edge_bands
from deeph.facade.pictures import local_density as local_density
from deeph.facade.pictures import states as states
from deeph.facade.pictures import stm as stm
from deeph.facade.pictures import wave_functions as wave_functions
from deeph.facade.pictures import zone_map as zone_map
from deeph.facade.predictions import check_moments as check_moments
from deeph.facade.predictions import predict as predict
from deeph.facade.reading import read as read
from deeph.facade.spectra import band_energy as band_energy
from deeph.facade.spectra import bands as bands
from deeph.facade.spectra import dos as dos
from deeph.facade.spectra import eigenvalues as eigenvalues
from deeph.facade.spectra import mulliken as mulliken

if TYPE_CHECKING:  # offered for annotations
    from deeph.physics.hamiltonian import Hamiltonian as Hamiltonian
    from postprocess.bands.bands import Bands as Bands
    from postprocess.contours.maps import ZoneMap as ZoneMap
    from postprocess.contours.result import Contours as Contours
    from postprocess.density.dos import DOS as DOS
    from postprocess.density.stm import Image as Image
    from postprocess.geometry.curvature import Curvature as Curvature
    from postprocess.geometry.hall import HallConductivity as HallConductivity
    from postprocess.large.conductivity import LargeConductivity as LargeConductivity
    from postprocess.lattice.kpath import KPath as KPath
    from postprocess.response.optics import OpticalResponse as OpticalResponse
    from postprocess.response.scan import FermiResponse as FermiResponse
    from postprocess.response.second_order import SecondOrder as SecondOrder
    from postprocess.states.populations import Populations as Populations
    from postprocess.states.states import States as States
    from postprocess.states.volume import Volume as Volume
