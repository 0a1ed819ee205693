"""Films of episodes, drawn with matplotlib."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text
from PIL import Image

from fedjax_rl.envs.picture import Picture
from fedjax_rl.envs.task import Task
from fedjax_rl.families.networks.film import Film
from fedjax_rl.figures.style import COLOURS
from fedjax_rl.precision import precision

FRAMES_AT_MOST = 200
MILLISECONDS = 50
"""Of a frame; the last one stays longer."""
LAST_MILLISECONDS = 1500
INCHES, DOTS_PER_INCH = 6.0, 80
PALETTE = 64
UNPAID = "#DDDDDD"
INK = "#222222"


def gif(film: Film, task: Task) -> bytes:
    """An animated GIF of an episode, at most 200 frames.

    Zones have the colours of their constraints, as the names below have; a name is lit in the
    frames in which its cost is paid, and says what was paid so far.
    """
    frames = frames_of(film, task)
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    buffer = BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        disposal=1,
    )
    return buffer.getvalue()


@precision(False)
def frames_of(film: Film, task: Task) -> list[Image.Image]:
    """The frames; each stands for a few steps where there are more than 200."""
    assert task.picture is not None
    stride = -(-film.length // FRAMES_AT_MOST)
    costs = np.asarray(film.signals[:, 1:], np.float64)
    paid_so_far, reward = costs.cumsum(0), film.signals[:, 0].cumsum(dtype=np.float64)
    scene = _Scene(task.picture(film.state(0), film.params), task)
    frames = []
    for first in range(0, film.length, stride):
        last = min(first + stride, film.length) - 1
        picture = task.picture(film.state(first), film.params)
        lit = np.any(costs[first : last + 1] > 0, axis=0)
        title = f"step {last + 1} of {film.length}   reward {reward[last]:.4g}"
        frames.append(scene.drawn(picture, title, lit, paid_so_far[last]))
    return frames


class _Scene:
    """A figure whose zones and names stay while the rest is drawn anew for every frame."""

    def __init__(self, picture: Picture, task: Task):
        left, right, bottom, top = picture.limits
        shape = min(max((top - bottom) / (right - left), 0.3), 1.2)
        lines = task.num_constraints
        self._figure = Figure((INCHES, INCHES * shape + 0.4 + 0.25 * lines), dpi=DOTS_PER_INCH)
        self._canvas = FigureCanvasAgg(self._figure)
        height = self._figure.get_figheight()
        below = 0.25 * lines / height
        self._axes: Axes = self._figure.add_axes(
            (0.02, below + 0.02, 0.96, 0.96 - below - 0.35 / height)
        )
        self._axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        self._axes.set_aspect("equal")
        for zone in picture.zones:
            self._axes.add_patch(_shaded(zone))
        self._budgets = task.budgets
        self._names = task.constraint_names
        self._kinds = task.kinds
        self._labels = [self._label(index, height) for index in range(lines)]

    def _label(self, index: int, height: float) -> Text:
        at = 0.25 * (len(self._names) - index - 0.6) / height
        return self._figure.text(0.03, at, "", fontsize=9, family="monospace")

    def drawn(self, picture: Picture, title: str, lit: np.ndarray, paid: np.ndarray) -> Image.Image:
        """One frame of the film."""
        self._axes.set_title(title, fontsize=10, loc="left", family="monospace")
        for index, label in enumerate(self._labels):
            colour = COLOURS[index % len(COLOURS)]
            budget = f" of {self._budgets[index]:g}" * (self._kinds[index] == "episode")
            label.set_text(f"{self._names[index]}: {paid[index]:.4g}{budget} paid")
            label.set_color("white" if lit[index] else colour)
            label.set_bbox(
                {"facecolor": colour if lit[index] else "white", "edgecolor": colour, "pad": 2}
            )
        moving = [
            self._axes.plot(*zip(*line, strict=True), color=INK, lw=2)[0] for line in picture.lines
        ]
        round_ones = [
            self._axes.add_patch(Circle(centre, radius, facecolor="none", edgecolor=INK, lw=2))
            for centre, radius in picture.circles
        ]
        self._canvas.draw()
        image = Image.fromarray(np.asarray(self._canvas.buffer_rgba()))
        for artist in (*moving, *round_ones):
            artist.remove()
        return image.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)


def _shaded(zone: tuple[float, float, float, float, int]) -> Rectangle:
    left, right, bottom, top, index = zone
    colour = COLOURS[index % len(COLOURS)]
    return Rectangle((left, bottom), right - left, top - bottom, facecolor=colour, alpha=0.25, lw=0)
