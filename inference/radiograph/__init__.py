"""The pre-read of radiographs: chests of adults so far; every other body part is named and left alone."""

from inference.radiograph.engine import RadiographEngine

__all__ = ["RadiographEngine"]
