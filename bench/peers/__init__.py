"""What a user would run today instead of pyal: every peer behind the same call as the kernel it stands against.

A peer imports its package only when it is asked to, so that a missing one is a named skip. Where a peer computes
something else than pyal does, its note says what, and the benchmark compares the objective.
"""

from peers import clustering, covering, fisher, information, neighbours, sampling, tangent  # each lists its peers
from peers.registry import Peer, peers_of

__all__ = ["Peer", "clustering", "covering", "fisher", "information", "neighbours", "peers_of", "sampling", "tangent"]
