# The same rules as in clouds.py, as openEO writes a UDF that reduces the bands.
import numpy as np
import xarray


def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    reflectance = cube / context.get("quantification", 10000)
    blue, green, red, nir, swir1, swir2 = (
        reflectance.sel(bands=name, drop=True)
        for name in ("B02", "B03", "B04", "B08", "B11", "B12")
    )
    visible = (blue + green + red) / 3
    whiteness = (abs(blue - visible) + abs(green - visible) + abs(red - visible)) / visible
    ndvi = (nir - red) / (nir + red)
    ndsi = (green - swir1) / (green + swir1)

    likely = (swir2 > 0.03) & (ndsi < 0.8) & (ndvi < 0.8) & (whiteness < 0.7)
    haze = likely & (blue - 0.5 * red > 0.08) & (nir / swir1 > 0.75)
    cloud = haze & (visible > 0.25) & (whiteness < 0.25)

    classes = xarray.where(cloud, 2, xarray.where(haze, 1, 0)).astype("float32")
    return classes.where(np.isfinite(visible + nir + swir1 + swir2))
