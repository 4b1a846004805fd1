"""What a label is worth: features, examples, a model of the gain, and the strategy that queries by it."""

from pyal.surrogate.collecting import collect
from pyal.surrogate.table import COLUMNS, FeatureTable, feature_table

__all__ = ["COLUMNS", "FeatureTable", "collect", "feature_table"]
