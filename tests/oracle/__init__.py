"""The specification: what kernels must compute, in plain float64 NumPy, and how far rounding may lead from it."""
