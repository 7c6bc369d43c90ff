"""Learning curves: what `engram_train.train` printed, as a table and as a picture.

Several logs follow one another, each a stretch of training. Stretches that the table holds already
stay, before those of the logs.
"""

import argparse
import re
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

COLUMNS = ["dice", "cross", "presence", "quality", "hard", "hard_recent"]
NAMES = {
    "hard": "from exemplars",
    "hard_recent": "and with recent slices",
}
SMOOTH = 9  # lines of the log


def read(path: Path) -> list[dict[str, float]]:
    """The log's lines: step, seconds, rate and means of the losses since the line before."""
    rows = []
    for line in path.read_text().splitlines():
        if found := re.match(r"step (\d+) (\d+) s rate (\S+)(.*)", line):
            step, seconds, rate, rest = found.groups()
            row = {"step": float(step), "seconds": float(seconds), "rate": float(rate)}
            pairs = re.findall(r"([a-z_]+) ([0-9.]+)", rest)
            rows.append(row | {key: float(value) for key, value in pairs if key in COLUMNS})
    return rows


def kept(path: Path) -> dict[str, list[dict[str, float]]]:
    """The stretches of a table that `table` wrote; none if there is no such file."""
    stretches: dict[str, list[dict[str, float]]] = {}
    if path.exists():
        head, *lines = (line.split("\t") for line in path.read_text().splitlines())
        for name, *cells in lines:
            pairs = zip(head[1:], cells, strict=True)
            stretches.setdefault(name, []).append({k: float(v) for k, v in pairs if v})
    return stretches


def smooth(values: np.ndarray) -> np.ndarray:
    """A running mean, over fewer values at the ends."""
    kernel = np.ones(min(SMOOTH, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def table(stretches: dict[str, list[dict]]) -> str:
    """Tab-separated, a line of the logs in each row."""
    lines = ["\t".join(["stretch", "step", "seconds", "rate", *COLUMNS])]
    for name, rows in stretches.items():
        for row in rows:
            cells = [f"{row['step']:.0f}", f"{row['seconds']:.0f}", f"{row['rate']:.1e}"]
            cells += [f"{row[key]:.3f}" if key in row else "" for key in COLUMNS]
            lines.append("\t".join([name, *cells]))
    return "\n".join(lines) + "\n"


def draw(stretches: dict[str, list[dict]], path: Path) -> None:
    """Dice on synthetic tasks against steps, the stretches one after another."""
    pyplot.rcParams["svg.hashsalt"] = "engram"
    figure, axes = pyplot.subplots(figsize=(8, 3.5))
    start = 0.0
    for name, rows in stretches.items():
        for key, colour in (("hard", "C0"), ("hard_recent", "C1")):
            seen = [(start + row["step"], row[key]) for row in rows if key in row]
            if not seen:
                continue
            steps, values = map(np.array, zip(*seen, strict=True))
            label = NAMES[key] if start == 0 else None
            axes.plot(steps, smooth(values), colour, label=label)
        axes.axvline(start, color="grey", linewidth=0.5)
        axes.text(start, axes.get_ylim()[0], f" {name}", fontsize=8, va="bottom")
        start += rows[-1]["step"]
    axes.set(xlabel="steps", ylabel="Dice on synthetic tasks")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="+", metavar="NAME=LOG", help="in their order")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.tsv and OUT.svg")
    args = parser.parse_args()
    named = [entry.split("=", 1) for entry in args.logs]
    stretches = kept(args.out.with_suffix(".tsv"))
    stretches |= {name: read(Path(path)) for name, path in named}
    args.out.with_suffix(".tsv").write_text(table(stretches))
    draw(stretches, args.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
