"""Readers and writers: the only place that knows files of pixels, and the gate before them.

The size of GDAL's cache of blocks is for the whole process, and to change it while threads read and
write takes blocks from them; so it is said once, here, where the environment does not say it.
"""

import os

os.environ.setdefault("GDAL_CACHEMAX", "128")  # MB: 512 rows of 250 kB, which a COG is made of
