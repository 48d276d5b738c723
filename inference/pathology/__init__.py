"""The engine of pathology slides: is the slide fit to be read? It offers no diagnosis."""

from inference.pathology.engine import PathologyEngine

__all__ = ["PathologyEngine"]
