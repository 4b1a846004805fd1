"""Strategies against random, on a pool whose labels are known."""

from pyal.simulation.comparison import Comparison
from pyal.simulation.experiment import simulate

__all__ = ["Comparison", "simulate"]
