"""A repository seen from outside: what its contracts say, and whether its code and its other contracts bear it out.

Everything is read as text. Nothing of the repository is imported, nothing in it is written, nothing is asked of a network.
"""

from __future__ import annotations
