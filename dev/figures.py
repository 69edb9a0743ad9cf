#!/usr/bin/env python3
"""Draws docs/figures/decode.svg from a kept result of `hadal bench --json`.

    dev/figures.py bench/results/2026-11-22-v2lite-q4_k.json
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH, BAR, GAP, LEFT = 640, 22, 16, 110


def bars(results):
    """(label, measured, nearer ceiling) of each decode row."""
    for row in results:
        if row["name"].startswith("decode"):
            ceiling = min(row["bandwidth_ceiling"], row["compute_ceiling"])
            yield f'{row["batch"]} at once', row["tokens_per_second"], ceiling


def draw(rows):
    scale = (WIDTH - LEFT - 130) / max(ceiling for _, _, ceiling in rows)
    height = 50 + len(rows) * (BAR + GAP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="22" font-weight="bold">Tokens per second while generating, and what memory bandwidth allows</text>',
    ]
    for i, (label, measured, ceiling) in enumerate(rows):
        y = 40 + i * (BAR + GAP)
        out.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{ceiling * scale:.0f}" height="{BAR}" fill="#d7e3f4"/>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{measured * scale:.0f}" height="{BAR}" fill="#2459a6"/>')
        text = f"{measured:.0f} ({100 * measured / ceiling:.0f} %)"
        out.append(f'<text x="{LEFT + ceiling * scale + 8:.0f}" y="{y + 15}">{text}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    target = ROOT / "docs" / "figures" / "decode.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(draw(list(bars(result["bench"]["results"]))))


if __name__ == "__main__":
    main()
