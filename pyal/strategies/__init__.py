"""Strategies: one module per family. A strategy is one decorated function; importing its module registers it."""

from pyal.strategies import clusters, coverage, gradients, random, uncertainty
from pyal.strategies.registry import Strategy, strategies, strategy

__all__ = ["Strategy", "clusters", "coverage", "gradients", "random", "strategies", "strategy", "uncertainty"]
