"""Ground floor: the record itself. Knows no model and no torch."""

from weightwalk.walks.model import Call, Completeness, Ref, Step, Store, Value, short_name
from weightwalk.walks.walk import Walk

__all__ = ["Call", "Completeness", "Ref", "Step", "Store", "Value", "Walk", "short_name"]
