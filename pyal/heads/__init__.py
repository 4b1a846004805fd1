"""Classifiers on embeddings, as scikit-learn estimators: closed-form softmax regression, linear and MLP
probes, and committees of any classifier.

Labels may be numbers or strings; one class alone is learned too (its probability is 1), so that an active learning loop
may begin with whatever its first batch holds. The probes need torch, the closed form does not.
"""

from pyal.heads.closed_form import ClosedFormSoftmax
from pyal.heads.committee import Committee
from pyal.heads.probes import LinearHead, MLPHead

__all__ = ["ClosedFormSoftmax", "Committee", "LinearHead", "MLPHead"]
