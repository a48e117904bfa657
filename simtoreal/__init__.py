"""Parallel-jaw grasping policies: pretrained in simulation, fine-tuned on a handful of real episodes.

The commands are in `simtoreal.cli`, the records that everything exchanges in `simtoreal.contracts`. Importing the
package makes its environments known to Gymnasium:

    >>> import gymnasium
    >>> sorted(name for name in gymnasium.registry if name.startswith("simtoreal/"))
    ['simtoreal/GraspCamera-v0', 'simtoreal/GraspState-v0']
"""

from importlib.util import find_spec

__version__ = "0.2.0"

# Gymnasium 1.0 gave up entry points: an environment is known once its package has been imported. A robot's computer
# does without Gymnasium.
if find_spec("gymnasium") is not None:
    from simtoreal.envs.registration import register_envs

    register_envs()
