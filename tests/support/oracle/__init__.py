"""What an op must make of codes, in exact arithmetic and each engine's own rounding; no kernel takes part.

``watched`` gives every op of a lowered model hostile codes and notes what its engine makes of them; ``expected``
computes the same from the float graph, the codes, the qparams and the int8 weights.
"""
