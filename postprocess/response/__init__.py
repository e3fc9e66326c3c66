"""Responses to light and to static fields, integrated over the zone: optics, transport, spin Hall, Nernst, currents of second order."""
