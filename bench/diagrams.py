"""``python -m bench.diagrams`` draws the diagrams of the start page and the concepts, as plain SVG.

Text stays text, and a light ground of their own keeps them legible on light and dark pages.
"""

from __future__ import annotations

import pathlib
from html import escape

FIGURES = pathlib.Path(__file__).parent.parent / "docs" / "figures"

INK, QUIET, PAPER = "#1a1a1a", "#6b6b6b", "#ffffff"
BLUE, ORANGE, GREEN, GREY = "#d6e8f5", "#fbe3d0", "#d5efe5", "#eeeeee"


def box(x: float, y: float, width: float, height: float, *rows: str, fill: str = GREY) -> str:
    """A rounded box with centred lines of text."""
    first = y + height / 2 - 9 * (len(rows) - 1)
    middle = x + width / 2
    lines = [text(middle, first + 18 * row, line) for row, line in enumerate(rows)]
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
    return "".join([f'{shape} fill="{fill}" stroke="{QUIET}"/>', *lines])


def text(x: float, y: float, label: str, *, anchor: str = "middle", colour: str = INK) -> str:
    """One line of text, centred on y."""
    attributes = f'x="{x:g}" y="{y + 5:g}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {attributes}>{escape(label)}</text>"


def arrow(x: float, y: float, to_x: float, to_y: float, *, dashed: bool = False) -> str:
    """A straight arrow."""
    ends = f'x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}"'
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line {ends} stroke="{INK}" stroke-width="1.5" marker-end="url(#to)"{dashes}/>'


