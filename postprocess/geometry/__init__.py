"""Geometry of Bloch states: velocities, Berry connections and curvatures, quantum metric, orbital moments, spins."""
