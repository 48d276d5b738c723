"""Fractures on radiographs of limbs: data, training, measurement and export of the network."""
