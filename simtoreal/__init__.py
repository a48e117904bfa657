"""Parallel-jaw grasping policies: pretrained in simulation, fine-tuned on a handful of real episodes.

The commands are in `simtoreal.cli`, the records that everything exchanges in `simtoreal.contracts`.
"""

__version__ = "0.1.0"
