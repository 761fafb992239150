"""Published networks for photographs of faces, one file each, as plain modules.

Each takes pictures (B, 3, S, S), RGB in [-1, 1], of any size, and resizes inside; gradients reach the
pictures. Weights are entries of :mod:`diffinf_core.weights.pretrained`.
"""
