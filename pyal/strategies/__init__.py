"""Strategies: one module per family. A strategy is one decorated function; importing its module registers it."""

from pyal.strategies import clusters, coverage, gradients, lookahead, random, uncertainty
from pyal.strategies.registry import Strategy, strategies, strategy

__all__ = [
    "Strategy", "clusters", "coverage", "gradients", "lookahead", "random", "strategies", "strategy", "uncertainty",
]  # fmt: skip
