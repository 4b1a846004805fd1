"""Strategies: one module per family. A strategy is one decorated function; importing its module registers it."""

from pyal.strategies import (
    clusters,
    combined,
    committees,
    consistency,
    coverage,
    gradients,
    graphs,
    lookahead,
    random,
    uncertainty,
)
from pyal.strategies.pseudo_labels import cluster_pseudo_labels
from pyal.strategies.registry import Strategy, list_strategies, strategy

__all__ = [
    "Strategy", "cluster_pseudo_labels", "clusters", "combined", "committees", "consistency", "coverage", "gradients",
    "graphs",
    "list_strategies", "lookahead", "random", "strategy", "uncertainty",
]  # fmt: skip
