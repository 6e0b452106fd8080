"""Line graphs as SVG, with nothing but text: axes, units, a legend, a logarithmic x axis."""

import math
from html import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 54, 56
COLOURS = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700"]
# Both on a light and on a dark page.
STYLE = """
  .page { fill: #ffffff } text { font: 12px sans-serif; fill: #1f2328 } .title { font-size: 15px; font-weight: bold }
  .grid { stroke: #d8dee4 } .axis { stroke: #57606a }
"""


def graph(title, x, y, series):
    """`series` is {name: [(x, y), …]}; x and y are the axes' names with their units."""
    points = [point for line in series.values() for point in line]
    lows, highs = min(p[0] for p in points), max(p[0] for p in points)
    ticks = y_ticks(max(p[1] for p in points))
    span = math.log10(highs / lows) or 1

    def at(px, py):
        across = math.log10(px / lows) / span if highs > lows else 0.5
        return (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - py / ticks[-1] * (HEIGHT - TOP - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
           f"<style>{STYLE}</style>", f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
           text(LEFT, 20, title, css="title")]
    for tick in ticks:
        _, py = at(lows, tick)
        out.append(line("grid" if tick else "axis", (LEFT, py), (WIDTH - RIGHT, py)))
        out.append(text(LEFT - 8, py + 4, f"{tick:,g}", anchor="end"))
    for tick in sorted({p[0] for p in points}):
        px, py = at(tick, 0)
        out.append(line("axis", (px, py), (px, py + 5)))
        out.append(text(px, py + 20, f"{tick:,}", anchor="middle"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<g transform="translate(16 {middle:.0f}) rotate(-90)">{text(0, 0, y, anchor="middle")}</g>')
    key = LEFT
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in sorted(values))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += ['<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"/>'.format(*at(*point), colour) for point in values]
        out.append(f'<rect x="{key}" y="32" width="12" height="12" fill="{colour}"/>')
        out.append(text(key + 18, 42, name))
        key += 40 + 7 * len(name)
    return "\n".join([*out, "</svg>", ""])


def y_ticks(top):
    """From 0 in about five round steps to `top` or a little more."""
    rough = max(top, 1e-9) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [round(step * number, 9) for number in range(math.ceil(top / step) + 1)] if top > 0 else [0, 1]


def text(x, y, words, anchor="start", css=""):
    css = f' class="{css}"' if css else ""
    return f'<text{css} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(css, begin, end):
    return '<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(css, *begin, *end)
