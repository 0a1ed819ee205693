"""Constrained tasks: gymnax environments whose steps also report costs."""

from fedjax_rl.precision import precision

with precision(False):  # gymnax makes arrays as it is imported
    from fedjax_rl.envs import (  # noqa: F401
        acrobot,
        cartpole,
        cartpole_force,
        inverted_pendulum,
        known,
        mountain_car,
        pendulum,
        point_robot,
    )
