"""Write the table of colour maps: 256 colours of each that matplotlib has.

    python scripts/colormaps.py

It needs matplotlib (extra `bench`), which Terrazzo itself does without. The colour maps are
matplotlib's own (CC0 and its BSD-like licence), ColorBrewer's (Apache 2.0) and gnuplot's formulas.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps

TABLE = Path(__file__).parents[1] / "src/terrazzo/storage/writers/colormaps.npz"


def main() -> None:
    """Write the table."""
    names = sorted(colormaps, key=lambda name: (name.endswith("_r"), name.lower()))
    # As pictures and legends take them: `linspace` is a last bit less at some edges of colours.
    places = np.arange(256) / 255.0
    # Rounded: `bytes=True` cuts off, which makes 40 of the grey 41.
    colours = np.stack([np.round(colormaps[name](places)[:, :3] * 255) for name in names])
    colours = colours.astype(np.uint8)
    np.savez_compressed(TABLE, names=np.array(names), colours=colours)
    print(f"{TABLE.name}: {len(names)} colour maps, {TABLE.stat().st_size:,} bytes")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
