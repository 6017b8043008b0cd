"""Writes what was measured: tables in markdown and a bar chart in SVG."""

import statistics
from html import escape

COLOURS = ["#b8bcc4", "#8d94a1", "#d9822b", "#2b6cb0", "#4c9a5b", "#8b5fa8", "#b04a5a", "#777733"]


def number(value):
    """Three digits or more, thousands separated."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else ""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def merged(results):
    """Runs of one workload as one: histograms are added up, of other figures it is the median."""
    histogram = {}
    for result in results:
        for end, count in result["histogram"]:
            histogram[end] = histogram.get(end, 0) + count
    whole = {name: statistics.median(result[name] for result in results)
             for name, value in results[0].items() if isinstance(value, (int, float))}
    return {**whole, "max_us": max(result["max_us"] for result in results),
            "histogram": sorted(histogram.items())}


def histogram_table(columns):
    """columns: list of (title, result of one run with its histogram). Each line is a power of two;
    the figures are the requests that took longer than its lower end up to its upper end."""
    ends = sorted({end for _, result in columns for end, _ in result["histogram"]})
    header = ["up to µs"] + [title for title, _ in columns]
    counts = [dict(result["histogram"]) for _, result in columns]
    rows = [[number(end / 1000)] + [f"{c[end]:,}" if end in c else "" for c in counts]
            for end in ends]
    for label, field in (("p50 µs", "p50_us"), ("p99 µs", "p99_us"), ("p99.9 µs", "p999_us"),
                         ("max µs", "max_us"), ("requests a second", "ops_per_s"),
                         ("server CPU ns", "server_cpu_ns_per_op"), ("CPUs of others", "others")):
        rows.append([f"**{label}**"] + [number(max(0, result[field])) for _, result in columns])
    return table(header, rows)


def bar_chart(title, groups, note=""):
    """groups: list of (label, [(server, value)]). Horizontal bars. Each group has its own scale,
    for the groups' figures differ by a factor of a hundred; the figure stands behind its bar."""
    servers = []
    for _, bars in groups:
        servers += [name for name, _ in bars if name not in servers]
    left, width, bar, gap = 210, 460, 15, 14
    y = 66
    body = []
    for label, bars in groups:
        top = max([value for _, value in bars if value] or [1])
        middle = y + len(bars) * bar / 2 + 4
        body.append(f'<text x="{left - 10}" y="{middle:.0f}" text-anchor="end">'
                    f'{escape(label)}</text>')
        for name, value in bars:
            colour = COLOURS[servers.index(name) % len(COLOURS)]
            length = width * (value or 0) / top
            body.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 2}" '
                        f'fill="{colour}"/>')
            body.append(f'<text x="{left + length + 6:.1f}" y="{y + bar - 4}" '
                        f'class="value">{number(value) if value else "none"}</text>')
            y += bar
        y += gap
    x = left
    legend = []
    for i, name in enumerate(servers):
        legend.append(f'<rect x="{x}" y="38" width="11" height="11" '
                      f'fill="{COLOURS[i % len(COLOURS)]}"/>'
                      f'<text x="{x + 16}" y="48">{escape(name)}</text>')
        x += 30 + 8 * len(name)
    if note:
        body.append(f'<text x="16" y="{y + 8}" class="value">{escape(note)}</text>')
    height, total = y + 20, max(left + width + 90, x + 20)
    style = ("text{font:13px sans-serif;fill:#222}.value{font-size:11px;fill:#444}"
             ".title{font-size:16px;font-weight:bold}")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" '
        f'viewBox="0 0 {total} {height}">',
        f"<style>{style}</style>", f'<rect width="{total}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="24" class="title">{escape(title)}</text>', *legend, *body,
        "</svg>", ""])
