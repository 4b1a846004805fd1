"""What a label is worth: a regressor from features of an instance to what labelling it brings."""

from pyal.surrogate.examples import Examples, concatenated, load_examples

__all__ = ["Examples", "concatenated", "load_examples"]