def drawing(width: float, height: float, title: str, *parts: str) -> str:
    """The whole file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'font-family="sans-serif" font-size="15"><title>{escape(title)}</title>'
        '<defs><marker id="to" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>'
    )
    ground = f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}"/>'
    return "\n".join([head, ground, *parts, "</svg>", ""])


def idea() -> str:
    """Agents that share a policy and no cost; samplers that nobody waits for."""
    parts = [text(360, 24, "Federated and constrained: agents share a policy, never their costs")]
    for agent, cost in enumerate(("fluids", "vasopressors", "organ failure")):
        y, mark = 46 + 66 * agent, "₁₂₃"[agent]
        labels = f"agent {agent + 1} sees {cost} ≤ d{mark}", f"and keeps its multiplier λ{mark}"
        parts += [box(20, y, 270, 54, *labels, fill=ORANGE), arrow(292, y + 27, 368, 139)]
    parts += [
        text(345, 62, "policies", colour=QUIET),
        box(370, 106, 110, 66, "merge", "the mean", fill=BLUE),
        arrow(482, 139, 518, 139),
        box(520, 96, 180, 86, "one policy that", "keeps every budget", fill=GREEN),
        text(610, 204, "held against a certified", colour=QUIET),
        text(610, 224, "optimum", colour=QUIET),
        f'<line x1="20" y1="262" x2="700" y2="262" stroke="{QUIET}" stroke-dasharray="2 4"/>',
        text(360, 288, "Asynchronous: nobody waits, so the learner learns from the past"),
    ]
    for sampler in range(3):
        y = 310 + 42 * sampler
        parts += [box(20, y, 110, 32, "sampler"), arrow(132, y + 16, 198, 368)]
    parts += [
        box(200, 335, 200, 66, "batches, some of them", "dozens of steps old", fill=ORANGE),
        arrow(402, 368, 458, 368),
        box(
            460, 335, 240, 66, "learner: weighs responses", "by what it would write now", fill=GREEN
        ),
        f'<path d="M580 403 V446 H75 V432" fill="none" stroke="{INK}" stroke-width="1.5" '
        'stroke-dasharray="5 4" marker-end="url(#to)"/>',
        text(330, 462, "new parameters, when they get through", colour=QUIET),
    ]
    return drawing(720, 480, "The idea", *parts)


def heterogeneity() -> str:
    """One world and one reward; every agent sees its own cost."""
    parts = [box(30, 20, 660, 50, "one world: the same states, actions and reward r", fill=BLUE)]
    for agent in range(3):
        x = 30 + 230 * agent
        parts += [arrow(x + 100, 72, x + 100, 108), box(x, 110, 200, 44, f"agent {agent + 1}")]
        for cost in range(3):
            seen = agent == cost
            label = f"c{'₁₂₃'[cost]} ≤ d{'₁₂₃'[cost]}" if seen else "?"
            parts.append(box(x + 67 * cost, 168, 66, 40, label, fill=ORANGE if seen else PAPER))
        parts.append(arrow(x + 100, 210, x + 100, 248))
    parts.append(box(30, 250, 660, 50, "one policy π that keeps every budget", fill=GREEN))
    return drawing(720, 320, "Constraint heterogeneity", *parts)


def lagrangians() -> str:
    """The Lagrangian falls apart into a piece per agent."""
    parts = [box(90, 20, 540, 50, "L = V_r − λ₁ (V_c₁ − d₁) − λ₂ (V_c₂ − d₂)", fill=BLUE)]
    for agent in range(2):
        x, mark = 30 + 345 * agent, "₁₂"[agent]
        parts += [
            arrow(360 + (40 if agent else -40), 72, x + 157, 118),
            box(x, 120, 315, 50, f"L{mark} = V_r / 2 − λ{mark} (V_c{mark} − d{mark})", fill=ORANGE),
            text(x + 157, 196, f"agent {agent + 1} needs nothing but c{mark}", colour=QUIET),
        ]
    parts.append(text(360, 145, "+"))
    return drawing(720, 220, "Local Lagrangians", *parts)


def rounds() -> str:
    """A round: E local steps on every agent, then one merge."""
    parts = [box(20, 95, 90, 50, "π", "after t − 1", fill=GREEN)]
    for agent in range(3):
        y = 25 + 75 * agent
        parts.append(arrow(112, 120, 158, y + 20))
        for step in range(3):
            label = ("step 1", "…", "step E")[step]
            parts.append(box(160 + 95 * step, y, 75, 40, label, fill=ORANGE))
            if step < 2:
                parts.append(arrow(236 + 95 * step, y + 20, 254 + 95 * step, y + 20))
        parts.append(arrow(427, y + 20, 488, 120))
    parts += [
        text(290, 250, "agents, each with multipliers of its own", colour=QUIET),
        box(490, 90, 90, 60, "merge", "mean θᵢ", fill=BLUE),
        arrow(582, 120, 608, 120),
        box(610, 95, 90, 50, "π", "after t", fill=GREEN),
    ]
    return drawing(720, 270, "A round", *parts)


def staleness() -> str:
    """A learner that goes on while a batch is written and travels."""
    parts = [text(20, 50, "learner", anchor="start"), text(20, 190, "sampler", anchor="start")]
    for step in range(1, 8):
        fill = GREEN if step in (2, 7) else GREY
        parts.append(box(20 + 85 * step, 30, 70, 40, f"step {step}", fill=fill))
    parts += [
        arrow(225, 72, 225, 168),
        text(235, 120, "parameters after step 2", anchor="start", colour=QUIET),
        box(190, 170, 255, 40, "writes a batch: version 2", fill=ORANGE),
        arrow(447, 190, 640, 72),
        text(470, 215, "travels, waits in the queue", anchor="start", colour=QUIET),
        text(360, 250, "used in step 7: staleness 7 − 1 − 2 = 4 steps; never more than 2W"),
    ]
    return drawing(720, 275, "Staleness", *parts)


def privacy() -> str:
    """What stays with an agent, what crosses, and what an observer makes of it."""
    return drawing(
        720,
        270,
        "What is private and what is not",
        box(20, 20, 280, 200, fill=PAPER),
        text(160, 42, "stays with agent i"),
        box(40, 62, 240, 40, "costs cᵢ and their critics", fill=ORANGE),
        box(40, 112, 240, 40, "multipliers λᵢ", fill=ORANGE),
        box(40, 162, 240, 40, "environments, optimiser", fill=ORANGE),
        arrow(302, 120, 398, 120),
        text(350, 100, "θᵢ", colour=INK),
        box(400, 95, 110, 50, "merge", fill=BLUE),
        arrow(512, 120, 568, 120),
        box(570, 95, 130, 50, "one policy", fill=GREEN),
        arrow(350, 125, 350, 198, dashed=True),
        box(320, 200, 380, 44, "an observer of θᵢ reads off λᵢ A_cᵢ"),
        text(510, 257, "θᵢ was shaped by them, and gives most of them away", colour=QUIET),
    )


DIAGRAMS = {
    "concept-idea": idea,
    "concept-heterogeneity": heterogeneity,
    "concept-lagrangians": lagrangians,
    "concept-rounds": rounds,
    "concept-staleness": staleness,
    "concept-privacy": privacy,
}

if __name__ == "__main__":
    for name, draw in DIAGRAMS.items():
        (FIGURES / f"{name}.svg").write_text(draw(), encoding="utf-8")
