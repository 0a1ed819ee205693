"""Films: how many frames, and where a paid cost shows."""

import numpy as np
import pytest
from gymnax.environments.classic_control.cartpole import EnvState
from matplotlib.colors import to_rgb

from fedjax_rl.envs.cartpole import cartpole_pos2
from fedjax_rl.families.networks.film import Film
from fedjax_rl.families.networks.pictures import FRAMES_AT_MOST, frames_of
from fedjax_rl.figures.style import COLOURS

pytestmark = pytest.mark.timeout(120)


def film(costs):
    """A cart that stands still and pays these costs [T, 2]."""
    task, steps = cartpole_pos2(), len(costs)
    still = np.zeros(steps, np.float32)
    states = EnvState(time=np.arange(steps), x=still, x_dot=still, theta=still, theta_dot=still)
    signals = np.concatenate([np.ones((steps, 1)), costs], axis=1).astype(np.float32)
    return Film(states, signals, task.params), task


def lit(frame, index):
    """How much of a frame has the full colour of a constraint, which its name has when paid."""
    colour = np.array(to_rgb(COLOURS[index])) * 255
    near = np.abs(np.asarray(frame.convert("RGB"), float) - colour).max(-1) < 12
    return int(near.sum())


def test_a_name_is_lit_while_its_cost_is_paid():
    costs = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    frames = frames_of(*film(costs))
    assert len(frames) == 4
    for index in range(2):
        lit_pixels = [lit(frame, index) for frame in frames]
        paid, unpaid = (
            [
                count
                for count, cost in zip(lit_pixels, costs[:, index], strict=True)
                if bool(cost) == was
            ]
            for was in (True, False)
        )
        assert min(paid) > 2 * max(unpaid), lit_pixels


@pytest.mark.parametrize(("steps", "frames"), [(1, 1), (201, 101)])
def test_long_episodes_have_a_frame_for_several_steps(steps, frames):
    """A cost that is paid between two frames is seen all the same."""
    costs = np.zeros((steps, 2))
    costs[-1, 0] = 1
    made = frames_of(*film(costs))
    assert len(made) == frames <= FRAMES_AT_MOST
    if steps > 1:
        assert lit(made[-1], 0) > 2 * lit(made[0], 0)
